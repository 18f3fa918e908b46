"""Turns episodes into the panes of a video."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vnl_mjx.clips.conditioning.resampling import resample
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.report.colors import policy_color
from vnl_mjx.report.rendering.side_by_side import Pane, SideBySide


def following(
    rollouts: Mapping[str, Rollout],
    clips: ReferenceClips,
    episode: int,
    *,
    views: Sequence[str] = ("side",),
    beside: bool = True,
    ghosts: bool = False,
    without_reward: Collection[str] = (),
    **more: Any,
) -> SideBySide:
    """Shows the same episode of several policies, beside each other and beside the clip.

    All of `rollouts` are of the same `Episodes`; each of `views` is a row of panes. The clip gets a pane of
    its own (`beside`), or is a translucent copy in the others (`ghosts`). Policies `without_reward` follow
    no clip. See also `SideBySide`.
    """
    first = next(iter(rollouts.values()))
    clip, start = int(first.episodes.clip[episode]), int(first.episodes.start_frame[episode])
    longest = max(int(r.valid[:, episode].sum()) for r in rollouts.values())
    reference = reference_qpos(clips, clip, start, first.control_hz, 1 + longest)
    panes = []
    for view in views:
        for name, rollout in rollouts.items():
            ghost = reference if ghosts else None
            rewarded = name not in without_reward
            pane = episode_pane(name, rollout, episode, view, ghost, with_reward=rewarded)
            panes.append(replace(pane, tint=policy_color(name, tuple(rollouts))))
        if beside:
            panes.append(Pane("reference", reference, view=view, tint=policy_color("reference")))
    return SideBySide(
        panes=tuple(panes),
        rate_hz=first.control_hz,
        title=clips.names[clip],
        note="translucent is the reference" if ghosts else "",
        columns=len(panes) // len(views),
        first_time=start / clips.rate_hz,
        **more,
    )


def grid(
    rollout: Rollout,
    episodes: Sequence[int],
    names: Sequence[str],
    *,
    columns: int = 4,
    num_steps: int | None = None,
    tint: str = "",
    **more: Any,
) -> SideBySide:
    """Shows several episodes of one policy that follows no clip, each from its own direction.

    `names` appear above the panes; at most `num_steps` control steps are shown; see `SideBySide`.
    """
    panes = (
        episode_pane(name, rollout, episode, num_steps=num_steps, with_reward=False)
        for episode, name in zip(episodes, names, strict=True)
    )
    return SideBySide(
        panes=tuple(replace(pane, tint=tint) for pane in panes),
        rate_hz=rollout.control_hz,
        columns=min(columns, len(episodes)),
        one_direction=False,
        **more,
    )


def episode_pane(
    name: str,
    rollout: Rollout,
    episode: int,
    view: str = "side",
    ghost_qpos: np.ndarray | None = None,
    num_steps: int | None = None,
    with_reward: bool = True,
) -> Pane:
    """Shows one episode of a rollout up to its end, or for some control steps; see `Pane`."""
    qpos, steps = rollout.qpos_of(episode), rollout.steps
    failed = (steps.terminated & steps.alive)[:, episode].any()
    seconds = steps.alive[:, episode].sum() / rollout.control_hz
    rewards = steps.reward[rollout.valid[:, episode], episode]
    texts = [f"reward {reward:.2f}" for reward in rewards] if with_reward else []
    return Pane(
        name=name,
        qpos=qpos[: None if num_steps is None else num_steps + 1],
        ghost_qpos=ghost_qpos,
        view=view,
        texts=["", *texts] if texts else [],
        end=f"failed after {seconds:.2f} s" if failed else "",
    )


def reference_qpos(
    clips: ReferenceClips, clip: int, start_frame: int, rate_hz: float, num_frames: int
) -> np.ndarray:
    """Returns poses [num_frames, nq] of a clip from a frame on, at another rate; the last pose repeats."""
    first, length = int(clips.starts[clip]), int(clips.lengths[clip])
    part = np.asarray(clips.qpos(), np.float64)[first + start_frame : first + length]
    poses = resample(part, clips.layout, clips.rate_hz, rate_hz)
    return poses[np.minimum(np.arange(num_frames), len(poses) - 1)]
