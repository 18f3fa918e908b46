"""Distillation end to end against its floor, its start and its memory; about five minutes.

    uv run python benchmarks/distillation.py [--quick] [--envs N] [--json FILE] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx distill`. `floor.py` says what is measured.
"""

import sys

from floor import run
from timing import exit_status
from trainings import Distillation

if __name__ == "__main__":
    sys.exit(exit_status(lambda: run(Distillation, 0.92, __doc__ or "")))
