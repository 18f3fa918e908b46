"""Configures the terms of a student's loss, except their weights."""

from dataclasses import dataclass
from typing import Literal

from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.config.validation import number
from vnl_mjx.errors import UserError

# Built-in further terms of a student's loss; true if they compare consecutive control steps.
STUDENT_TERMS = {"standard_kl": False, "ar1_kl": True, "smoothness": True}


@dataclass(frozen=True)
class ActionLossSection:
    """The distance between the student's and the teacher's action.

    Attributes:
        kind: "mse": mean of squares over actuators; "l2": norm over actuators; "huber": mean over actuators
            of half the square up to `huber_delta`, and linear beyond.
        before_tanh: compare the actions before tanh.
        huber_delta: distance at which the Huber loss becomes linear.
    """

    kind: Literal["mse", "l2", "huber"] = "mse"
    before_tanh: bool = False
    huber_delta: float = number(0.1, gt=0)

    @property
    def term(self) -> str:
        """Name of the term that `action_weight` weighs."""
        return f"action_{self.kind}" + "_before_tanh" * self.before_tanh


@dataclass(frozen=True)
class KlLossSection:
    """The cost of KL(posterior || prior), and its control.

    Attributes:
        reduction: whether `kl_weight` multiplies the "sum" over latent dimensions, or their "mean".
        prior_share: prior's share of the gradient; the posterior gets the rest, so 1 stops the gradient at
            the posterior and 0 at the prior. null: both get the whole gradient.
        free_nats: nats of each dimension up to which its mean over a minibatch costs nothing.
        target: nats, summed over the latent, at which the KL is held: the weight starts at
            `kl_weight.value`, rises while the KL is above the target and falls while it is below. null: the
            weight follows its schedule.
        lowest_weight: lower bound of the controlled weight of the summed KL.
        highest_weight: upper bound, likewise.
    """

    reduction: Literal["sum", "mean"] = "sum"
    prior_share: float | None = number(None, ge=0, le=1)
    free_nats: float = number(0.0, ge=0)
    target: float | None = number(None, gt=0)
    lowest_weight: float = number(1e-7, gt=0)
    highest_weight: float = number(1.0, gt=0)

    @property
    def term(self) -> str:
        """Name of the term that `kl_weight` weighs; "kl" is the whole KL."""
        return "kl_above_free" if self.free_nats > 0 else "kl"

    def summed_weight(self, weight: ScheduleSection, latent_dim: int) -> ScheduleSection:
        """Returns the weight of the summed KL."""
        return weight.scaled(1.0 / latent_dim) if self.reduction == "mean" else weight

    def validate(self, key: str, weight: ScheduleSection, latent_dim: int) -> None:
        """Raises UserError, naming `key`, if a controlled weight cannot start at `weight`."""
        first = self.summed_weight(weight, latent_dim).value
        if self.target is None or self.lowest_weight <= first <= self.highest_weight:
            return
        raise UserError(
            f"{key}.target: expected a kl_weight from {key}.lowest_weight = {self.lowest_weight:g} to "
            f"highest_weight = {self.highest_weight:g} to begin with, found {first:g} of the summed KL"
        )
