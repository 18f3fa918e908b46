"""What compiling a training under MJX-JAX costs, ours and in upstream's shape on the same model.

    uv run python benchmarks/compile.py [--teacher] [--only ours] [--envs 64] [--json FILE] [KEY=VALUE ...]

Every program is compiled in a process of its own, so that its peak of memory is its own, and once more in
another one that finds it in JAX's persistent cache: twenty minutes on two cores, nearly all upstream's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from timing import cpu_seconds, exit_status, peak_memory_mb, table
from trainings import Distillation, TeacherTraining, clips_of, functions, task_of

# By subject: the programs of a training, in the order in which it needs them.
PROGRAMS = {"ours": ("first states", "rollout", "update"), "upstream": ("reset", "rollout")}
UPSTREAM_FRAMES = 200  # of each clip, all of one length there
COLUMNS = {
    "trace_s": "trace s",
    "compile_s": "compile s",
    "cpu_s": "CPU s",
    "peak_mb": "peak MB",
    "lines": "StableHLO",
    "instructions": "HLO",
    "cached_s": "cached s",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", action="store_true", help="the training of a teacher")
    parser.add_argument("--only", choices=list(PROGRAMS))
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one program")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--program", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    if args.program:
        compile_one(args)
    else:
        compare(args)


def compile_one(args: argparse.Namespace) -> None:
    """Compiles one program in this process and prints its numbers as JSON."""
    subject, program = args.program
    kind = TeacherTraining if args.teacher else Distillation
    trainer = kind(["physics_config.backend=mjx", *args.overrides], args.envs).open().trainer
    if subject == "ours":
        function, arguments = functions(trainer)[program]
    else:
        # All of brax's environments, which ours need no memory for.
        from upstream_shape import upstream_programs

        physics = task_of(trainer).physics
        shape = (clips_of(trainer).num_clips, UPSTREAM_FRAMES, physics.model.nq)
        poses = np.resize(np.asarray(clips_of(trainer).qpos()), shape)
        sizes = physics.config.num_substeps, poses, args.envs, trainer.config.unroll_length
        function, arguments = upstream_programs(physics.model, *sizes)[program]
    start_mb, cpu, started = peak_memory_mb()["host"], cpu_seconds(), time.perf_counter()
    lowered = jax.jit(function, donate_argnums=0).lower(*arguments)
    traced = time.perf_counter()
    lines = lowered.as_text().count("\n")
    compiling = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    found = {
        "trace_s": traced - started,
        "compile_s": done - compiling,
        "cpu_s": cpu_seconds() - cpu,
        "peak_mb": peak_memory_mb()["host"],
        "start_mb": start_mb,
        "lines": lines,
        "instructions": (compiled.as_text() or "").count(" = "),
    }
    print(json.dumps(found))


def compare(args: argparse.Namespace) -> None:
    """Compiles everything and prints a table; a line for each program as it comes."""
    worker = [sys.executable, __file__, f"--envs={args.envs}", *args.overrides]
    worker += ["--teacher"] * args.teacher + ["--program"]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for subject in [args.only] if args.only else PROGRAMS:
        found[subject] = {}
        for program in PROGRAMS[subject]:
            row = measure([*worker, subject, program], args.limit)
            found[subject][program] = row
            seconds = row["failure"] or f"{row['trace_s'] + row['compile_s']:.1f} s"
            print(f"{subject}: {program}: {seconds}", file=sys.stderr)
    sums = {s: total(list(rows.values())) for s, rows in found.items()}
    ratios = {}
    if all(sums.get(subject) for subject in PROGRAMS):
        theirs = sums["upstream"]
        ratios = {name: value / theirs[name] for name, value in sums["ours"].items()}
    show(found, sums, ratios)
    if args.json:
        report = {"programs": found, "totals": sums, "ours / upstream": ratios}
        text = json.dumps(report | {"num_envs": args.envs}, indent=2)
        args.json.write_text(text, encoding="utf-8")


def measure(command: list[str], limit_s: float) -> dict[str, Any]:
    """Numbers of one program, and "failure": why there are none, else ""."""
    with tempfile.TemporaryDirectory() as cache:
        first = _run(command, cache, limit_s)
        if first["failure"]:
            return first
        again = _run(command, cache, limit_s)
    cached_s = 0.0 if again["failure"] else again["trace_s"] + again["compile_s"]
    return first | {"cached_s": cached_s}


def _run(command: list[str], cache: str, limit_s: float) -> dict[str, Any]:
    settings = {"JAX_COMPILATION_CACHE_DIR": cache}
    settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment = os.environ | settings
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"not done after {limit_s:.0f} s"}
    if done.returncode < 0:
        return {"failure": f"killed by signal {-done.returncode} (9: out of memory)"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failure": (lines or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().rpartition("\n")[2]) | {"failure": ""}


def total(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Sums, and the largest peak; nothing where a program failed."""
    if any(row["failure"] for row in rows):
        return {}
    return {n: (max if n == "peak_mb" else sum)(row[n] for row in rows) for n in COLUMNS}


def show(found: dict[str, Any], sums: dict[str, Any], ratios: dict[str, float]) -> None:
    """Prints all of it."""
    rows = table("Compiling", *COLUMNS.values())
    for subject, programs in found.items():
        for program, row in programs.items():
            cells = [row["failure"]] if row["failure"] else _cells(row)
            rows.add_row(f"{subject}: {program}", *cells)
        if sums[subject]:
            rows.add_row(f"{subject}, in all", *_cells(sums[subject]))
    Console(width=110).print(rows)
    for name, ratio in ratios.items():
        print(f"ours / upstream, {COLUMNS[name]}: {ratio:.3f}")


def _cells(row: dict[str, float]) -> list[str]:
    return [f"{row[name]:.1f}" if name.endswith("_s") else f"{row[name]:,.0f}" for name in COLUMNS]


if __name__ == "__main__":
    sys.exit(exit_status(main))
