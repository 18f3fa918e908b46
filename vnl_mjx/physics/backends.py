"""Builds the back end by its configured name."""

from importlib.util import find_spec

import jax
import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import Physics
from vnl_mjx.physics.randomization import ModelVariants

BACKENDS = ("mujoco", "mjx", "warp")


def make_physics(
    model: mujoco.MjModel,
    config: PhysicsConfig,
    backend: str = "mujoco",
    num_threads: int = 0,
    variants: ModelVariants | None = None,
    naconmax_per_env: int | None = None,
    njmax: int | None = None,
) -> Physics:
    """Builds a back end: "mujoco" (C), "mjx" (MJX-JAX) or "warp" (MuJoCo Warp).

    Args:
        model: the walker's compiled model; a configured copy is used.
        config: solver, time step and substeps.
        backend: one of `BACKENDS`.
        num_threads: threads of "mujoco", 0 for all cores.
        variants: variants of `model` (`physics.randomization.draw_variants`); each simulation runs on one.
        naconmax_per_env: for "warp", see `physics.warp.WarpPhysics`.
        njmax: for "warp", likewise.

    Raises:
        UserError: no such back end, one that is not installed, or a model that it cannot simulate.
    """
    if backend == "mujoco":
        from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics

        return MujocoBatchPhysics(model, config, num_threads, variants)
    if backend == "mjx":
        from vnl_mjx.physics.mjx import MjxPhysics

        return MjxPhysics(model, config, variants)
    if backend == "warp":
        from vnl_mjx.physics.warp import WarpPhysics

        return WarpPhysics(model, config, variants, naconmax_per_env, njmax)
    raise UserError(f"physics_config.backend: expected one of {BACKENDS}, found {backend!r}")


def resolve_backend(backend: str) -> str:
    """Returns `backend`; for "auto", the fastest one here: "mujoco" if JAX computes on the CPU.

    On a GPU that is "warp" if installed, else "mjx"; on any other device it is "mjx".
    """
    if backend != "auto":
        return backend
    platform = jax.default_backend()
    if platform == "cpu":
        return "mujoco"
    return "warp" if platform == "gpu" and find_spec("warp") else "mjx"
