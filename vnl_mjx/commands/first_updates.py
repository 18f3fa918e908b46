"""Times the start of one training in a process of its own, and its memory. `vnl-mjx bench` runs it.

Usage: python -m vnl_mjx.commands.first_updates COMMAND CONFIG_FILE STARTED NUM_UPDATES
COMMAND is distill or train-teacher, STARTED the caller's time.time() just before. The last line of
output is JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path


class _Enough(Exception):
    """As many updates as were wanted."""


def main(command: str, config_file: str, started: float, num_updates: int) -> None:
    """Runs `vnl-mjx COMMAND` up to the end of an update and prints how the time went."""
    seconds, since = {}, started

    def lap(name: str) -> None:
        nonlocal since
        now = time.time()
        seconds[name], since = now - since, now

    from rich.console import Console

    from vnl_mjx.commands.runtime import prepare_jax
    from vnl_mjx.commands.train.training_run import TrainingRun, build_training
    from vnl_mjx.config.loading import load_distillation_config, load_teacher_config

    lap("imports")
    load = load_distillation_config if command == "distill" else load_teacher_config
    config = load([], config_file)
    prepare_jax(config.device, config.matmul_precision)
    with tempfile.TemporaryDirectory() as folder:
        training = build_training(config, Path(folder))
        run = TrainingRun(config, training, Path(folder), Console(quiet=True))
        lap("load")
        update, updates = run.trainer.update, 0

        def counted_update(state):
            nonlocal updates
            if updates == 0:
                lap("prepare")
            result = update(state)
            updates += 1
            if updates == 1:
                lap("first update")
            if updates == num_updates:
                raise _Enough
            return result

        run.trainer.update = counted_update
        try:
            run.execute()
        except _Enough:
            pass
    report = {"seconds": {**seconds, "total": sum(seconds.values())}}
    print(json.dumps(report | {"peak_memory_mb": peak_memory_mb()}))


def peak_memory_mb() -> float:
    """The most memory that this process ever held, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: its rusage begins with the size of the process that forked
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
