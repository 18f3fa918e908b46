"""Defines arenas, the ground in place of a flat floor, and builds physics in an arena."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.errors import UserError, first_line
from vnl_mjx.physics.base import Physics
from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics
from vnl_mjx.physics.sharded import ShardedPhysics
from vnl_mjx.walkers.walker import Walker, walker_spec

# Properties of the floor's geom: collision and appearance.
_SURFACE = (
    *("contype", "conaffinity", "condim", "priority", "friction", "solmix", "solref", "solimp"),
    *("margin", "gap", "material", "rgba"),
)
_WARP_ROOM = 4  # contacts of a paw with several pieces of ground, of one with a floor


class Arena(ABC):
    """Defines ground of one shape for all episodes, which replaces the planes of the body's model.

    Attributes:
        start: x and y in the world at which the root body starts, m. The ground there has the height of the
            floor, so that the pose of a clip stands on it.
        heading: direction that the body faces at the start, rad from the world's x axis; None: as in the
            clip.
    """

    start: tuple[float, float] = (0.0, 0.0)
    heading: float | None = None

    @abstractmethod
    def build(
        self, spec: mujoco.MjSpec, add_geom: Callable[..., mujoco.MjsGeom], height: float
    ) -> None:
        """Builds the ground.

        Args:
            spec: of the body.
            add_geom: function like that of `MjsBody`, which adds a geom to the world with the floor's
                collision and appearance.
            height: z of the floor in the world, m.
        """

    def ground(self, place: jax.Array) -> jax.Array:
        """Returns the height [] of the ground at x and y, [2], relative to that at the start, m."""
        return jnp.zeros(())


def in_arena(walker: Walker, arena: Arena) -> Walker:
    """Returns the walker with a model in an arena; bodies and joints keep their rows.

    Raises:
        UserError: its model has no floor plane that the arena can replace, or does not compile.
    """
    source = walker.config.source
    spec = walker_spec(walker.config)
    planes = [geom for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]
    if not planes:
        raise UserError(f"arena: expected a floor plane in model {source!r}, found none")
    surface = {name: getattr(planes[0], name) for name in _SURFACE}

    def add_geom(**own) -> mujoco.MjsGeom:
        return spec.worldbody.add_geom(**surface | own)

    arena.build(spec, add_geom, walker.floor_height)
    for plane in planes:
        spec.delete(plane)
    try:
        return replace(walker, model=spec.compile())
    except (ValueError, mujoco.FatalError) as error:
        raise UserError(
            f"arena: MuJoCo cannot compile {source!r} in it: {first_line(error)}"
        ) from error


def physics_like(physics: Physics, model: mujoco.MjModel) -> Physics:
    """Returns the back end of `physics`, with its options, on another model.

    MuJoCo C and Warp collide height fields and boxes with every kind of geom; MJX-JAX lacks collisions with
    ellipsoids, such as the rodent's hands.

    Raises:
        UserError: the back end cannot simulate the model, or runs on several devices.
    """
    if isinstance(physics, ShardedPhysics):
        raise UserError("arena: expected physics on one device, found several; use one")
    if isinstance(physics, MujocoBatchPhysics):
        return MujocoBatchPhysics(model, physics.config, physics.num_threads)
    from vnl_mjx.physics.mjx import MjxPhysics
    from vnl_mjx.physics.warp import WarpPhysics

    if isinstance(physics, WarpPhysics):
        room = physics.room
        return WarpPhysics(
            model,
            physics.config,
            naconmax_per_env=_WARP_ROOM * room.contacts,
            njmax=_WARP_ROOM * room.rows,
        )
    try:
        return MjxPhysics(model, physics.config)
    except NotImplementedError as error:
        raise UserError(
            f"physics_config.backend: MJX-JAX cannot simulate this body in this arena "
            f"({first_line(error)}); choose mujoco or warp"
        ) from error
