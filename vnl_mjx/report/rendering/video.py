"""The rate of a video, and what its captions say."""

import math

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.report.rendering.cameras import smooth
from vnl_mjx.report.rendering.scene import Scene

MAX_FPS = 60
MIN_FPS = 20  # below it motion is seen as single pictures
_SPEED_SMOOTHING_S = 0.1


def default_fps(rate_hz: float, speed: float) -> float:
    """Frames per second of a video that shows whole steps of the motion's frames where it can."""
    shown = rate_hz * speed
    shown /= max(1, math.ceil(shown / MAX_FPS))
    return shown * max(1, math.ceil(MIN_FPS / shown))


def time_and_speed(qpos: np.ndarray, times: np.ndarray, rate_hz: float, scene: Scene) -> list[str]:
    """Time, s, and horizontal speed of the root at each frame of the first walker's qpos [frame, nq]."""
    position, _ = root_pose(qpos, scene.layout)
    position = smooth(position[:, :2], rate_hz, _SPEED_SMOOTHING_S)
    if len(position) > 1:
        speeds = np.linalg.norm(np.gradient(position, 1.0 / rate_hz, axis=0), axis=-1)
    else:
        speeds = np.zeros(1)
    small = scene.reach < 0.5
    return [
        f"{time:.2f} s   " + (f"{100 * speed:.0f} cm/s" if small else f"{speed:.1f} m/s")
        for time, speed in zip(times, speeds, strict=True)
    ]


def metric(length: float) -> str:
    """A length in metres as a person would say it."""
    if length >= 1.0:
        return f"{length:g} m"
    return f"{100 * length:g} cm" if length >= 0.01 else f"{1000 * length:g} mm"


def squares(scene: Scene) -> str:
    """What gives a picture its scale."""
    return f"floor squares {metric(scene.square)}"
