"""Settings of PPO. Every step count is in environment steps: control steps summed over environments."""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.validation import number


@dataclass(frozen=True)
class WeightSection:
    """A weight in the loss, constant or changing linearly over environment steps.

    Attributes:
        weight: in the end.
        start_weight: until `start_step`, null for a constant weight.
        start_step: environment step at which the change begins.
        end_step: environment step from which it is `weight`.
    """

    weight: float = number(0.0, ge=0)
    start_weight: float | None = number(None, ge=0)
    start_step: int = number(0, ge=0)
    end_step: int = number(0, ge=0)


@dataclass(frozen=True)
class ActionStdSection(WeightSection):
    """A pull of the exploration towards a given width, where PPO alone narrows it too slowly.

    The weight is that of the mean squared difference of the logarithms.

    Attributes:
        target: standard deviation of the actions before tanh.
    """

    target: float = number(0.08, gt=0.001)


@dataclass(frozen=True)
class LearningRateSection:
    """Adam's step size.

    Attributes:
        schedule: "constant", "linear" to `final` at the end of the run, or "adaptive": raised and
            lowered so that an update moves the policy by about `target_kl`.
        initial: at the start.
        final: at the end of a linear schedule.
        target_kl: nats between the policy that acted and the updated one, summed over actuators.
        lowest: bound of an adaptive rate.
        highest: bound of an adaptive rate.
    """

    schedule: Literal["constant", "linear", "adaptive"] = "adaptive"
    initial: float = number(1e-4, gt=0)
    final: float = number(0.0, ge=0)
    target_kl: float = number(0.15, gt=0)
    lowest: float = number(1e-5, gt=0)
    highest: float = number(1e-3, gt=0)


@dataclass(frozen=True)
class PpoSection:
    """One run of PPO.

    Attributes:
        num_envs: environments stepped together.
        unroll_length: actions per environment between two updates.
        action_repeat: control steps that each action lasts; rewards add up.
        num_steps: environment steps of the whole run.
        num_minibatches: parts, of whole environments, that a rollout is learnt in; divides num_envs.
        num_epochs: passes over each rollout.
        learning_rate: Adam's step size for the policy and how it changes.
        value_learning_rate: Adam's step size for the value network.
        discount: of the return, per control step.
        gae_lambda: of the advantage estimate.
        clip_epsilon: how far the probability ratio counts.
        normalize_advantage: to mean 0 and standard deviation 1 in each minibatch.
        reward_scale: factor of the reward that the value network sees.
        value_weight: weight of the mean squared value error.
        entropy: weight of the policy's entropy.
        action_std: a pull of the exploration towards a given width.
        latent_kl: weight of KL(posterior, N(0, I)), mean over latent dimensions.
        latent_ar1_kl: weight of the KL to track-mjx's autoregressive prior, mean over dimensions.
        guidance: weight of the mean squared distance of the policy's mode to the task's guide.
        max_grad_norm: each network's gradient is clipped to this norm.
        seed: of parameters, environments and minibatches.
    """

    num_envs: int = number(512, ge=1)
    unroll_length: int = number(24, ge=1)
    action_repeat: int = number(1, ge=1)
    num_steps: int = number(8_000_000, ge=1)
    num_minibatches: int = number(4, ge=1)
    num_epochs: int = number(5, ge=1)
    learning_rate: LearningRateSection = field(default_factory=LearningRateSection)
    value_learning_rate: float = number(5e-4, gt=0)
    discount: float = number(0.97, ge=0, lt=1)
    gae_lambda: float = number(0.95, ge=0, le=1)
    clip_epsilon: float = number(0.3, gt=0)
    normalize_advantage: bool = True
    reward_scale: float = number(0.06, gt=0)
    value_weight: float = number(0.25, ge=0)
    entropy: WeightSection = field(default_factory=WeightSection)
    action_std: ActionStdSection = field(
        default_factory=lambda: ActionStdSection(1.0, 0.0, start_step=500_000, end_step=700_000)
    )
    latent_kl: WeightSection = field(default_factory=lambda: WeightSection(1e-3))
    latent_ar1_kl: WeightSection = field(default_factory=WeightSection)
    guidance: WeightSection = field(
        default_factory=lambda: WeightSection(0.0, start_weight=5.0, end_step=500_000)
    )
    max_grad_norm: float = number(1.0, gt=0)
    seed: int = number(0, ge=0, lt=2**32)

    @property
    def steps_per_update(self) -> int:
        """Most environment steps in one rollout (an episode's end cuts the repeats short)."""
        return self.num_envs * self.unroll_length * self.action_repeat
