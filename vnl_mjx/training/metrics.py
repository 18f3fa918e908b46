"""Computes one log row from the statistics of several updates, in NumPy on the host."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms
from vnl_mjx.training.learner import LearningStatistics
from vnl_mjx.training.rollout import RolloutStatistics
from vnl_mjx.training.trainer import Update

# A latent dimension is active if its KL exceeds this, nats (Sønderby et al. 2016, "Ladder variational
# autoencoders"); the KL counts only what the prior does not predict.
ACTIVE_UNIT_KL = 0.01
# A dimension varies if the variance of its posterior mean exceeds this (Burda et al. 2016, "Importance
# weighted autoencoders", section 5.2). This measure is for a fixed prior: a posterior that follows a
# learned prior varies without information.
ACTIVE_UNIT_VARIANCE = 0.01


def interval_metrics(
    updates: Sequence[Update], groups: Mapping[str, Sequence[int]], steps_per_update: int
) -> dict[str, float]:
    """Returns metrics of an interval of a distillation under `section/name` keys.

    Args:
        updates: the interval's updates, at least one.
        groups: named actuator indices.
        steps_per_update: environment steps of each update.
    """
    rollout, learnt, seconds = taken_together(updates)
    abs_error = learnt.loss["action_abs_error"]
    return _row(
        learning_metrics(learnt),
        latent_metrics(learnt.loss),
        {f"action_mae/{name}": abs_error[list(rows)].mean() for name, rows in groups.items()},
        rollout_metrics(rollout),
        timing_metrics(seconds, len(updates) * steps_per_update),
    )


def ppo_metrics(updates: Sequence[Update], reward: RewardConfig) -> dict[str, float]:
    """Returns metrics of an interval of a teacher's training under `section/name` keys.

    Args:
        updates: the interval's updates, at least one.
        reward: reward of the task; `rollout/reward_fraction` is the mean sum of its imitation terms over
            its maximum.
    """
    rollout, learnt, seconds = taken_together(updates)
    imitation = sum(rollout.terms[name] for name in imitation_terms(reward))
    fraction = imitation / max(rollout.num_steps, 1) / max(imitation_reward_maximum(reward), 1e-9)
    return _row(
        learning_metrics(learnt),
        _per_dimension(learnt.loss["latent_kl_per_dim"]),
        {"rollout/reward_fraction": fraction},
        rollout_metrics(rollout),
        timing_metrics(seconds, rollout.num_steps),
    )


def task_metrics(updates: Sequence[Update]) -> dict[str, float]:
    """Returns metrics of an interval of a task's training under `section/name` keys."""
    rollout, learnt, seconds = taken_together(updates)
    return _row(
        learning_metrics(learnt),
        rollout_metrics(rollout),
        timing_metrics(seconds, rollout.num_steps),
    )


def learning_metrics(learnt: LearningStatistics) -> dict[str, Any]:
    """Returns the loss and its scalar terms, their weights, and statistics of the gradient steps."""
    return {
        **{f"loss/{name}": value for name, value in learnt.loss.items() if np.ndim(value) == 0},
        **{f"loss/{name}_weight": value for name, value in learnt.weights.items()},
        "loss/grad_norm": learnt.grad_norm,
        "loss/skipped_minibatches": learnt.skipped,
        "loss/learning_rate": learnt.learning_rate,
    }


def taken_together(
    updates: Sequence[Update],
) -> tuple[RolloutStatistics, LearningStatistics, dict[str, float]]:
    """Combines one or more updates: sums of the rollouts, means of the learning, seconds; NumPy."""
    rollouts, learning = jax.device_get(
        ([update.rollout for update in updates], [update.learning for update in updates])
    )
    rollout = jax.tree.map(lambda *x: np.sum(x), *rollouts)
    learnt = jax.tree.map(lambda *x: np.mean(x, axis=0), *learning)
    seconds = {k: float(sum(u.seconds[k] for u in updates)) for k in updates[0].seconds}
    return rollout, learnt, seconds


def rollout_metrics(rollout: RolloutStatistics) -> dict[str, Any]:
    """Returns means per control step and per episode, and counts of failures, from a rollout's sums."""
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
        "nan/left_out": rollout.left_out,
        "overflow/count": rollout.overflowed,
    }


def latent_metrics(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how much of the latent is used, and the spread of both distributions."""
    variance = loss["posterior_mean_square"] - np.square(loss["posterior_mean"])
    return {
        "latent/active_units": np.sum(loss["kl_per_dim"] > ACTIVE_UNIT_KL),
        "latent/varying_units": np.sum(variance > ACTIVE_UNIT_VARIANCE),
        "latent/posterior_mean_variance": variance.mean(),
        **{f"latent/{name}": loss[name] for name in ("posterior_std", "prior_std") if name in loss},
        **_per_dimension(loss["kl_per_dim"]),
    }


def timing_metrics(seconds: Mapping[str, float], env_steps: int) -> dict[str, float]:
    """Returns environment steps per second and shares of wall time; "policy_and_task" is the remainder."""
    total = seconds["rollout"] + seconds["update"]
    return {
        "time/env_steps_per_second": env_steps / total,
        "time/share_physics": seconds["physics"] / total,
        "time/share_policy_and_task": (seconds["rollout"] - seconds["physics"]) / total,
        "time/share_update": seconds["update"] / total,
    }


def _per_dimension(kl: np.ndarray) -> dict[str, Any]:
    return {f"latent_kl/{i:02d}": x for i, x in enumerate(kl)}


def _row(*parts: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for part in parts for name, value in part.items()}
