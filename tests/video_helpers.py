"""A motion to draw, an episode that nobody played, and what ffmpeg says of a video."""

import subprocess

import numpy as np

from vnl_mjx.evaluation.rollout import Episodes, Rollout, Steps
from vnl_mjx.report.rendering import encoding


def walking(walker, num_frames=30, speed=0.2):
    """Poses that slide along x at `speed` m/s, 50 Hz."""
    qpos = np.tile(walker.model.qpos0, (num_frames, 1))
    qpos[:, 0] += speed * np.arange(num_frames) / 50.0
    return qpos


def perfect_rollout(clips, start_frame=2, num_steps=10, fails_after=None) -> Rollout:
    """One episode per clip that is on its clip in every frame, at the clips' rate.

    Args:
        clips: what is followed.
        start_frame: of each episode.
        num_steps: control steps.
        fails_after: control step with which the first episode fails.
    """
    count = clips.num_clips
    frames = start_frame + 1 + np.arange(num_steps)[:, None].repeat(count, axis=1)
    rows = np.asarray(clips.starts) + frames
    qpos, qvel = np.asarray(clips.qpos()), np.asarray(clips.qvel())
    alive, terminated = (
        np.ones((2, num_steps, count), bool) & np.array([True, False])[:, None, None]
    )
    if fails_after is not None:
        alive[fails_after:, 0] = False
        terminated[fails_after - 1, 0] = True
    truncated = np.zeros_like(alive)
    truncated[-1] = alive[-1]
    first = np.asarray(clips.starts) + start_frame
    return Rollout(
        episodes=Episodes(np.arange(count), np.full(count, start_frame), None),
        start_qpos=qpos[first],
        start_qvel=qvel[first],
        possible_steps=np.full(count, num_steps),
        steps=Steps(
            alive=alive,
            reward=0.01 * np.arange(num_steps * count).reshape(num_steps, count),
            terms={},
            distances={},
            terminated=terminated,
            truncated=truncated,
            diverged=np.zeros_like(alive),
            frame=frames,
            qpos=qpos[rows],
            qvel=qvel[rows],
            action=np.zeros((num_steps, count, 1)),
            power=np.zeros((num_steps, count)),
            extra=(),
        ),
        control_hz=clips.rate_hz,
    )


def probe_video(path) -> str:
    done = subprocess.run(
        [encoding.ffmpeg_exe(), "-i", str(path), "-map", "0:v", "-f", "null", "-"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
