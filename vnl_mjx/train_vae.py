"""`python train_vae.py [TEACHER [CLIPS]] key=value ...`: the same as `vnl-mjx distill`."""

import sys

from vnl_mjx.cli import main

if __name__ == "__main__":
    sys.exit(main(["distill", *sys.argv[1:]]))
