"""The back end by its configured name."""

import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import Physics
from vnl_mjx.physics.randomization import ModelVariants

BACKENDS = ("mujoco", "mjx")


def make_physics(
    model: mujoco.MjModel,
    config: PhysicsConfig,
    backend: str = "mujoco",
    num_threads: int = 0,
    variants: ModelVariants | None = None,
) -> Physics:
    """Builds the back end `backend` ("mujoco": C on `num_threads` threads, 0 for all cores; "mjx").

    With `variants` of `model` (`physics.randomization.draw_variants`), each simulation runs on one of them.
    """
    if backend == "mujoco":
        from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics

        return MujocoBatchPhysics(model, config, num_threads, variants)
    if backend == "mjx":
        from vnl_mjx.physics.mjx import MjxPhysics

        return MjxPhysics(model, config, variants)
    raise UserError(f"physics_config.backend: expected one of {BACKENDS}, found {backend!r}")
