"""Runs any back end on several devices; each simulates its own environments."""

import jax
import jax.numpy as jnp
import mujoco
from jax.sharding import Mesh

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.devices import sharded
from vnl_mjx.physics.base import Physics, PhysicsState


class ShardedPhysics:
    """Runs a back end's share on each device of a mesh. See `physics.base.Physics`.

    The compiler cannot split callbacks into C and calls into Warp.

    Attributes:
        of_one_device: the back end itself, for batches that lie on one device.
    """

    def __init__(self, physics: Physics, mesh: Mesh):
        """Spreads `physics` over `mesh`; its batches may not cross devices within a call."""
        self.of_one_device = physics
        self.model: mujoco.MjModel = physics.model
        self.config: PhysicsConfig = physics.config
        self.num_variants = physics.num_variants
        self.zeros, self.step = physics.zeros, sharded(physics.step, mesh)
        self._reset = sharded(physics.reset, mesh)

    @property
    def busy_seconds(self) -> float:
        """The seconds in the callbacks of all devices, for a back end with callbacks."""
        return getattr(self.of_one_device, "busy_seconds", 0.0)

    def reset(
        self,
        qpos: jax.Array,
        qvel: jax.Array,
        where: jax.Array | bool = True,
        variant: jax.Array | None = None,
        act: jax.Array | None = None,
    ) -> PhysicsState:
        """See `physics.base.Physics.reset`."""
        return self._reset(qpos, qvel, jnp.asarray(where), variant, act)
