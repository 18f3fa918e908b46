"""Measures a teacher's training on this machine; as `vnl-mjx bench --teacher`, with its arguments."""

import sys

from vnl_mjx.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--teacher", *sys.argv[1:]]))
