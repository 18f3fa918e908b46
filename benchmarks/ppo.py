"""Training of a teacher end to end against its floor, its start and its memory; about five minutes.

    uv run python benchmarks/ppo.py [--quick] [--envs N] [--json FILE] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx train-teacher`. `floor.py` says what is measured.
"""

import sys

from floor import run
from timing import exit_status
from trainings import TeacherTraining

if __name__ == "__main__":
    sys.exit(exit_status(lambda: run(TeacherTraining, 0.96, __doc__ or "")))
