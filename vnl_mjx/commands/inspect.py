"""`vnl-mjx inspect`."""

from pathlib import Path

from vnl_mjx.errors import UserError


def run(path: Path, as_json: bool = False) -> int:
    """Describes a checkpoint or a reference file and returns the exit status."""
    raise UserError("vnl-mjx inspect: not part of this build")
