"""Rollouts made by hand: poses and latents as a test wants them, nothing is simulated."""

import numpy as np

from vnl_mjx.evaluation.rollout import Episodes, Rollout, Steps
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.tasks.vae_distillation import Visited


def made_rollout(
    qpos: np.ndarray, lengths: np.ndarray, latent: np.ndarray, control_hz: float = 50.0
) -> Rollout:
    """Episodes of one clip each, all from its first frame.

    Args:
        qpos: [1 + time, episode, nq], the first before the first step.
        lengths: [episode] control steps of each, which end without a failure.
        latent: [time, episode, dim] posterior means; the prior's are their negatives.
        control_hz: also the rate of the frames.
    """
    num_steps, num_episodes = latent.shape[:2]
    row = np.arange(num_steps)[:, None]
    flat = np.zeros((num_steps, num_episodes))
    qvel = np.broadcast_to(1.0 * row[..., None], (num_steps, num_episodes, qpos.shape[-1] - 1))
    action = np.zeros((num_steps, num_episodes, 2))
    return Rollout(
        episodes=Episodes(
            np.arange(num_episodes), np.zeros(num_episodes, int), np.zeros((num_episodes, 2))
        ),
        start_qpos=qpos[0],
        start_qvel=np.full_like(qvel[0], -1.0),
        possible_steps=np.asarray(lengths),
        steps=Steps(
            alive=row < lengths,
            reward=flat,
            terms={},
            distances={},
            terminated=flat > 0,
            truncated=row == np.asarray(lengths) - 1,
            diverged=flat > 0,
            frame=row + np.zeros(num_episodes, int),
            qpos=qpos[1:],
            qvel=qvel,
            action=action,
            power=flat,
            extra=Visited(
                reference=np.zeros((num_steps, num_episodes, 0)),
                proprioception=np.zeros((num_steps, num_episodes, 0)),
                student_action=action,
                teacher_action=action,
                posterior=Gaussian(latent, np.zeros_like(latent)),
                prior=Gaussian(-latent, np.zeros_like(latent)),
                far_share=flat,
            ),
        ),
        control_hz=control_hz,
    )


def upright(positions: np.ndarray, num_joints: int = 2) -> np.ndarray:
    """qpos [1 + time, episode, nq] of bodies at [1 + time, episode, 3] that stand straight."""
    turn = np.broadcast_to([1.0, 0.0, 0.0, 0.0], (*positions.shape[:2], 4))
    return np.concatenate([positions, turn, np.zeros((*positions.shape[:2], num_joints))], axis=-1)
