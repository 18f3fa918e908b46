"""`vnl-mjx bench`."""

from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.errors import UserError


def run(config: DistillationConfig, as_json: bool = False) -> int:
    """Measures this machine and returns the exit status."""
    raise UserError("vnl-mjx bench: not part of this build")
