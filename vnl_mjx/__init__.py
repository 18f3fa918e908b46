"""Motion capture in, motor primitives out: imitation teachers and their VAE students in MuJoCo.

    loaded = vnl_mjx.load("runs/rat1")  # a run folder, a checkpoint, or "demo"
    loaded.policy, loaded.env, loaded.clips, loaded.walker, loaded.teacher, loaded.student

Importing this package loads neither JAX nor MuJoCo; `load` and the subpackages do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vnl_mjx.api import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module 'vnl_mjx' has no attribute {name!r}")
    from vnl_mjx.api import load

    return load
