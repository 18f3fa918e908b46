"""A motion to draw, and what ffmpeg says of a video."""

import subprocess

import numpy as np

from vnl_mjx.analysis.rendering import encoding


def walking(walker, num_frames=30, speed=0.2):
    """Poses that slide along x at `speed` m/s, 50 Hz."""
    qpos = np.tile(walker.model.qpos0, (num_frames, 1))
    qpos[:, 0] += speed * np.arange(num_frames) / 50.0
    return qpos


def probe_video(path) -> str:
    done = subprocess.run(
        [encoding.ffmpeg_exe(), "-i", str(path), "-map", "0:v", "-f", "null", "-"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
