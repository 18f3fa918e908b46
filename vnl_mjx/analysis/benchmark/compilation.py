"""What compiling a training costs, program by program: seconds, memory, size; ours and in upstream's shape.

Each program is compiled in a process of its own, so that its peak of memory is its own, and then once
more in another one that finds it in JAX's persistent cache.
"""

import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.table import Table

from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.vae_distillation import VaeDistillation

# By subject: the programs of a training, in the order in which it needs them.
PROGRAMS = {"ours": ("first states", "rollout", "update"), "upstream": ("reset", "rollout")}
UPSTREAM_FRAMES = 200  # of each clip, all of one length there

Program = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Compilation:
    """One program.

    Attributes:
        subject: "ours" or "upstream".
        program: a name of `PROGRAMS`.
        trace_s: seconds from Python to StableHLO.
        compile_s: seconds from there to machine code.
        cpu_s: of the processor, all cores, over both; other work on the machine does not lengthen it.
        peak_mb: most memory of the process, 10^6 bytes.
        start_mb: before tracing.
        lines: of StableHLO.
        instructions: of the optimised program.
        cached_s: seconds of both where the program is in the cache; 0 before that is known.
        failure: why there are no figures; "" where there are.
    """

    subject: str
    program: str
    trace_s: float = 0.0
    compile_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    start_mb: float = 0.0
    lines: int = 0
    instructions: int = 0
    cached_s: float = 0.0
    failure: str = ""


def program_of(trainer: VaeDistillation | Ppo, subject: str, program: str) -> Program:
    """A function of a training and the shapes of its arguments.

    Args:
        trainer: of the rodent or another body, on the back end "mjx".
        subject: a key of `PROGRAMS`.
        program: one of its programs.
    """
    if subject == "ours":
        return _our_program(trainer, program)
    # All of brax's environments, which ours need no memory for.
    from vnl_mjx.analysis.benchmark.upstream_shape import upstream_programs

    imitation, config = trainer.task.imitation, trainer.config
    clips = trainer.data[1] if isinstance(trainer, VaeDistillation) else trainer.data
    physics = imitation.physics
    shape = (clips.num_clips, UPSTREAM_FRAMES, physics.model.nq)
    poses = np.resize(np.asarray(clips.qpos()), shape)
    sizes = physics.config.num_substeps, poses, config.num_envs, config.unroll_length
    return upstream_programs(physics.model, *sizes)[program]


def _our_program(trainer: VaeDistillation | Ppo, program: str) -> Program:
    key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
    if program == "first states":
        return trainer.initial_state, (key, trainer.data)
    state = jax.eval_shape(trainer.initial_state, key, trainer.data)
    rollout = trainer.rollout, (state, trainer.data, key)
    if program == "rollout":
        return rollout
    _, visited, _ = jax.eval_shape(rollout[0], *rollout[1])
    return trainer.learn, (state, visited, key)


def compile_here(function: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, float]:
    """Compiles in this process; the measured fields of `Compilation`."""
    start_mb, cpu, started = _peak_mb(), _cpu_seconds(), time.perf_counter()
    lowered = jax.jit(function, donate_argnums=0).lower(*arguments)
    traced = time.perf_counter()
    lines = lowered.as_text().count("\n")
    compiling = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    figures = {
        "trace_s": traced - started,
        "compile_s": done - compiling,
        "cpu_s": _cpu_seconds() - cpu,
        "peak_mb": _peak_mb(),
        "start_mb": start_mb,
    }
    text = compiled.as_text() or ""
    return figures | {"lines": lines, "instructions": text.count(" = ")}


def measure(
    worker: Sequence[str], subjects: Iterable[str], limit_s: float | None = None
) -> Iterator[Compilation]:
    """Compiles the programs of `PROGRAMS` one after the other; each as soon as it is known.

    Args:
        worker: a command that, given a subject and a program, prints what `compile_here` gives as the
            last line of its output, in JSON.
        subjects: keys of `PROGRAMS`.
        limit_s: seconds that one process may take.
    """
    for subject in subjects:
        for program in PROGRAMS[subject]:
            yield _measure_one(worker, subject, program, limit_s)


def _measure_one(
    worker: Sequence[str], subject: str, program: str, limit_s: float | None
) -> Compilation:
    command = [*worker, subject, program]
    with tempfile.TemporaryDirectory() as cache:
        first, failure = _run(command, cache, limit_s)
        if failure:
            return Compilation(subject, program, failure=failure)
        again, failure = _run(command, cache, limit_s)
    cached_s = 0.0 if failure else again["trace_s"] + again["compile_s"]
    return Compilation(subject, program, **(first | {"cached_s": cached_s}))


def _run(command: Sequence[str], cache: str, limit_s: float | None) -> tuple[dict[str, Any], str]:
    """What the process printed, and why it printed nothing."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | settings, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {}, f"not done after {limit_s:.0f} s"
    if done.returncode < 0:
        return {}, f"killed by signal {-done.returncode} (9: out of memory)"
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return json.loads(done.stdout.strip().rpartition("\n")[2]), ""


def report(found: Sequence[Compilation]) -> dict[str, Any]:
    """JSON-able: every program, and by subject the sum of seconds and the largest peak.

    A subject with a program that failed has no sums.
    """
    totals = {}
    for subject in dict.fromkeys(row.subject for row in found):
        rows = [row for row in found if row.subject == subject]
        if any(row.failure for row in rows):
            continue
        totals[subject] = {
            "seconds": sum(row.trace_s + row.compile_s for row in rows),
            "cpu_s": sum(row.cpu_s for row in rows),
            "peak_mb": max(row.peak_mb for row in rows),
            "lines": sum(row.lines for row in rows),
            "instructions": sum(row.instructions for row in rows),
            "cached_s": sum(row.cached_s for row in rows),
        }
    ratios = {}
    if len(totals) == len(PROGRAMS):
        ours, theirs = totals["ours"], totals["upstream"]
        ratios = {name: ours[name] / theirs[name] for name in ours if theirs[name]}
    return {"programs": [asdict(row) for row in found], "totals": totals, "ours / upstream": ratios}


def table(found: Sequence[Compilation]) -> Table:
    """The report for people."""
    result = Table(title="Compiling")
    result.add_column("program")
    for name in ("trace s", "compile s", "CPU s", "peak MB", "StableHLO", "HLO", "cached s"):
        result.add_column(name, justify="right")
    for row in found:
        name = f"{row.subject}: {row.program}"
        if row.failure:
            result.add_row(name, row.failure)
            continue
        seconds = (f"{s:.1f}" for s in (row.trace_s, row.compile_s, row.cpu_s))
        sizes = (f"{n:,.0f}" for n in (row.peak_mb, row.lines, row.instructions))
        result.add_row(name, *seconds, *sizes, f"{row.cached_s:.1f}")
    for subject, total in report(found)["totals"].items():
        sizes = (f"{total[name]:,.0f}" for name in ("peak_mb", "lines", "instructions"))
        seconds = f"{total['seconds']:.1f}", f"{total['cpu_s']:.1f}"
        result.add_row(f"{subject}, in all", "", *seconds, *sizes, f"{total['cached_s']:.1f}")
    return result


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # Linux: its rusage begins with the size of the process that forked
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
