"""Distils: `python train_vae.py [TEACHER [CLIPS]] key=value ...` is the same as `vnl-mjx distill`."""

import sys

try:
    from vnl_mjx.cli import main
except ModuleNotFoundError as error:
    fix = "run `uv run python train_vae.py`, or `pip install -e ..` first"
    message = f"vnl-mjx: error: {sys.executable} has no module {error.name}; {fix}"
    print(message, file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["distill", *sys.argv[1:]]))
