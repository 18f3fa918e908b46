"""Where a command may write."""

from collections.abc import Sequence
from pathlib import Path

from vnl_mjx.errors import UserError


def check_output(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError where writing `output` would harm something."""
    if any(output.exists() and path.exists() and path.samefile(output) for path in inputs):
        raise UserError(f"{output}: is also an input; give another file to write")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; give another name, or --overwrite to replace it")
    if output.suffix not in (".h5", ".hdf5"):
        raise UserError(f"{output}: expected the name of an .h5 file to write, last of the paths")
