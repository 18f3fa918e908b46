"""Values that change with training. The argument is always environment steps."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from vnl_mjx.config.ppo import AdaptiveRateSection
from vnl_mjx.config.schedules import ScheduleSection

Schedule = Callable[[jax.Array], jax.Array]

# How an adaptive rate reacts: beyond twice or below half the target it changes by half (as the penalty
# in Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 4).
KL_TOLERANCE, RATE_FACTOR = 2.0, 1.5


def constant(value: float) -> Schedule:
    """Returns the schedule of one value throughout."""
    return lambda env_steps: jnp.full_like(env_steps, value, jnp.float32)


def linear(start: float, end: float, start_step: float, end_step: float) -> Schedule:
    """Returns `start` until `start_step`, then a straight line to `end` at `end_step`, then `end`."""

    def value(env_steps: jax.Array) -> jax.Array:
        fraction = (env_steps - start_step) / jnp.maximum(end_step - start_step, 1.0)
        return start + (end - start) * jnp.clip(fraction, 0.0, 1.0)

    return value


def schedule(section: ScheduleSection, num_steps: int) -> Schedule:
    """Returns the schedule that a configuration describes, in a run of `num_steps` environment steps."""
    if section.start is None:
        return constant(section.value)
    return linear(section.start, section.value, *section.steps(num_steps))


class LearningRate:
    """A learning rate that follows a schedule, or adapts to how far an update moves the policy."""

    def __init__(
        self, section: ScheduleSection, num_steps: int, adaptive: AdaptiveRateSection | None = None
    ):
        """Takes the schedule and, where the rate adapts, how; it then starts at the schedule's value."""
        self.initial = section.value
        self._schedule = schedule(section, num_steps)
        self._adaptive = adaptive if adaptive and adaptive.target_kl is not None else None

    def at(self, env_steps: jax.Array, rate: jax.Array) -> jax.Array:
        """Returns the rate [] at the start of an update, given the one of the update before."""
        return rate if self._adaptive else self._schedule(env_steps)

    def adapted(self, rate: jax.Array, means: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the rate [] for a minibatch whose means of the loss hold "policy_kl" [], nats."""
        if self._adaptive is None:
            return rate
        kl, target = means["policy_kl"], self._adaptive.target_kl or 0.0
        too_far, too_near = kl > target * KL_TOLERANCE, kl < target / KL_TOLERANCE
        factor = jnp.where(too_far, 1.0 / RATE_FACTOR, jnp.where(too_near, RATE_FACTOR, 1.0))
        return jnp.clip(rate * factor, self._adaptive.lowest, self._adaptive.highest)
