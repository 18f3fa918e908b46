"""Defines values that change with training, as functions of environment steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from vnl_mjx.config.losses import KlLossSection
from vnl_mjx.config.ppo import AdaptiveRateSection
from vnl_mjx.config.schedules import ScheduleSection

Schedule = Callable[[jax.Array], jax.Array]

# Reaction of an adaptive rate: beyond twice or below half the target it changes by half (like the penalty
# in Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 4).
KL_TOLERANCE, RATE_FACTOR = 2.0, 1.5
# Reaction of a weight that holds a KL, for each minibatch on the wrong side of the target.
KL_WEIGHT_FACTOR = 1.02


def constant(value: float) -> Schedule:
    """Returns a constant schedule."""
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


@dataclass(frozen=True)
class Control:
    """Scales a number after each minibatch, so that a mean of the loss stays at a target.

    Attributes:
        measured: name of that mean.
        target: target of that mean.
        tolerance: factor from the target within which the number stays as it is.
        factor: factor of the number if the mean is too large, and its divisor if the mean is too small.
        lowest: lower bound of the number.
        highest: upper bound of the number.
    """

    measured: str
    target: float
    tolerance: float
    factor: float
    lowest: float
    highest: float

    def moved(self, number: jax.Array, means: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the number [] after a minibatch with these means of the loss."""
        found = means[self.measured]
        too_large, too_small = (
            found > self.target * self.tolerance,
            found < self.target / self.tolerance,
        )
        change = jnp.where(too_large, self.factor, jnp.where(too_small, 1.0 / self.factor, 1.0))
        return jnp.clip(number * change, self.lowest, self.highest)


class Controlled:
    """Defines a number that follows a schedule, or starts at its value and is controlled."""

    def __init__(self, section: ScheduleSection, num_steps: int, control: Control | None = None):
        """Takes the schedule in a run of `num_steps`, and the control, if any."""
        self.initial = section.value
        self._schedule, self._control = schedule(section, num_steps), control

    def at(self, env_steps: jax.Array, number: jax.Array) -> jax.Array:
        """Returns the number [] at the start of an update, given that of the previous update."""
        return number if self._control else self._schedule(env_steps)

    def adapted(self, number: jax.Array, means: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the number [] for a minibatch with these means of the loss."""
        return number if self._control is None else self._control.moved(number, means)


class LearningRate(Controlled):
    """Defines a learning rate, which may adapt to the change of the policy by an update, "policy_kl" nats."""

    def __init__(
        self, section: ScheduleSection, num_steps: int, adaptive: AdaptiveRateSection | None = None
    ):
        """Takes the schedule, and the adaptation, if any, which starts at the schedule's value."""
        control = None
        if adaptive is not None and adaptive.target_kl is not None:
            bounds = adaptive.lowest, adaptive.highest
            factor = 1.0 / RATE_FACTOR
            control = Control("policy_kl", adaptive.target_kl, KL_TOLERANCE, factor, *bounds)
        super().__init__(section, num_steps, control)


def held_kl_weight(weight: ScheduleSection, num_steps: int, section: KlLossSection) -> Controlled:
    """Returns the weight of "kl" that holds it at `section.target`, which must not be null."""
    assert section.target is not None
    bounds = section.lowest_weight, section.highest_weight
    control = Control("kl", section.target, 1.0, KL_WEIGHT_FACTOR, *bounds)
    return Controlled(weight, num_steps, control)
