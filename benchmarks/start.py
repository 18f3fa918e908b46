"""How long a training takes from the start of its process to its first update, and its memory.

    uv run python benchmarks/start.py [--teacher] [--envs 64,256] [KEY=VALUE ...]

Each is a real run of `vnl-mjx distill` (or `train-teacher`) in a process and a temporary folder of its
own, without compiled programs from before, and ended after some updates.
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

PROCESS_WIDTHS = (64, 256, 1024, 4096)
TRAINING_ONLY = (
    "eval_config.interval_steps=0",
    "checkpoint_config.interval_steps=0",
    "wandb_config.mode=disabled",
)


class _Enough(Exception):
    """As many updates as were wanted."""


def first_updates(training: Any, num_updates: int) -> dict[str, Any]:
    """Seconds by phase and peak memory of the first updates of a run of a `trainings.Training`.

    Raises:
        UserError: it did not get that far.
    """
    from vnl_mjx.config.loading import to_yaml
    from vnl_mjx.errors import UserError

    name = f"{training.command} with {training.numbers['num_envs']} environments"
    print(f"measuring the start of {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(training.config), encoding="utf-8")
        words = ["--child", training.command, repr(time.time()), str(num_updates), str(file)]
        cold = os.environ | {"VNL_MJX_CACHE": "off"}
        process = [sys.executable, __file__, *words]
        done = subprocess.run(process, env=cold, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(f"{name} did not start ({reason}); give fewer, or --quick")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def child(command: str, started: float, num_updates: int, file: str) -> None:
    """Runs `command` up to the end of an update and prints how the time went, as JSON."""
    seconds, since = {}, started

    def lap(name: str) -> None:
        nonlocal since
        now = time.time()
        seconds[name], since = now - since, now

    from timing import peak_memory_mb
    from trainings import TRAININGS

    lap("imports")
    with tempfile.TemporaryDirectory() as folder:
        run = TRAININGS[command](TRAINING_ONLY, config_file=Path(file)).open(Path(folder))
        lap("load")
        update, done = run.trainer.update, 0

        def counted(state: Any) -> Any:
            nonlocal done
            if done == 0:
                lap("prepare")
            result = update(state)
            done += 1
            if done == 1:
                lap("first update")
            if done == num_updates:
                raise _Enough
            return result

        run.trainer.update = counted
        try:
            run.execute()
        except _Enough:
            pass
    seconds["total"] = sum(seconds.values())
    print(json.dumps({"seconds": seconds, "peak_memory_mb": peak_memory_mb()["host"]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", action="store_true")
    parser.add_argument("--envs", help="numbers of environments, such as 64,256")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    from trainings import Distillation, TeacherTraining

    kind = TeacherTraining if args.teacher else Distillation
    widths = [int(text) for text in args.envs.split(",")] if args.envs else [None]
    for num_envs in widths:
        training = kind(args.overrides, num_envs)
        found = first_updates(training, 2)
        seconds = ", ".join(f"{name} {value:.1f}" for name, value in found["seconds"].items())
        memory = f"{found['peak_memory_mb']:.0f} MB"
        print(f"{training.numbers['num_envs']} environments: {seconds} s; {memory}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        from timing import exit_status

        sys.exit(exit_status(main))
