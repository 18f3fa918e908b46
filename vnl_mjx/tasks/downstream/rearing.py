"""Defines the task "rearing": lift the head high above the trunk and hold it there, again and again.

The criterion of rearing is vnl-playground's. The ways up and down are rewarded as well, and a whole rear
earns 50, not 500.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion


class Rear(NamedTuple):
    """Holds the progress of a rear.

    Attributes:
        held_s: [] seconds that the head has been up without a break.
        is_armed: [] bool, the head has been down since the last rear.
        is_done: [] bool, the rear was completed in this control step.
    """

    held_s: jax.Array
    is_armed: jax.Array
    is_done: jax.Array


class Rearing(Goal):
    """Hold the head `UP_M` above the root body for `HOLD_S`; going below `DOWN_M` rearms it."""

    name, observation_size, episode_s, events = "rearing", 3, 10.0, ("rears",)
    bodies: Mapping[str, str] = {"head": "skull"}
    tilt_deg = 100.0
    UP_M, DOWN_M, HOLD_S = 0.05, 0.01, 1.0

    def draw(self, key: jax.Array, motion: Motion) -> Rear:
        """See `Goal`."""
        return Rear(jnp.float32(0), jnp.bool_(True), jnp.bool_(False))

    def advance(self, motion: Motion, goal: Rear, key: jax.Array) -> Rear:
        """See `Goal`."""
        over = self._over(motion)
        held_s = jnp.where(over >= self.UP_M, goal.held_s + motion.step_s, 0.0)
        is_done = goal.is_armed & (held_s > self.HOLD_S - 0.5 * motion.step_s)
        is_armed = (goal.is_armed & ~is_done) | (over < self.DOWN_M)
        return Rear(held_s, is_armed, is_done)

    def observe(self, motion: Motion, goal: Rear) -> jax.Array:
        """See `Goal`; the head's height over the root body, seconds held, and whether it counts."""
        return jnp.stack([self._over(motion), goal.held_s, 1.0 * goal.is_armed])

    def terms(self, motion: Motion, goal: Rear) -> dict[str, jax.Array]:
        """See `Goal`; rewards the way down after a rear. A rear earns more than staying just below."""
        share = jnp.clip(self._over(motion) / self.UP_M, 0.0, 1.0)
        return {
            "height": jnp.where(goal.is_armed, share, 1.0 - share),
            "rears": 50.0 * goal.is_done,
        }

    def measures(self, motion: Motion, goal: Rear) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "head_height_m": motion.bodies["head"].position[2] - motion.ground,
            "head_over_root_m": self._over(motion),
            "rears": goal.is_done,
        }

    def _over(self, motion: Motion) -> jax.Array:
        return motion.bodies["head"].position[2] - motion.position[2]
