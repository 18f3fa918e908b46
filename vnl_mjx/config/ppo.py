"""Defines the settings of PPO. Step counts are environment steps: control steps, summed over environments."""

from dataclasses import dataclass, field

from vnl_mjx.config.schedules import LossTermSection, ScheduleSection, check_schedules
from vnl_mjx.config.validation import check_divides, number
from vnl_mjx.errors import UserError


@dataclass(frozen=True)
class AdaptiveRateSection:
    """Raises and lowers the policy's learning rate so that an update moves the policy by about `target_kl`.

    Attributes:
        target_kl: nats between the policy that acted and the updated one, summed over actuators; null:
            the rate follows its schedule.
        lowest: lower bound of the rate.
        highest: upper bound of the rate.
    """

    target_kl: float | None = number(0.15, gt=0)
    lowest: float = number(1e-5, gt=0)
    highest: float = number(1e-3, gt=0)


@dataclass(frozen=True)
class RegressionSection:
    """Regression of a policy on actions that were shown to it.

    Attributes:
        gradient_steps: steps of Adam in each round.
        batch_size: rows of each gradient step.
        learning_rate: initial rate, which falls to 0 by a cosine.
    """

    gradient_steps: int = number(2_000, ge=1)
    batch_size: int = number(512, ge=1)
    learning_rate: float = number(1e-3, gt=0)


@dataclass(frozen=True)
class PpoSection:
    """The settings of one run of PPO.

    Attributes:
        num_envs: environments stepped together.
        unroll_length: actions per environment between two updates.
        action_repeat: control steps that each action lasts; rewards add up.
        num_steps: environment steps of the whole run.
        num_minibatches: minibatches of a rollout, each of whole environments; divides num_envs.
        num_epochs: passes over each rollout.
        learning_rate: Adam's step size for the policy; the initial one if it adapts.
        adaptive_rate: how the policy's learning rate adapts.
        value_learning_rate: Adam's step size for the value network.
        value_only_steps: environment steps at the start in which only the value network learns. null: 0;
            but 200,000, or a tenth of a shorter run, if `init_from` holds no value network, because an
            untrained one gives advantages that would spoil the policy.
        discount: of the return, per control step.
        gae_lambda: of the advantage estimate.
        clip_epsilon: distance from 1 at which the probability ratio is clipped.
        normalize_advantage: scale advantages to mean 0 and standard deviation 1 in each minibatch.
        reward_scale: factor of the reward, for policy and value network.
        value_weight: weight of the mean squared value error.
        entropy: weight of the policy's entropy.
        action_std: weight of the mean squared difference between the log standard deviation of exploration
            and its target, for when PPO alone narrows it too slowly.
        action_std_target: target of the standard deviation, before tanh.
        latent_kl: weight of KL(posterior, N(0, I)), summed over latent dimensions.
        latent_ar1_kl: weight of the KL to track-mjx's autoregressive prior, summed over latent dimensions.
        guidance: weight of the mean squared distance of the policy's mode to the task's guide.
        loss_terms: further terms of the loss, by name.
        max_grad_norm: each network's gradient is clipped to this norm.
        seed: of parameters, environments and minibatches.
    """

    num_envs: int = number(512, ge=1)
    unroll_length: int = number(24, ge=1)
    action_repeat: int = number(1, ge=1)
    num_steps: int = number(8_000_000, ge=1)
    num_minibatches: int = number(4, ge=1)
    num_epochs: int = number(5, ge=1)
    learning_rate: ScheduleSection = field(default_factory=lambda: ScheduleSection(1e-4))
    adaptive_rate: AdaptiveRateSection = field(default_factory=AdaptiveRateSection)
    value_learning_rate: float = number(5e-4, gt=0)
    value_only_steps: int | None = number(None, ge=0)
    discount: float = number(0.97, ge=0, lt=1)
    gae_lambda: float = number(0.95, ge=0, le=1)
    clip_epsilon: float = number(0.3, gt=0)
    normalize_advantage: bool = True
    reward_scale: float = number(0.06, gt=0)
    value_weight: float = number(0.25, ge=0)
    entropy: ScheduleSection = field(default_factory=ScheduleSection)
    action_std: ScheduleSection = field(
        default_factory=lambda: ScheduleSection(1.0, 0.0, start_step=500_000, end_step=700_000)
    )
    action_std_target: float = number(0.08, gt=0.001)
    latent_kl: ScheduleSection = field(default_factory=lambda: ScheduleSection(3.125e-5))
    latent_ar1_kl: ScheduleSection = field(default_factory=ScheduleSection)
    guidance: ScheduleSection = field(
        default_factory=lambda: ScheduleSection(0.0, start=5.0, end_step=500_000)
    )
    loss_terms: dict[str, LossTermSection] = field(default_factory=dict)
    max_grad_norm: float = number(1.0, gt=0)
    seed: int = number(0, ge=0, lt=2**32)

    @property
    def steps_per_update(self) -> int:
        """Largest number of environment steps in one rollout; an episode's end cuts repeats short."""
        return self.num_envs * self.unroll_length * self.action_repeat


def validate_ppo(ppo: PpoSection) -> None:
    """Raises UserError, naming the key under "ppo", for the first invalid value."""
    what = f"ppo.num_envs = {ppo.num_envs}"
    check_divides("ppo.num_minibatches", ppo.num_minibatches, ppo.num_envs, what)
    if ppo.num_steps < ppo.steps_per_update:
        raise UserError(
            f"ppo.num_steps: expected at least one update of num_envs * unroll_length = {ppo.num_envs} * "
            f"{ppo.unroll_length} = {ppo.steps_per_update} environment steps, found {ppo.num_steps}"
        )
    check_schedules(ppo, "ppo")
    if not ppo.learning_rate.is_ever_positive:
        raise UserError("ppo.learning_rate: expected more than 0, found 0")
    rate, bounds = ppo.learning_rate.value, ppo.adaptive_rate
    if bounds.target_kl is not None and not bounds.lowest <= rate <= bounds.highest:
        raise UserError(
            f"ppo.learning_rate: expected a rate from ppo.adaptive_rate.lowest = {bounds.lowest:g} to "
            f"highest = {bounds.highest:g}, found {rate:g}"
        )
