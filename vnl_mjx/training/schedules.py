"""Values that change with training. The argument is always environment steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from vnl_mjx.config.losses import KlLossSection
from vnl_mjx.config.ppo import AdaptiveRateSection
from vnl_mjx.config.schedules import ScheduleSection

Schedule = Callable[[jax.Array], jax.Array]

# How an adaptive rate reacts: beyond twice or below half the target it changes by half (as the penalty
# in Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 4).
KL_TOLERANCE, RATE_FACTOR = 2.0, 1.5
# How a weight that holds a KL reacts to each minibatch on the wrong side of the target.
KL_WEIGHT_FACTOR = 1.02


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


@dataclass(frozen=True)
class Control:
    """Multiplies a number, minibatch by minibatch, so that a mean of the loss stays at a target.

    Attributes:
        measured: name of that mean.
        target: of it.
        tolerance: factor from the target within which the number stays as it is.
        factor: of the number where the mean is too large; where it is too small, the number is divided by it.
        lowest: bound of the number.
        highest: bound of the number.
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
    """A number that follows a schedule, or that begins at the schedule's value and is controlled."""

    def __init__(self, section: ScheduleSection, num_steps: int, control: Control | None = None):
        """Takes the schedule in a run of `num_steps` and, where the number is controlled, how."""
        self.initial = section.value
        self._schedule, self._control = schedule(section, num_steps), control

    def at(self, env_steps: jax.Array, number: jax.Array) -> jax.Array:
        """Returns the number [] at the start of an update, given the one of the update before."""
        return number if self._control else self._schedule(env_steps)

    def adapted(self, number: jax.Array, means: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the number [] for a minibatch with these means of the loss."""
        return number if self._control is None else self._control.moved(number, means)


class LearningRate(Controlled):
    """A learning rate; it may adapt to how far an update moves the policy, "policy_kl" nats."""

    def __init__(
        self, section: ScheduleSection, num_steps: int, adaptive: AdaptiveRateSection | None = None
    ):
        """Takes the schedule and, where the rate adapts, how; it then starts at the schedule's value."""
        control = None
        if adaptive is not None and adaptive.target_kl is not None:
            bounds = adaptive.lowest, adaptive.highest
            factor = 1.0 / RATE_FACTOR
            control = Control("policy_kl", adaptive.target_kl, KL_TOLERANCE, factor, *bounds)
        super().__init__(section, num_steps, control)


def held_kl_weight(weight: ScheduleSection, num_steps: int, section: KlLossSection) -> Controlled:
    """Returns the weight of "kl" that holds it at `section.target`, which is given."""
    assert section.target is not None
    bounds = section.lowest_weight, section.highest_weight
    control = Control("kl", section.target, 1.0, KL_WEIGHT_FACTOR, *bounds)
    return Controlled(weight, num_steps, control)
