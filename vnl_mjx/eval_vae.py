"""Evaluates a student: `python eval_vae.py RUN key=value ...` is the same as `vnl-mjx eval`."""

import sys

try:
    from vnl_mjx.cli import main
except ModuleNotFoundError as error:
    fix = "run `uv run python eval_vae.py`, or `pip install -e ..` first"
    message = f"vnl-mjx: error: {sys.executable} has no module {error.name}; {fix}"
    print(message, file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
