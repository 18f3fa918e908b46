"""What compiling a training under MJX-JAX costs, ours and in upstream's shape on the same model.

    uv run python benchmarks/compile.py [--ppo] [--only ours] [--envs 64] [--json FILE] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx distill` (with --ppo, of `vnl-mjx train-teacher`). Every program is
compiled in a process of its own, one after the other: twenty minutes on two cores, nearly all upstream's.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from vnl_mjx.analysis.benchmark import compilation
from vnl_mjx.commands.bench_subjects import DistillationSubject, TeacherSubject
from vnl_mjx.config.loading import load_distillation_config, load_teacher_config
from vnl_mjx.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ppo", action="store_true")
    parser.add_argument("--only", choices=list(compilation.PROGRAMS))
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one program")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--program", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    try:
        if args.program:
            compile_one(args)
        else:
            compare(args)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


def compile_one(args: argparse.Namespace) -> None:
    """Compiles one program here and prints its figures."""
    overrides = ["physics_config.backend=mjx", *args.overrides]
    if args.ppo:
        subject = TeacherSubject(load_teacher_config(overrides))
    else:
        subject = DistillationSubject(load_distillation_config(overrides))
    trainer = subject.with_envs(args.envs).open_run().trainer
    function, arguments = compilation.program_of(trainer, *args.program)
    print(json.dumps(compilation.compile_here(function, arguments)))


def compare(args: argparse.Namespace) -> None:
    """Compiles everything and prints a table; a line for each program as it comes."""
    notes = Console(stderr=True)
    worker = [sys.executable, __file__, f"--envs={args.envs}", *args.overrides]
    worker += ["--ppo"] * args.ppo + ["--program"]
    found = []
    for row in compilation.measure(worker, [args.only] if args.only else PROGRAMS, args.limit):
        seconds = row.failure or f"{row.trace_s + row.compile_s:.1f} s, {row.peak_mb:,.0f} MB"
        notes.print(f"{row.subject}: {row.program}: {seconds}", highlight=False)
        found.append(row)
    Console(width=110).print(compilation.table(found))
    report = compilation.report(found) | {"num_envs": args.envs}
    for name, ratio in report["ours / upstream"].items():
        print(f"ours / upstream, {name}: {ratio:.3f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


PROGRAMS = tuple(compilation.PROGRAMS)

if __name__ == "__main__":
    main()
