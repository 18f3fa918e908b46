"""Everything to measure on a GPU, in calls of ten minutes; results are in OUT/gpu.json and OUT/gpu.md.

    uv run python benchmarks/gpu.py [--out OUT] [--budget-s 570] [KEY=VALUE ...]
    uv run python benchmarks/gpu.py --out OUT --resume        # goes on with what is left
    uv run python benchmarks/gpu.py --list                    # the jobs, most important first

A job is one of the other scripts (distillation, ppo, operations) or a run of `vnl-mjx distill` until it
earns 0.95 of its teacher's reward, in a process of its own: what one loses, the others keep. KEY=VALUE are
settings of `vnl-mjx distill`; those of the simulation hold for all.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from timing import exit_status
from trainings import Distillation

from vnl_mjx.errors import UserError
from vnl_mjx.files import write_json

BACKENDS = ("warp", "mjx", "mujoco")
WIDTHS, MIDDLE = (512, 1024, 2048, 4096, 8192, 16384), 4096
LIMITS_S = {"distillation": 420.0, "ppo": 420.0, "operations": 240.0, "target": 300.0}
TARGET = 0.95  # of the teacher's reward
# A student that begins as its teacher is there at once.
FRESH = (
    "vae_config.start=fresh",
    "training_config.learning_rate=1e-3",
    "training_config.num_steps=700000",
)
DONE, FAILED, TOO_LONG, NO_BUDGET = "done", "failed", "took too long", "cut by the budget"
LEAST_S = 20.0  # with less left nothing but imports would be done
FOR_ALL = ("physics_config.", "device=", "matmul_precision=")
# Networks and update of `vnl-mjx train-teacher --preset gpu`, without its numbers of environments.
PRESET = Path(__file__).parent.parent / "vnl_mjx" / "config" / "presets/train-teacher/gpu.yaml"


@dataclass(frozen=True)
class Job:
    """One process: what it runs, on which back end, with how many environments."""

    kind: str
    backend: str
    num_envs: int

    @property
    def name(self) -> str:
        """For example distillation/warp/4096."""
        return f"{self.kind}/{self.backend}/{self.num_envs}"


def job_list(backends: list[str], widths: list[int]) -> list[Job]:
    """All jobs, the most important first: the first back end through, then the others."""
    middle = min(widths, key=lambda width: abs(width - MIDDLE))
    outer = sorted((width for width in widths if width != middle), reverse=True)
    jobs = [Job(kind, backends[0], middle) for kind in LIMITS_S]
    jobs += [Job("distillation", backend, middle) for backend in backends[1:]]
    jobs += [Job("distillation", backends[0], width) for width in outer]
    for backend in backends:
        jobs += [Job(kind, backend, middle) for kind in LIMITS_S]
        jobs += [Job(kind, backend, n) for kind in ("distillation", "ppo") for n in outer]
    return list(dict.fromkeys(jobs))


def command(job: Job, out: Path, overrides: list[str]) -> list[str]:
    """The command line of a job; it writes what it found to OUT/found.json, or a run to OUT/run."""
    given = [*overrides, f"physics_config.backend={job.backend}"]
    if job.kind == "target":
        given = [*FRESH, *given]
        given += Distillation(given).with_envs(job.num_envs)
        run = [f"run_dir={out / 'run' / job.backend}", "eval_config.interval_steps=1"]
        run += ["logging_config.interval_steps=1", "checkpoint_config.interval_steps=0"]
        return [sys.executable, "-m", "vnl_mjx.cli", "distill", *given, *run, "resume=auto"]
    options = [f"--envs={job.num_envs}", f"--json={out / 'found.json'}"]
    if job.kind == "ppo":
        given = [text for text in given if text.startswith(FOR_ALL)]
        options.append(f"--config={PRESET}")
    if job.kind != "operations":
        options.append("--quick")
    return [sys.executable, str(Path(__file__).with_name(f"{job.kind}.py")), *options, *given]


def found_by(job: Job, out: Path) -> dict[str, Any]:
    """What the job's process left."""
    if job.kind != "target":
        file = out / "found.json"
        return json.loads(file.read_text()) if file.exists() else {}
    file = out / "run" / job.backend / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    seconds, steps = 0.0, 0
    for row in rows:
        if rate := row.get("time/env_steps_per_second"):
            seconds += (row["env_steps"] - steps) / rate
            steps = row["env_steps"]
        ratio = row.get("eval/reward_ratio")
        if ratio is not None and ratio >= TARGET:
            return {"ratio": ratio, "train_seconds": seconds, "env_steps": steps}
    return {"train_seconds": seconds, "env_steps": steps} if rows else {}


def run(jobs: list[Job], args: argparse.Namespace) -> None:
    """Runs the jobs that have no result yet until the seconds are spent."""
    args.out.mkdir(parents=True, exist_ok=True)
    results, started = args.out / "gpu.json", time.monotonic()
    document: dict[str, Any] = {}
    if args.resume and results.exists():
        document = json.loads(results.read_text(encoding="utf-8"))
    for job in jobs:
        if document.get(job.name, {"status": NO_BUDGET})["status"] != NO_BUDGET:
            continue
        left = args.budget_s - (time.monotonic() - started)
        if left < LEAST_S:
            print(f"the budget of {args.budget_s:.0f} s is spent before {job.name}")
            return
        print(f"{job.name} ...", flush=True)
        limit, begun = args.limit_s or LIMITS_S[job.kind], time.monotonic()
        (args.out / "found.json").unlink(missing_ok=True)
        log = args.out / f"{job.name.replace('/', '-')}.log"
        with log.open("w") as file:
            code = _run_process(command(job, args.out, args.overrides), file, min(left, limit))
        status = FAILED if code else DONE
        if code is None:
            status = TOO_LONG if left >= limit else NO_BUDGET
        seconds = time.monotonic() - begun
        result = {"status": status, "seconds": seconds, "found": found_by(job, args.out)}
        document[job.name] = result
        write_json(results, document)
        (args.out / "gpu.md").write_text(markdown(document), encoding="utf-8")
        print(f"{job.name}: {status} in {seconds:.0f} s; {headline(result['found'])}", flush=True)


def _run_process(words: list[str], log: Any, timeout_s: float) -> int | None:
    """The exit status; None where it was ended for taking too long, with all that it had started."""
    # A group, and no session of its own: what ends this process's session ends it too.
    process = subprocess.Popen(words, stdout=log, stderr=log, process_group=0)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def headline(found: dict[str, Any]) -> str:
    """A job's result in a few words."""
    if "steps_per_second" in found:
        return f"{_rate(found, 'end to end')} steps/s, {found['ratio']['median']:.3f} of the floor"
    if "ratio" in found:
        return f"{found['ratio']:.3f} of the teacher's reward in {found['train_seconds']:.1f} s"
    if "parts" in found:
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["parts"].items())
    return "not there yet" if found else "nothing found, see the log"


def markdown(document: dict[str, Any]) -> str:
    """All results as tables."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "physics": lambda found: _rate(found, "physics"),
        "floor": lambda found: _rate(found, "floor"),
        "end to end": lambda found: _rate(found, "end to end"),
        "end to end / floor": lambda found: f"{found['ratio']['median']:.3f}",
        "compiling, s": lambda found: _sum(found, "seconds", 1.0),
        "programs' memory, MB": lambda found: _sum(found, "total_bytes", 1e6),
        "peak of the device, MB": lambda found: f"{found['peak_memory_mb'].get('device', 0):.0f}",
        "diverged / overflowed": lambda f: f"{f['diverged']:.0f} / {f['overflowed']:.0f}",
    }
    lines, machines = [], []
    for name, result in document.items():
        found = result["found"]
        if "steps_per_second" in found:
            lines.append([name, *(cell(found) for cell in columns.values())])
            machines = [json.dumps(found["machine"])]
    others = [
        [name, result["status"], f"{result['seconds']:.0f}", headline(result["found"])]
        for name, result in document.items()
    ]
    parts = ["# Measured by benchmarks/gpu.py", *machines]
    parts += ["## Environment steps per second, median", _table(["job", *columns], lines)]
    parts += ["## Jobs", _table(["job", "", "s", "found"], others)]
    return "\n\n".join(parts) + "\n"


def _table(columns: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(c)} |" for c in (columns, ["---"] * len(columns), *lines))


def _rate(found: dict[str, Any], name: str) -> str:
    return f"{found['steps_per_second'][name]['median']:,.0f}"


def _sum(found: dict[str, Any], name: str, unit: float) -> str:
    return f"{sum(program[name] for program in found['programs'].values()) / unit:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--budget-s", type=float, default=570.0, help="seconds of all jobs")
    parser.add_argument("--limit-s", type=float, help="seconds of one job, in place of its kind's")
    parser.add_argument("--backends", help=f"most important first, of {','.join(BACKENDS)}")
    parser.add_argument("--num-envs", help="numbers of environments, such as 512,4096")
    parser.add_argument("--jobs", default="", help="only those whose name begins so: a/b,c")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and end")
    parser.add_argument("--resume", action="store_true", help="keep the results that OUT has")
    args = parser.parse_intermixed_args()
    installed = [name for name in BACKENDS if name != "warp" or find_spec("warp")]
    backends = args.backends.split(",") if args.backends else installed
    if unknown := set(backends) - set(BACKENDS):
        raise UserError(f"--backends: expected some of {BACKENDS}, found {min(unknown)!r}")
    widths = [int(text) for text in args.num_envs.split(",")] if args.num_envs else list(WIDTHS)
    jobs = job_list(backends, widths)
    jobs = [job for job in jobs if job.name.startswith(tuple(args.jobs.split(",")))]
    if not jobs:
        raise UserError(f"--jobs: expected names such as ppo/warp, found {args.jobs!r}; see --list")
    if args.list:
        print("\n".join(job.name for job in jobs))
        return
    # So that a job's process does not outlive this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run(jobs, args)


if __name__ == "__main__":
    sys.exit(exit_status(main))
