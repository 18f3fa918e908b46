"""Trains a teacher: `python train_teacher.py [CLIPS ...] key=value ...`, as `vnl-mjx train-teacher`."""

import sys

try:
    from vnl_mjx.cli import main
except ModuleNotFoundError as error:
    fix = "run `uv run python train_teacher.py`, or `pip install -e ..` first"
    message = f"vnl-mjx: error: {sys.executable} has no module {error.name}; {fix}"
    print(message, file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["train-teacher", *sys.argv[1:]]))
