"""Defines the task "velocity": run straight ahead at one speed.

Terms follow vnl-playground's "maintain velocity", which asks for 0.5 m/s and reads the head's gyroscope.
Speeds here are averages over a stride, and turning is that of the root.
"""

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion


class Velocity(Goal):
    """Run straight ahead at `SPEED` [m/s], wherever the body faces; a goal is a speed and a turning rate."""

    name, observation_size, episode_s = "velocity", 3, 20.0
    SPEED = 0.3

    def draw(self, key: jax.Array, motion: Motion) -> jax.Array:
        """See `Goal`; [2]."""
        return jnp.array([self.SPEED, 0.0])

    def hindsight(self, now: Motion, later: Motion) -> jax.Array:
        """See `Goal`."""
        return jnp.stack([later.forward, later.turning])

    def observe(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`; how far off speed, turning and drift are."""
        pace = jnp.stack([motion.forward, motion.turning])
        return jnp.append(pace - goal, motion.sideways)

    def terms(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`; standing earns 0."""
        error = jnp.abs(motion.forward - goal[0])
        return {
            "speed": jnp.maximum(1.0 - error / self.SPEED, 0.0),
            "sideways": -0.5 * jnp.square(motion.sideways),
            "turn": -0.1 * jnp.square(motion.turning - goal[1]),
        }

    def measures(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "speed_error_m_per_s": jnp.abs(motion.forward - goal[0]),
            "sideways_m_per_s": jnp.abs(motion.sideways),
            "turn_error_rad_per_s": jnp.abs(motion.turning - goal[1]),
        }
