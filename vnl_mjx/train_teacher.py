"""`python train_teacher.py [CLIPS ...] key=value ...`: the same as `vnl-mjx train-teacher`."""

import sys

from vnl_mjx.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-teacher", *sys.argv[1:]]))
