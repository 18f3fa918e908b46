"""Rollouts made of clips: poses that follow them as a test wants, nothing is simulated."""

from collections.abc import Callable, Sequence

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import Episodes, Rollout, Steps


def made_rollout(
    clips: ReferenceClips,
    num_steps: int,
    clip: Sequence[int] = (0,),
    start_frame: Sequence[int] = (0,),
    *,
    move: Callable[[np.ndarray], np.ndarray] = lambda qpos: qpos,
    late: int = 0,
    lived: Sequence[int] | None = None,
    diverged: np.ndarray | None = None,
    reward: np.ndarray | None = None,
    power: np.ndarray | None = None,
) -> Rollout:
    """Episodes on their clips, one control step a frame.

    Args:
        clips: that are followed.
        num_steps: control steps.
        clip: [episode] that each follows.
        start_frame: [episode] of it.
        move: from the clips' poses [1 + num_steps, episode, nq] to the simulation's.
        late: frames by which the simulation is behind.
        lived: [episode] steps after which each failed; all reach the end without it.
        diverged: bool [num_steps, episode].
        reward: [num_steps, episode], of the only term, "pos_reward"; ones without it.
        power: [num_steps, episode]; zeros without it.
    """
    shape = num_steps, len(clip)
    first = np.asarray(clips.starts)[list(clip)]
    frame = np.asarray(start_frame) + np.arange(num_steps + 1)[:, None]
    poses = np.asarray(clips.qpos(), np.float64)[first + np.maximum(frame - late, 0)]
    qpos = np.array(move(poses))
    last = np.full(len(clip), num_steps) if lived is None else np.asarray(lived)
    step = np.arange(num_steps)[:, None]
    ends, never = step == last - 1, np.zeros(shape, bool)
    reward = np.ones(shape) if reward is None else reward
    return Rollout(
        episodes=Episodes(
            np.asarray(clip), np.asarray(start_frame), np.zeros((len(clip), 2), np.uint32)
        ),
        start_qpos=qpos[0],
        start_qvel=np.zeros((len(clip), qpos.shape[-1] - 1)),
        possible_steps=np.full(len(clip), num_steps),
        steps=Steps(
            alive=step < last,
            reward=reward,
            terms={"pos_reward": reward},
            distances={},
            terminated=never if lived is None else ends,
            truncated=ends if lived is None else never,
            diverged=never if diverged is None else diverged,
            frame=frame[1:].copy(),
            qpos=qpos[1:].copy(),
            qvel=np.zeros((*shape, qpos.shape[-1] - 1)),
            action=np.zeros((*shape, 2)),
            power=np.zeros(shape) if power is None else power,
            extra=(),
        ),
        control_hz=clips.rate_hz,
    )
