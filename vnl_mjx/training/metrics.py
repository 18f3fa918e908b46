"""From the statistics of several updates to the numbers of one log row. NumPy, on the host."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vnl_mjx.training.rollout import RolloutStatistics
from vnl_mjx.training.vae_distillation import LearningStatistics, UpdateResult

# Variance of the posterior mean above which a latent dimension counts as used (Burda et al. 2016,
# "Importance weighted autoencoders", section 5.2).
ACTIVE_UNIT_VARIANCE = 0.01


def interval_metrics(
    results: Sequence[UpdateResult], groups: Mapping[str, Sequence[int]], steps_per_update: int
) -> dict[str, float]:
    """Metrics of an interval of updates under `section/name` keys.

    Args:
        results: the interval's updates, at least one.
        groups: named actuator indices.
        steps_per_update: environment steps of each.
    """
    rollouts, learning = jax.device_get(
        ([result.rollout for result in results], [result.learning for result in results])
    )
    rollout = jax.tree.map(lambda *x: np.sum(x), *rollouts)
    learnt = jax.tree.map(lambda *x: np.mean(x, axis=0), *learning)
    seconds = {k: sum(r.seconds[k] for r in results) for k in results[0].seconds}
    metrics = {
        "loss/total": learnt.loss,
        "loss/action_mse": learnt.action_mse,
        "loss/kl": learnt.kl_per_dim.sum(),
        "loss/kl_weight": learnt.kl_weight,
        "loss/grad_norm": learnt.grad_norm,
        "loss/skipped_minibatches": learnt.skipped,
        **latent_metrics(learnt),
        **{
            f"action_mae/{name}": learnt.action_abs_error[list(rows)].mean()
            for name, rows in groups.items()
        },
        **rollout_metrics(rollout),
        **timing_metrics(seconds, len(results) * steps_per_update),
    }
    return {name: float(value) for name, value in metrics.items()}


def rollout_metrics(rollout: RolloutStatistics) -> dict[str, Any]:
    """Means per control step and per episode, and counts of failures, of the sums of a rollout."""
    steps, episodes = max(rollout.num_steps, 1), max(rollout.episodes, 1)
    return {
        "rollout/reward_per_step": rollout.reward / steps,
        **{f"rollout/{name}": value / steps for name, value in rollout.terms.items()},
        **{f"rollout/{name}": value / steps for name, value in rollout.distances.items()},
        **{f"failures/{name}": value for name, value in rollout.failures.items()},
        "episode/count": rollout.episodes,
        "episode/reward": rollout.episode_reward / episodes,
        "episode/steps": rollout.episode_steps / episodes,
        "episode/survival": rollout.survived / episodes,
        "nan/count": rollout.failures["nan"],
    }


def latent_metrics(learnt: LearningStatistics) -> dict[str, Any]:
    """How much of the latent is used, and the spread of both distributions."""
    variance = learnt.posterior_mean_square - np.square(learnt.posterior_mean)
    return {
        "latent/active_units": np.sum(variance > ACTIVE_UNIT_VARIANCE),
        "latent/posterior_mean_variance": variance.mean(),
        "latent/posterior_std": learnt.posterior_std,
        "latent/prior_std": learnt.prior_std,
        **{f"latent_kl/{i:02d}": kl for i, kl in enumerate(learnt.kl_per_dim)},
    }


def timing_metrics(seconds: Mapping[str, float], env_steps: int) -> dict[str, float]:
    """Environment steps per second and the shares of wall time; "policy_and_task" is the rollout's rest."""
    total = seconds["rollout"] + seconds["update"]
    return {
        "time/env_steps_per_second": env_steps / total,
        "time/share_physics": seconds["physics"] / total,
        "time/share_policy_and_task": (seconds["rollout"] - seconds["physics"]) / total,
        "time/share_update": seconds["update"] / total,
    }
