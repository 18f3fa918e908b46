"""From the statistics of several PPO updates to the numbers of one log row, and what they warn of."""

from collections.abc import Mapping, Sequence

from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms
from vnl_mjx.training.alarms import NAN_SHARE_ALARM, overflow_alarm
from vnl_mjx.training.metrics import (
    learning_metrics,
    rollout_metrics,
    taken_together,
    timing_metrics,
)
from vnl_mjx.training.trainer import Update

POLICY_KL_ALARM = 0.5  # nats, summed over actuators
ACTION_STD_ALARM = 0.01
LATENT_KL_ALARM = 0.05  # nats, summed over the latent
EXPLAINED_VARIANCE_ALARM = 0.1


def ppo_metrics(updates: Sequence[Update], reward: RewardConfig) -> dict[str, float]:
    """Metrics of an interval of updates under `section/name` keys.

    Args:
        updates: the interval's updates, at least one.
        reward: of the task; `rollout/reward_fraction` is the mean sum of its imitation terms over the
            greatest that it can be.
    """
    rollout, learnt, seconds = taken_together(updates)
    imitation = sum(rollout.terms[name] for name in imitation_terms(reward))
    fraction = imitation / max(rollout.num_steps, 1) / max(imitation_reward_maximum(reward), 1e-9)
    metrics = {
        **learning_metrics(learnt),
        **{f"latent_kl/{i:02d}": x for i, x in enumerate(learnt.loss["latent_kl_per_dim"])},
        "rollout/reward_fraction": fraction,
        **rollout_metrics(rollout),
        **timing_metrics(seconds, rollout.num_steps),
    }
    return {name: float(value) for name, value in metrics.items()}


def ppo_alarms(metrics: Mapping[str, float], steps: float) -> dict[str, str]:
    """Named warnings, one line each, for metrics of `ppo_metrics`.

    Args:
        metrics: one row.
        steps: environment steps of the row's interval.
    """
    found = {}
    if metrics["nan/count"] > NAN_SHARE_ALARM * steps:
        found["nan"] = (
            f"{metrics['nan/count']:.0f} simulations diverged in {steps:.0f} steps and were reset: "
            "lower network.initial_action_std or task.physics.timestep"
        )
    if metrics["loss/skipped_minibatches"] > 0:
        found["skipped"] = (
            f"{100 * metrics['loss/skipped_minibatches']:.1f} % of the minibatches had no finite gradient "
            "and were left out: lower ppo.learning_rate"
        )
    if metrics["loss/policy_kl"] > POLICY_KL_ALARM:
        found["policy_kl"] = (
            f"an update moves the policy by {metrics['loss/policy_kl']:.2f} nats: lower "
            "ppo.learning_rate or ppo.num_epochs, or give ppo.adaptive_rate.target_kl=0.15"
        )
    if metrics["loss/action_std"] < ACTION_STD_ALARM:
        found["action_std"] = (
            f"the standard deviation of the actions is down to {metrics['loss/action_std']:.4f}, nothing is "
            "explored any more: raise ppo.entropy"
        )
    if metrics["loss/latent_kl"] < LATENT_KL_ALARM:
        found["latent_kl"] = (
            f"KL of the latent is {metrics['loss/latent_kl']:.3f} nats, it tells next to nothing of the "
            "reference: lower ppo.latent_kl or start it low (ppo.latent_kl.start)"
        )
    if metrics["loss/explained_variance"] < EXPLAINED_VARIANCE_ALARM:
        found["value"] = (
            f"the value network explains {metrics['loss/explained_variance']:.2f} of the returns' variance: "
            "raise ppo.value_learning_rate or ppo.reward_scale, or lower ppo.discount"
        )
    return found | overflow_alarm(metrics, steps)
