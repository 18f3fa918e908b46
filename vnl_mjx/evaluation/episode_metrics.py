"""Computes every metric of every episode: reward, survival, tracking, smoothness, contact, success."""

import jax
import numpy as np

from vnl_mjx.clips.body_size import body_length
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.evaluation.bootstrap import ratio_of_means
from vnl_mjx.evaluation.contact import FootSlip, contact_agreement
from vnl_mjx.evaluation.metrics import MPJPE, TERM
from vnl_mjx.evaluation.per_episode import episode_max, episode_mean, ratio
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.evaluation.smoothness import PathLengths, path_lengths, smoothness_metrics
from vnl_mjx.evaluation.success import success_metrics
from vnl_mjx.evaluation.tracking import (
    compared_state,
    reference_motion,
    simulated_motion,
    step_errors,
)
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms
from vnl_mjx.walkers.walker import Walker

BLOCK_EPISODES = 128  # episodes measured together; bounds the memory


def episode_metrics(
    rollout: Rollout, clips: ReferenceClips, walker: Walker, reward_config: RewardConfig
) -> dict[str, np.ndarray]:
    """Returns the metrics of `EPISODE_GROUPS`: float64 [episode] each; NaN: not measured.

    Steps after an episode's first end do not count, nor do errors of steps that diverged.
    """
    computer, foot_slip = FeatureComputer(walker), FootSlip(walker)
    length = body_length(walker)
    blocks = []
    for first in range(0, rollout.num_episodes, BLOCK_EPISODES):
        block = _episodes(rollout, slice(first, first + BLOCK_EPISODES))
        simulated, reference = (
            simulated_motion(block, computer),
            reference_motion(block, clips, walker),
        )
        followed = reference.at(compared_state(block, clips))
        errors, went = step_errors(block, clips, simulated, reference), path_lengths(block, clips)
        blocks.append(
            outcome_metrics(block)
            | imitation_metrics(block, reward_config)
            | {"speed_ratio": speed_ratio(went)}
            | error_metrics(errors)
            | length_metrics(errors, length, walker)
            | smoothness_metrics(block, clips, simulated, reference, went)
            | contact_agreement(simulated.contacts[1:], followed.contacts, block.valid)
            | {"foot_slip_mm_per_s": foot_slip.of_rollout(block)}
            | success_metrics(block.survived, errors, length)
        )
    figures = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    success = figures["success"] > 0
    return figures | {
        f"{name}_successes": np.where(success, figures[name], np.nan) for name in MPJPE
    }


def outcome_metrics(rollout: Rollout) -> dict[str, np.ndarray]:
    """Returns reward, its terms, survival and length of each episode, [episode] each."""
    steps, alive = rollout.steps, rollout.steps.alive
    rewards = np.asarray(steps.reward, np.float64)
    return {
        "episode_reward": np.where(alive, rewards, 0.0).sum(axis=0),
        "reward_per_step": episode_mean(rewards, alive),
        **{
            TERM + name: episode_mean(np.asarray(term, np.float64), alive)
            for name, term in steps.terms.items()
        },
        "survival": rollout.survived.astype(np.float64),
        "episode_seconds": alive.sum(axis=0) / rollout.control_hz,
        "diverged": (steps.diverged & alive).any(axis=0).astype(np.float64),
    }


def imitation_metrics(rollout: Rollout, config: RewardConfig) -> dict[str, np.ndarray]:
    """Returns the imitation terms as a fraction of their maximum, [episode] each; NaN if that is 0."""
    steps, alive = rollout.steps, rollout.steps.alive
    terms = (np.asarray(steps.terms[name], np.float64) for name in imitation_terms(config))
    maximum = imitation_reward_maximum(config)
    # the steps that each episode could have lasted, or lasted if these are more
    possible = np.maximum(rollout.possible_steps, np.maximum(alive.sum(axis=0), 1))
    share = sum(terms, np.zeros(alive.shape)) / (maximum if maximum > 0 else np.nan)
    return {
        "reward_fraction": episode_mean(share, alive),
        "completed_fraction": np.where(alive, share, 0.0).sum(axis=0) / possible,
    }


def speed_ratio(paths: PathLengths) -> np.ndarray:
    """Returns each episode's speed over that of its clip [episode]; NaN if the clip does not move."""
    moving = np.where(paths.moving, paths.clip_path, 0.0)
    return ratio(ratio(paths.path, paths.seconds), ratio(moving, paths.clip_seconds))


def error_metrics(errors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns means of `tracking.step_errors` over each episode, and the greatest of two, [episode] each."""
    greatest = {"root_error_mm": "root_error_max_mm", "mpjpe_global_mm": "mpjpe_global_max_mm"}
    return {name: episode_mean(error) for name, error in errors.items()} | {
        to: episode_max(errors[name]) for name, to in greatest.items() if name in errors
    }


def length_metrics(
    errors: dict[str, np.ndarray], length: float, walker: Walker
) -> dict[str, np.ndarray]:
    """Returns errors over the body's length, [episode] each; NaN of a root that is fixed.

    They compare bodies of any size, and models in any unit of length.
    """
    root = errors["root_error_mm"] if walker.root else np.full_like(errors["root_error_mm"], np.nan)
    shares = {"root_error_share": root, "end_effector_error_share": errors["end_effector_error_mm"]}
    return {name: 1e-3 * episode_mean(error) / length for name, error in shares.items()}


def reward_ratio_by_clip(
    student: np.ndarray, teacher: np.ndarray, clip: np.ndarray
) -> dict[int, float | None]:
    """Returns `ratio_of_means` of each clip, of rewards [episode] of the same clips and starts."""
    own = {i: clip == i for i in np.unique(clip).tolist()}
    return {
        i: ratio_of_means(student[rows], teacher[rows], clip[rows]).as_dict()["mean"]
        for i, rows in own.items()
    }


def _episodes(rollout: Rollout, rows: slice) -> Rollout:
    """Returns a part of the episodes, without the policy's records."""
    return rollout.replace(
        episodes=jax.tree.map(lambda values: values[rows], rollout.episodes),
        start_qpos=rollout.start_qpos[rows],
        start_qvel=rollout.start_qvel[rows],
        possible_steps=rollout.possible_steps[rows],
        steps=jax.tree.map(lambda values: values[:, rows], rollout.steps.replace(extra=())),
    )
