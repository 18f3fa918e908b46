"""Decodes constructed latents into motion: between two clips, and along single dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from vnl_mjx.evaluation.latent.points import speed_before_steps
from vnl_mjx.evaluation.motion_statistics import MotionReader
from vnl_mjx.evaluation.per_episode import mean_or_none
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluator
from vnl_mjx.evaluation.rollout import Episodes, Rollout
from vnl_mjx.tasks.policies import LatentPolicy, prior_policy
from vnl_mjx.walkers.layout import Layout

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIGMAS = (-3.0, -1.5, 0.0, 1.5, 3.0)


@dataclass(frozen=True)
class DecodedLatents:
    """Holds the motion of constructed latents; all episodes start alike.

    `inputs` is JSON-able. For an interpolation it has the clip names `first` and `second`, and `weights`
    [episode] of the second. For a traversal it has the moved `dimension` [episode], and `sigma` [episode],
    the offset in standard deviations of the prior.
    """

    inputs: dict[str, Any]
    rollout: Rollout

    def metrics(self, reader: MotionReader) -> dict[str, Any]:
        """Returns `inputs` and `motion_metrics`, JSON-able."""
        return self.inputs | motion_metrics(self.rollout, reader)


def interpolate(
    prior: PriorEvaluator,
    rollout: Rollout,
    first: int,
    second: int,
    weights: Sequence[float] = WEIGHTS,
) -> DecodedLatents:
    """Decodes (1 - w) a + w b for the latents a, b of two episodes, as long as both last.

    `rollout` is of the student at the mode (`StudentPolicy`). There is one episode for each weight; all
    start like the first of the two.
    """
    latents = interpolated(
        posterior_means(rollout, first), posterior_means(rollout, second), weights
    )
    loaded = prior.loaded
    actor = LatentPolicy(loaded.params, loaded.teacher, latents, loaded.student)
    episodes = repeated_start(rollout.episodes, first, len(weights))
    played = prior.player.run(actor, prior.clips, episodes, seed=0, num_steps=len(latents))
    names = [prior.clips.names[rollout.episodes.clip[row]] for row in (first, second)]
    inputs = {"first": names[0], "second": names[1], "weights": list(weights)}
    return DecodedLatents(inputs, played)


def traverse(
    prior: PriorEvaluator,
    episodes: Episodes,
    episode: int,
    dimensions: Sequence[int],
    prior_std: np.ndarray,
    num_steps: int,
    sigmas: Sequence[float] = SIGMAS,
) -> DecodedLatents:
    """Acts at the prior mean plus a constant offset along one dimension.

    One episode moves one of the dimensions (`most_active`) by one of the sigmas, in standard deviations of
    the prior; all start like one of `episodes`. `prior_std` [dim] is the prior's typical standard
    deviation.
    """
    pairs = [(dimension, sigma) for dimension in dimensions for sigma in sigmas]
    offset = np.zeros((len(pairs), len(prior_std)), np.float32)
    for row, (dimension, sigma) in enumerate(pairs):
        offset[row, dimension] = sigma * prior_std[dimension]
    own = prior.loaded.params, prior.loaded.teacher, prior.loaded.student
    actor = prior_policy(*own, len(pairs), std_scale=0.0, offset=offset)
    starts = repeated_start(episodes, episode, len(pairs))
    played = prior.player.run(actor, prior.clips, starts, seed=0, num_steps=num_steps)
    dimension, sigma = map(list, zip(*pairs, strict=True))
    return DecodedLatents({"dimension": dimension, "sigma": sigma}, played)


def posterior_means(rollout: Rollout, episode: int) -> np.ndarray:
    """Returns the posterior means [time, dim] of the valid steps of one episode of a student."""
    return np.asarray(rollout.steps.extra.posterior.mode())[rollout.valid[:, episode], episode]


def interpolated(first: np.ndarray, second: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Returns (1 - w) first + w second, [time, weight, dim], for [time, dim] each, cut to the shorter."""
    length = min(len(first), len(second))
    w = np.asarray(weights, np.float32)[None, :, None]
    return (1.0 - w) * first[:length, None] + w * second[:length, None]


def contrasting_episodes(rollout: Rollout, layout: Layout) -> tuple[int, int]:
    """Returns the slowest and the fastest surviving episode; of all episodes if fewer than two survived."""
    if rollout.num_episodes < 2:
        raise ValueError(f"{rollout.num_episodes=} must be at least 2")
    valid = rollout.valid
    mean_speed = np.where(valid, speed_before_steps(rollout, layout), 0.0).sum(axis=0)
    mean_speed /= np.maximum(valid.sum(axis=0), 1)
    candidates = np.flatnonzero(rollout.survived)
    if len(candidates) < 2:
        candidates = np.arange(rollout.num_episodes)
    ordered = candidates[np.argsort(mean_speed[candidates], kind="stable")]
    return int(ordered[0]), int(ordered[-1])


def repeated_start(episodes: Episodes, episode: int, count: int) -> Episodes:
    """Returns `count` episodes that all start like one of `episodes`."""
    return jax.tree.map(lambda part: np.asarray(part)[np.full(count, episode)], episodes)


def most_active(kl_per_dim: Sequence[float], num: int) -> list[int]:
    """Returns the `num` dimensions with the largest KL, in falling order."""
    return np.argsort(-np.asarray(kl_per_dim), kind="stable")[:num].tolist()


def motion_metrics(rollout: Rollout, reader: MotionReader) -> dict[str, list[Any]]:
    """Measures the motion of each episode in lists [episode]; None if an episode is too short.

    The measures are `seconds` until the fall or the end, `fell`, and means of `speed` (m/s), `turning_rate`
    (rad/s, positive to the left) and `torso_height` (m).
    """
    steps = rollout.steps
    motions = [
        reader([rollout.qpos_of(episode)], rollout.control_hz)
        for episode in range(rollout.num_episodes)
    ]
    return {
        "seconds": (rollout.valid.sum(axis=0) / rollout.control_hz).tolist(),
        "fell": (steps.terminated & steps.alive).any(axis=0).tolist(),
        "speed": [mean_or_none(motion.pooled("speed")) for motion in motions],
        "turning_rate": [mean_or_none(motion.pooled("turning_rate")) for motion in motions],
        "torso_height": [mean_or_none(motion.pooled("torso_height")) for motion in motions],
    }
