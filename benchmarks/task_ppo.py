"""Training of a task end to end against its floor, its start and its memory; about five minutes.

    uv run python benchmarks/task_ppo.py [--quick] [--envs N] [--json FILE] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx train-task`. `floor.py` says what is measured; cloning is not part of it.
"""

import sys

from floor import run
from timing import exit_status
from trainings import TaskTraining

if __name__ == "__main__":
    sys.exit(exit_status(lambda: run(TaskTraining, 0.85, __doc__ or "")))
