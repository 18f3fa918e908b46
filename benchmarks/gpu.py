"""Everything to measure on a GPU, in calls of ten minutes; results are in OUT/gpu.json and OUT/gpu.md.

    uv run python benchmarks/gpu.py [--out OUT] [--budget-s 570] [key=value ...]
    uv run python benchmarks/gpu.py --out OUT --resume        # goes on with what is left
    uv run python benchmarks/gpu.py --walker toy --list       # what would be done, here without a GPU

For each back end: environment steps per second of bare physics, of environments, with the teacher, of a
distillation and of a PPO against the number of environments; compiling and memory; whether it learns; how
long a student takes to earn 0.95 of its teacher's reward; the operations of an update. Each job is a
process of its own, the most important first, and what it found is kept if another fails.
"""

import argparse
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_subjects import SUBJECTS, Rodent, Toy

from vnl_mjx.analysis.benchmark.scale.jobs import KINDS, Job, job_list
from vnl_mjx.analysis.benchmark.scale.measuring import Effort, Note
from vnl_mjx.analysis.benchmark.scale.runner import Command, Runner
from vnl_mjx.errors import UserError
from vnl_mjx.files import write_json

BUDGET_S = 570.0
BACKENDS = ("warp", "mjx", "mujoco")
MOST_COMPILING = 4  # at the same time


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    given = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(given)
    try:
        if args.job:
            do(_job(args.job), args)
            return 0
        subject = SUBJECTS[args.walker](args.overrides)
        jobs = _chosen(args, subject)
        if args.list:
            print("\n".join(job.name for job in jobs))
            return 0
        # So that a job's process does not outlive this one.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        runner = Runner(args.out, _command(given), subject.default_envs, args.resume, args.limit_s)
        runner.run(jobs, args.budget_s)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def do(job: Job, args: argparse.Namespace) -> None:
    """Does one job in this process; what it finds stands in the file `args.into`."""
    import jax

    from vnl_mjx.analysis.benchmark.scale.machine import describe_machine
    from vnl_mjx.commands.runtime import prepare_jax

    prepare_jax()
    found: dict[str, Any] = {"machine": describe_machine()}
    hits: list[str] = []

    def count(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            hits.append(event)

    jax.monitoring.register_event_listener(count)

    def note(name: str, figures: dict[str, Any]) -> None:
        found[name] = figures | {"programs_from_cache": len(hits)}
        write_json(args.into, found)

    threads = args.compile_threads
    if threads is None and jax.default_backend() == "gpu":
        threads = min(MOST_COMPILING, (os.cpu_count() or 2) // 2)
    measure(job, SUBJECTS[args.walker](args.overrides), args.seconds, threads or 1, note)


def measure(
    job: Job, subject: Rodent | Toy, seconds: float, compile_threads: int, note: Note
) -> None:
    """Measures what the job says; `note` is told what was found."""
    from vnl_mjx.analysis.benchmark.scale.device_time import profile_update
    from vnl_mjx.analysis.benchmark.scale.learning import distil_to_target, learn_by_ppo
    from vnl_mjx.analysis.benchmark.scale.rates import measure_distillation, measure_ppo

    num_envs = job.num_envs or subject.default_envs
    effort = Effort(seconds, 5, max(20.0, 2 * seconds))
    if job.kind == "ppo":
        measure_ppo(subject.ppo(job.backend, num_envs), effort, note, compile_threads)
        return
    if job.kind == "learning":
        learning = subject.learning(job.backend)
        learn_by_ppo(learning.trainer, learning.num_updates, note, learning.passing_reward)
        return
    training = subject.distillation(job.backend, num_envs)
    if job.kind == "rates":
        measure_distillation(training.trainer, effort, note, compile_threads)
    elif job.kind == "profile":
        profile_update(training.trainer, note)
    elif job.kind == "ratio":
        parts = (training.trainer, training.held_out, training.elsewhere)
        distil_to_target(*parts, note, subject.max_train_seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "overrides", nargs="*", help="of vnl-mjx distill, such as physics_config.njmax=96"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="seconds of all jobs")
    parser.add_argument("--backends", help=f"the most important first, of {','.join(BACKENDS)}")
    parser.add_argument("--num-envs", help="numbers of environments, such as 512,4096")
    parser.add_argument(
        "--jobs", default="", help="only those whose name matches one of these, a/b,c"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and end")
    parser.add_argument("--resume", action="store_true", help="keep the results that --out has")
    parser.add_argument("--walker", choices=sorted(SUBJECTS), default="rodent")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="that each rate is measured, at least"
    )
    parser.add_argument("--limit-s", type=float, help="seconds of one job, in place of its kind's")
    parser.add_argument(
        "--compile-threads",
        type=int,
        help="programs that compile at the same time; 1: each is timed alone",
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)  # of a process of this benchmark
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    return parser


def _chosen(args: argparse.Namespace, subject: Rodent | Toy) -> list[Job]:
    """The jobs that are asked for, in order."""
    names = args.backends.split(",") if args.backends else _installed()
    if unknown := set(names) - set(BACKENDS):
        raise UserError(
            f"--backends: expected some of {','.join(BACKENDS)}, found {min(unknown)!r}"
        )
    try:
        widths = [int(text) for text in args.num_envs.split(",")] if args.num_envs else None
    except ValueError:
        raise UserError(
            f"--num-envs: expected numbers as in 512,4096, found {args.num_envs!r}"
        ) from None
    jobs = job_list(names, widths or subject.default_widths, subject.default_envs)
    wanted = [text for text in args.jobs.split(",") if text]
    chosen = [job for job in jobs if not wanted or any(_matches(job.name, text) for text in wanted)]
    if not chosen:
        raise UserError(
            f"--jobs: expected names such as rates or rates/warp/4096, found {args.jobs!r}; see --list"
        )
    return chosen


def _matches(name: str, text: str) -> bool:
    """Whether the name is `text` or begins with its parts."""
    return name == text or name.startswith(text + "/")


def _installed() -> list[str]:
    return [name for name in BACKENDS if name != "warp" or find_spec("warp")]


def _job(name: str) -> Job:
    kind, backend, *width = name.split("/")
    if kind not in KINDS:
        raise ValueError(f"{name=} is no job of {KINDS}")
    return Job(kind, backend, int(width[0]) if width else None)


def _command(given: list[str]) -> Command:
    """The command of a job's process: this one's arguments, the job and where its figures go."""

    def command(job: Job, num_envs: int | None, into: Path) -> list[str]:
        own = Job(job.kind, job.backend, num_envs)
        return [sys.executable, __file__, *given, "--job", own.name, "--into", str(into)]

    return command


if __name__ == "__main__":
    sys.exit(main())
