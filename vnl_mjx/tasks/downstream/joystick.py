"""The task "joystick": follow a commanded speed and turning rate.

Commands follow vnl-playground's (`tasks/rodent/joystick.py`). Speed is that of the root along its heading,
and turning is about the vertical, where upstream reads the head's gyroscope.
"""

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.task import Motion


class Joystick:
    """Follow a commanded forward speed [m/s] and turning rate [rad/s], which change every 5 s."""

    name, observation_size, episode_s, redraw_s = "joystick", 2, 20.0, 5.0
    FASTEST, SHARPEST, STILL = 0.4, 1.0, 0.1

    def draw(self, key: jax.Array, motion: Motion) -> jax.Array:
        """See `Goal`; [2]."""
        speed_key, turn_key, still_key = jax.random.split(key, 3)
        speed = jax.random.uniform(speed_key, maxval=self.FASTEST)
        turn = jax.random.uniform(turn_key, minval=-self.SHARPEST, maxval=self.SHARPEST)
        command = jnp.stack([speed, turn])
        return jnp.where(jax.random.uniform(still_key) < self.STILL, 0.0, command)

    def observe(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`."""
        return goal

    def terms(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "speed": jnp.exp(-jnp.square((motion.forward - goal[0]) / 0.15)),
            "turn": jnp.exp(-jnp.square((motion.turning - goal[1]) / 0.5)),
            "sideways": -2.0 * jnp.square(motion.sideways),
        }

    def measures(self, motion: Motion, goal: jax.Array) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "speed_error_m_per_s": jnp.abs(motion.forward - goal[0]),
            "turn_error_rad_per_s": jnp.abs(motion.turning - goal[1]),
        }
