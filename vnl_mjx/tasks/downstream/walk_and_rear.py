"""Defines the task "walk_and_rear": walk half a metre and hold the head at a raised point there.

The point and the criterion of holding are vnl-playground's. The approach is rewarded as well, and success
earns less than upstream's 500.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion


class Raised(NamedTuple):
    """Holds a target point of the head.

    Attributes:
        place: [3] in the world, m.
        held_s: [] seconds that the head has been there without a break.
    """

    place: jax.Array
    held_s: jax.Array


class WalkAndRear(Goal):
    """Hold the head for `HOLD_S` at a point `AHEAD_M` ahead, `HEIGHT_M` high; then all is done."""

    name, observation_size, episode_s, events = "walk_and_rear", 4, 20.0, ("reached",)
    bodies: Mapping[str, str] = {"head": "skull"}
    tilt_deg = 100.0
    AHEAD_M, HEIGHT_M, HOLD_S = 0.5, 0.1, 1.0
    BESIDE_M, ABOVE_M = 0.05, 0.02  # tolerance along the floor and in height

    def draw(self, key: jax.Array, motion: Motion) -> Raised:
        """See `Goal`."""
        place = motion.root.beside(jnp.float32(self.AHEAD_M), jnp.float32(0))
        return Raised(place.at[2].set(motion.ground + self.HEIGHT_M), jnp.float32(0))

    def advance(self, motion: Motion, goal: Raised, key: jax.Array) -> Raised:
        """See `Goal`."""
        offset = motion.bodies["head"].position - goal.place
        is_beside = jnp.linalg.norm(offset[:2]) < self.BESIDE_M
        is_there = is_beside & (jnp.abs(offset[2]) < self.ABOVE_M)
        return goal._replace(held_s=jnp.where(is_there, goal.held_s + motion.step_s, 0.0))

    def hindsight(self, now: Motion, later: Motion) -> Raised:
        """See `Goal`; the place that the body would reach by continuing, at the head's height."""
        return Raised(now.onward(later).at[2].set(later.bodies["head"].position[2]), jnp.float32(0))

    def observe(self, motion: Motion, goal: Raised) -> jax.Array:
        """See `Goal`; the point in the root body's frame, and seconds held."""
        return jnp.append(motion.root.sees(goal.place), goal.held_s)

    def terms(self, motion: Motion, goal: Raised) -> dict[str, jax.Array]:
        """See `Goal`; success earns more than staying beside the point."""
        near = jnp.maximum(1.0 - self._distance(motion, goal) / self.AHEAD_M, 0.0)
        return {
            "closeness": near,
            "approach": 3.0 * motion.approach(goal.place),
            "held": 1.0 * (goal.held_s > 0),
            "reached": 200.0 * self.finished(motion, goal),
        }

    def measures(self, motion: Motion, goal: Raised) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "distance_m": self._distance(motion, goal),
            "head_height_m": motion.bodies["head"].position[2] - motion.ground,
            "reached": self.finished(motion, goal),
        }

    def finished(self, motion: Motion, goal: Raised) -> jax.Array:
        """See `Goal`."""
        return goal.held_s > self.HOLD_S - 0.5 * motion.step_s

    def marks(self, goal: Raised) -> jax.Array:
        """See `Goal`."""
        return goal.place[None]

    def _distance(self, motion: Motion, goal: Raised) -> jax.Array:
        return jnp.linalg.norm(motion.bodies["head"].position - goal.place)
