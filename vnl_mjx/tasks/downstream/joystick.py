"""Defines the task "joystick": follow a commanded speed and turning rate.

Commands follow vnl-playground's (`tasks/rodent/joystick.py`). Speed is that of the root along its heading,
and turning is about the vertical, where upstream reads the head's gyroscope.
"""

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion


class Joystick(Goal):
    """Follow a commanded forward speed [m/s] and turning rate [rad/s], which change every 5 s."""

    name, observation_size, episode_s, redraw_s = "joystick", 4, 20.0, 5.0
    FASTEST, SHARPEST, STILL = 0.4, 1.0, 0.1

    def draw(self, key: jax.Array, motion: Motion) -> jax.Array:
        """See `Goal`; [2]."""
        speed_key, turn_key, still_key = jax.random.split(key, 3)
        speed = jax.random.uniform(speed_key, maxval=self.FASTEST)
        turn = jax.random.uniform(turn_key, minval=-self.SHARPEST, maxval=self.SHARPEST)
        command = jnp.stack([speed, turn])
        return jnp.where(jax.random.uniform(still_key) < self.STILL, 0.0, command)

    def hindsight(self, now: Motion, later: Motion) -> jax.Array:
        """See `Goal`."""
        return jnp.stack([later.forward, later.turning])

    def observe(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`; the command, and speed and turning as they are."""
        return jnp.append(goal, jnp.stack([motion.forward, motion.turning]))

    def terms(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`; uses absolute errors, so that the reward has a slope far from the target."""
        return {
            "speed": jnp.exp(-jnp.abs(motion.forward - goal[0]) / 0.12),
            "turn": 1.5 * jnp.exp(-jnp.abs(motion.turning - goal[1]) / 0.4),
            "sideways": -2.0 * jnp.square(motion.sideways),
        }

    def measures(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "speed_error_m_per_s": jnp.abs(motion.forward - goal[0]),
            "turn_error_rad_per_s": jnp.abs(motion.turning - goal[1]),
        }
