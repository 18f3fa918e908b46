"""Videos of poses: resampled to the video's rate, drawn, captioned, and encoded as H.264."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vnl_mjx.analysis.rendering.cameras import camera_paths, smooth
from vnl_mjx.analysis.rendering.drawing import contact_sheet, open_drawer, pane_rects, write_caption
from vnl_mjx.analysis.rendering.encoding import mp4_writer, write_png
from vnl_mjx.analysis.rendering.gl import choose_backend
from vnl_mjx.analysis.rendering.scene import Scene, build_scene
from vnl_mjx.walkers.walker import Walker

MAX_FPS = 60
MIN_FPS = 20  # below it motion is seen as single pictures
SHEET_PICTURES = 8
_SPEED_SMOOTHING_S = 0.1


@dataclass(frozen=True)
class Video:
    """What was written.

    Attributes:
        path: of the mp4.
        num_frames: of the video.
        fps: frames per second of the video.
        seconds: that it plays for.
        backend: GL back end that drew it.
    """

    path: Path
    num_frames: int
    fps: float
    seconds: float
    backend: str


def render_qpos(
    walker: Walker,
    qpos: np.ndarray,
    rate_hz: float,
    output: str | os.PathLike[str],
    *,
    ghost_qpos: np.ndarray | Sequence[np.ndarray] | None = None,
    views: tuple[str, ...] = ("side", "top"),
    size: tuple[int, int] = (960, 480),
    fps: float | None = None,
    speed: float = 1.0,
    title: str = "",
    note: str = "",
    first_time: float = 0.0,
    sheet: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Video:
    """Draws poses into an mp4 that plays at true speed; it appears complete or not at all.

    Args:
        walker: who moves.
        qpos: [frame, nq] in the walker's order.
        rate_hz: frames per second of `qpos`.
        output: the mp4.
        ghost_qpos: poses, as `qpos`, of translucent copies: one array, or several.
        views: out of `cameras.VIEWS`, side by side in a wide picture, else one above the other.
        size: width and height of the picture, pixels, even.
        fps: of the video; default: the rate, divided so that it is at most 60, multiplied so that it is
            at least 20.
        speed: 1 is true speed, 0.5 slow motion.
        title: begins the caption, before time and speed.
        note: ends it, as that the motion is synthetic.
        first_time: time of the first frame in the caption, seconds.
        sheet: PNG of eight pictures to write as well.
        progress: called with the number of frames drawn and of all.

    Raises:
        UserError: nothing can draw here, or a file cannot be written.
    """
    ghosts = _ghost_arrays(ghost_qpos)
    _check(walker, [qpos, *ghosts], rate_hz, size, speed)
    backend = choose_backend()
    video_fps = fps or default_fps(rate_hz, speed)
    times = video_times(len(qpos), rate_hz, video_fps, speed)
    scene = build_scene(walker, num_ghosts=len(ghosts), max_width=size[0], max_height=size[1])
    poses = np.concatenate([interpolate_qpos(q, rate_hz, times) for q in (qpos, *ghosts)], axis=-1)
    clocks = time_and_speed(poses, first_time + times, video_fps / speed, scene)
    captions = ["   ".join(filter(None, [title, clock])) for clock in clocks]
    pace = "" if speed == 1.0 else f"shown at {speed:g}x"
    right = "   ".join(filter(None, [note, pace, f"floor squares {metric(scene.square)}"]))
    pane = pane_rects(*size, len(views))[0]
    paths = camera_paths(
        scene, poses[:, : scene.nq], video_fps / speed, views, pane.width / pane.height
    )
    wanted = set(np.linspace(0, len(times) - 1, SHEET_PICTURES).round().astype(int))
    kept: dict[int, np.ndarray] = {}
    with (
        open_drawer(scene, *size, len(views), backend) as drawer,
        mp4_writer(output, size, video_fps) as write,
    ):
        for frame, pose in enumerate(poses):
            picture = drawer.draw(pose, paths, frame)
            if sheet is not None and frame in wanted:
                kept[frame] = picture
            write(write_caption(picture, captions[frame], right))
            if progress is not None:
                progress(frame + 1, len(poses))
        if sheet is not None:  # before the video is there: both or none
            pictures, texts = list(kept.values()), [captions[frame] for frame in kept]
            write_png(sheet, contact_sheet(pictures, texts, note, max(size)))
    return Video(Path(output), len(times), video_fps, len(times) / video_fps, backend)


def default_fps(rate_hz: float, speed: float) -> float:
    """Frames per second of a video that shows whole steps of the motion's frames where it can."""
    shown = rate_hz * speed
    shown /= max(1, math.ceil(shown / MAX_FPS))
    return shown * max(1, math.ceil(MIN_FPS / shown))


def video_times(num_frames: int, rate_hz: float, fps: float, speed: float) -> np.ndarray:
    """Time in the motion of each frame of the video, seconds; the first is 0."""
    last = (num_frames - 1) / rate_hz
    return np.arange(math.floor(last * fps / speed + 1e-6) + 1) * (speed / fps)


def interpolate_qpos(qpos: np.ndarray, rate_hz: float, times: np.ndarray) -> np.ndarray:
    """Poses [time, nq] between those of `qpos` [frame, nq], linearly.

    The root's quaternion is interpolated and normalised, which between neighbouring frames is as good
    as turning at constant speed.
    """
    qpos = np.asarray(qpos, np.float64)
    # a time within round-off of a frame is that frame
    row = np.clip(np.round(np.asarray(times) * rate_hz, 6), 0, len(qpos) - 1)
    before = np.floor(row).astype(int)
    after = np.minimum(before + 1, len(qpos) - 1)
    weight = (row - before)[:, None]
    start, end = qpos[before], qpos[after]
    opposite = np.sum(start[:, 3:7] * end[:, 3:7], axis=-1) < 0
    end[opposite, 3:7] *= -1.0
    poses = (1.0 - weight) * start + weight * end
    poses[:, 3:7] /= np.linalg.norm(poses[:, 3:7], axis=-1, keepdims=True)
    return poses


def time_and_speed(qpos: np.ndarray, times: np.ndarray, rate_hz: float, scene: Scene) -> list[str]:
    """For each frame of qpos [frame, nq]: its time, seconds, and horizontal speed of the root."""
    position = smooth(qpos[:, :2], rate_hz, _SPEED_SMOOTHING_S)
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


def _ghost_arrays(ghosts: np.ndarray | Sequence[np.ndarray] | None) -> list[np.ndarray]:
    if ghosts is None:
        return []
    single = isinstance(ghosts, np.ndarray) and ghosts.ndim == 2
    return [np.asarray(ghost) for ghost in ([ghosts] if single else ghosts)]


def _check(
    walker: Walker, motions: list[np.ndarray], rate_hz: float, size: tuple[int, int], speed: float
) -> None:
    expected = (len(motions[0]), walker.model.nq)
    for motion in motions:
        if motion.shape != expected or not len(motion):
            raise ValueError(f"qpos of shape {motion.shape}, expected {expected}, at least 1 frame")
    if not (rate_hz > 0 and speed > 0):
        raise ValueError(f"{rate_hz=} and {speed=} must be above 0")
    if min(size) < 2 or any(pixels % 2 for pixels in size):
        raise ValueError(f"{size=} must be even: a video stores colours for two pixels by two")
