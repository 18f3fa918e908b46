"""Values that change with training. The argument is always environment steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vnl_mjx.config.ppo import WeightSection
from vnl_mjx.config.schema import KlScheduleSection

Schedule = Callable[[jax.Array], jax.Array]


def constant(value: float) -> Schedule:
    """The same value throughout."""
    return lambda env_steps: jnp.full_like(env_steps, value, jnp.float32)


def linear(start: float, end: float, start_step: float, end_step: float) -> Schedule:
    """`start` until `start_step`, then a straight line to `end` at `end_step`, constant after it."""

    def value(env_steps: jax.Array) -> jax.Array:
        fraction = (env_steps - start_step) / jnp.maximum(end_step - start_step, 1.0)
        return start + (end - start) * jnp.clip(fraction, 0.0, 1.0)

    return value


def weight(final: float, course: WeightSection | KlScheduleSection) -> Schedule:
    """A weight that is `final` in the end: all along, or from `course.start_weight` if it has one."""
    if course.start_weight is None:
        return constant(final)
    return linear(course.start_weight, final, course.start_step, course.end_step)
