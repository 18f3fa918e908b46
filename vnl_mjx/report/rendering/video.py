"""Videos of one motion: resampled to the video's rate, drawn, captioned, and encoded as H.264."""

import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.conditioning.resampling import resample
from vnl_mjx.report.rendering.cameras import camera_paths, smooth
from vnl_mjx.report.rendering.captions import contact_sheet, write_caption
from vnl_mjx.report.rendering.drawing import pane_rects
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.scene import Scene, build_scene
from vnl_mjx.report.rendering.video_writing import Video, VideoContent, write_video
from vnl_mjx.walkers.walker import Walker

MAX_FPS = 60
MIN_FPS = 20  # below it motion is seen as single pictures
_SPEED_SMOOTHING_S = 0.1


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
    scene = build_scene(walker, num_ghosts=len(ghosts), max_width=size[0], max_height=size[1])
    shown_hz = video_fps / speed  # of the motion's own time
    shown = [resample(q, walker.layout, rate_hz, shown_hz) for q in (qpos, *ghosts)]
    poses = np.concatenate(shown, axis=-1)
    clocks = time_and_speed(poses, first_time + np.arange(len(poses)) / shown_hz, shown_hz, scene)
    captions = ["   ".join(filter(None, [title, clock])) for clock in clocks]
    right = "   ".join(filter(None, [note, pace(speed), squares(scene)]))
    panes = pane_rects(*size, len(views))
    aspect = panes[0].width / panes[0].height
    content = VideoContent(
        scene,
        size,
        panes,
        poses,
        camera_paths(scene, poses[:, : scene.nq], shown_hz, views, aspect),
        None,
        video_fps,
        lambda picture, frame: write_caption(picture, captions[frame], right),
    )

    def pictures_with_captions(pictures, frames):
        return contact_sheet(pictures, [captions[frame] for frame in frames], note, max(size))

    return write_video(content, output, backend, sheet, pictures_with_captions, progress)


def default_fps(rate_hz: float, speed: float) -> float:
    """Frames per second of a video that shows whole steps of the motion's frames where it can."""
    shown = rate_hz * speed
    shown /= max(1, math.ceil(shown / MAX_FPS))
    return shown * max(1, math.ceil(MIN_FPS / shown))


def time_and_speed(qpos: np.ndarray, times: np.ndarray, rate_hz: float, scene: Scene) -> list[str]:
    """For each frame of qpos [frame, nq]: its time and horizontal speed of the root.

    Args:
        qpos: [frame, nq] of the first walker, or of all in a row.
        times: [frame], seconds.
        rate_hz: frames per second.
        scene: what is filmed.
    """
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


def pace(speed: float) -> str:
    """What has to be said of a video that does not play at true speed."""
    return "" if speed == 1.0 else f"shown at {speed:g}x"


def squares(scene: Scene) -> str:
    """What gives the picture its scale."""
    return f"floor squares {metric(scene.square)}"


def check_size(size: tuple[int, int]) -> None:
    """Raises ValueError for a picture that cannot be encoded."""
    if min(size) < 2 or any(pixels % 2 for pixels in size):
        raise ValueError(f"{size=} must be even: a video stores colours for two pixels by two")


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
    check_size(size)
