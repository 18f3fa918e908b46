"""`python eval_vae.py RUN key=value ...`: the same as `vnl-mjx eval`."""

import sys

from vnl_mjx.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
