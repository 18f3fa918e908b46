"""Measures one distillation on this machine; the same as `vnl-mjx bench`, with its arguments."""

import sys

from vnl_mjx.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
