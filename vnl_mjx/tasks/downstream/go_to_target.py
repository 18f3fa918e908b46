"""Defines the task "go_to_target": walk to a place ahead within a time limit.

The place is drawn as in vnl-playground's task of this name, ahead of the body; the approach is rewarded as
well.
"""

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion


class GoToTarget(Goal):
    """Bring the root body within `REACHED_M` of a place 0.1 to 0.8 m ahead; then all is done."""

    name, observation_size, episode_s, events = "go_to_target", 3, 6.0, ("reached",)
    fall_cost = 70.0  # more than all steps of an episode cost, discounted
    AHEAD_M, BESIDE_M, REACHED_M = (0.1, 0.8), 0.15, 0.05

    def draw(self, key: jax.Array, motion: Motion) -> jax.Array:
        """See `Goal`; the place [3], as high as the root body."""
        ahead_key, beside_key = jax.random.split(key)
        near, far = self.AHEAD_M
        ahead = jax.random.uniform(ahead_key, minval=near, maxval=far)
        left = jax.random.uniform(beside_key, minval=-self.BESIDE_M, maxval=self.BESIDE_M)
        return motion.root.beside(ahead, left)

    def hindsight(self, now: Motion, later: Motion) -> jax.Array:
        """See `Goal`; a place that the body would reach by continuing."""
        return now.onward(later)

    def observe(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`; the place in the root body's frame."""
        return motion.root.sees(goal)

    def terms(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`; steps before arrival cost, else a body would stay beside the place."""
        near = jnp.exp(-self._distance(motion, goal) / (2.0 * self.REACHED_M))
        return {
            "closeness": near - 1.0,
            "approach": 3.0 * motion.approach(goal),
            "reached": 10.0 * self.finished(motion, goal),
        }

    def measures(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {"distance_m": self._distance(motion, goal), "reached": self.finished(motion, goal)}

    def finished(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`."""
        return self._distance(motion, goal) < self.REACHED_M

    def marks(self, goal: jax.Array) -> jax.Array:
        """See `Goal`."""
        return goal[None]

    def _distance(self, motion: Motion, place: jax.Array) -> jax.Array:
        return jnp.linalg.norm(place[:2] - motion.position[:2])
