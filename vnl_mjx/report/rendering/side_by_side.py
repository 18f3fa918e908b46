"""Several motions in one video: who moves is written above each, and who stops first stands still."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from PIL import Image

from vnl_mjx.clips.conditioning.resampling import resample
from vnl_mjx.report.rendering.cameras import VIEWS, CameraPath, camera_paths, mean_heading_deg
from vnl_mjx.report.rendering.captions import picture_rows, write_caption
from vnl_mjx.report.rendering.drawing import pane_rects
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.scene import Scene, build_scene
from vnl_mjx.report.rendering.video import check_size, pace, squares
from vnl_mjx.report.rendering.video_writing import Video, VideoContent, write_video
from vnl_mjx.walkers.walker import Walker

SHEET_WIDTH = 1280
_PANE_SHARE = 20  # of a pane's edge that its letters are high
_STRIP_SHARE = 24  # of a pane's edge, those of the strip below all
_FADED = 0.45  # of the picture of a motion that has ended is white
_HOLD_S = 1.0  # at least, of the video, for what is said of a motion's end
_MAX_ZOOM = 1.25  # a camera stands so much farther away than the nearest, at most
_NEAREST = 0.75  # of the distance that `camera_paths` takes, where a pane is wide enough


@dataclass(frozen=True, eq=False)
class Pane:
    """One motion of a video.

    Attributes:
        name: who moves, above the picture.
        qpos: [frame, nq]; where it is shorter than another pane's, its last pose stays, faded.
        ghost_qpos: [frame, nq] of a translucent copy, or None; it stays too.
        view: out of `cameras.VIEWS`.
        texts: one per frame, beside the name.
        end: in their place once the motion has ended before the others.
    """

    name: str
    qpos: np.ndarray
    ghost_qpos: np.ndarray | None = None
    view: str = "side"
    texts: Sequence[str] = ()
    end: str = ""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """A video of several motions that began at the same time.

    Attributes:
        panes: row by row.
        rate_hz: of their frames.
        title: below them, before the time.
        note: at the right end, as that the motion is synthetic.
        columns: of panes; None for all in one row.
        pane_size: width and height, pixels, even.
        fps: of the video.
        speed: 1 is true speed, 0.5 slow motion.
        first_time: in the caption, seconds.
        one_direction: all cameras look as suits the first pane; else each as suits its own.
        quick: see `scene.build_scene`.
    """

    panes: tuple[Pane, ...]
    rate_hz: float
    title: str = ""
    note: str = ""
    columns: int | None = None
    pane_size: tuple[int, int] = (320, 240)
    fps: float = 25.0
    speed: float = 1.0
    first_time: float = 0.0
    one_direction: bool = True
    quick: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture, pixels."""
        columns = self.columns or len(self.panes)
        rows = -(-len(self.panes) // columns)
        return columns * self.pane_size[0], rows * self.pane_size[1]


def render_side_by_side(
    walker: Walker,
    motions: SideBySide,
    output: str | os.PathLike[str],
    *,
    sheet: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Video:
    """Draws the motions into an mp4, which appears complete or not at all.

    Args:
        walker: who moves in every pane.
        motions: what is shown.
        output: the mp4.
        sheet: PNG to write as well: eight pictures of each pane in a row.
        progress: called with the number of frames drawn and of all.

    Raises:
        UserError: nothing can draw here, or a file cannot be written.
    """
    _check(walker, motions)
    backend = choose_backend()
    panes, size = motions.panes, motions.size
    with_ghosts = [pane.ghost_qpos is not None for pane in panes]
    scene = build_scene(
        walker,
        num_ghosts=int(any(with_ghosts)),
        max_width=size[0],
        max_height=size[1],
        quick=motions.quick,
    )
    shown_hz = motions.fps / motions.speed
    moving = [resample(pane.qpos, walker.layout, motions.rate_hz, shown_hz) for pane in panes]
    num_frames = max(
        len(qpos) + round(_HOLD_S * motions.fps * bool(pane.end))
        for pane, qpos in zip(panes, moving, strict=True)
    )
    bodies = np.stack([_held(qpos, num_frames) for qpos in moving], axis=1)
    if scene.num_ghosts:
        own = (pane.qpos if pane.ghost_qpos is None else pane.ghost_qpos for pane in panes)
        resampled = [resample(qpos, walker.layout, motions.rate_hz, shown_hz) for qpos in own]
        ghosts = np.stack([_held(qpos, num_frames) for qpos in resampled], axis=1)
        bodies = np.concatenate([bodies, ghosts], axis=-1)
    rects = pane_rects(*size, len(panes), motions.columns)
    labels = _Labels(motions, scene, rects, [len(qpos) for qpos in moving])
    content = VideoContent(
        scene,
        size,
        rects,
        bodies,
        cameras(scene, motions, moving, num_frames),
        with_ghosts,
        motions.fps,
        labels.write,
    )
    return write_video(content, output, backend, sheet, labels.sheet, progress)


def _held(values: np.ndarray, num_frames: int) -> np.ndarray:
    """[frame, ...] made so long, the last one repeated."""
    return values[np.minimum(np.arange(num_frames), len(values) - 1)]


def cameras(
    scene: Scene, motions: SideBySide, moving: Sequence[np.ndarray], num_frames: int
) -> list[CameraPath]:
    """Returns one camera for each pane: it follows its own walker, all from the same distance."""
    rate_hz, aspect = motions.fps / motions.speed, motions.pane_size[0] / motions.pane_size[1]
    heading, paths = mean_heading_deg(moving[0], scene.layout), []
    for pane, qpos in zip(motions.panes, moving, strict=True):
        (path,) = camera_paths(scene, qpos, rate_hz, (pane.view,), aspect)
        if motions.one_direction:
            path = replace(path, azimuth=heading + VIEWS[pane.view][0])
        paths.append(replace(path, lookat=_held(path.lookat, num_frames)))
    distances = [path.distance for path in paths]
    distance = min(max(distances), _MAX_ZOOM * min(distances))
    distance *= min(1.0, max(_NEAREST, 1.0 / aspect))  # a body is longer than it is high
    return [replace(path, distance=distance) for path in paths]


class _Labels:
    """What is written on the pictures of `motions`, whose panes move for `lengths` frames."""

    def __init__(
        self,
        motions: SideBySide,
        scene: Scene,
        rects: Sequence[mujoco.MjrRect],
        lengths: Sequence[int],
    ):
        self._motions, self._lengths = motions, lengths
        self._right = "   ".join(filter(None, [motions.note, pace(motions.speed), squares(scene)]))
        self._strip_share = round(_STRIP_SHARE * min(motions.size) / min(motions.pane_size))
        tops = [motions.size[1] - rect.bottom - rect.height for rect in rects]
        self._places = [
            (slice(top, top + rect.height), slice(rect.left, rect.left + rect.width))
            for top, rect in zip(tops, rects, strict=True)
        ]

    def write(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """The picture of one frame with all its words."""
        written = picture.copy()
        for rank, (pane, place) in enumerate(zip(self._motions.panes, self._places, strict=True)):
            own, text, ended = self._faded(picture[place], rank, frame), pane.end, True
            if not self._is_over(rank, frame):
                text, ended = self._text(pane, frame), False
            written[place] = write_caption(
                own, pane.name, text, share=_PANE_SHARE, at_top=True, alarm=ended
            )
        left = "   ".join(filter(None, [self._motions.title, self._time(frame)]))
        return write_caption(written, left, self._right, share=self._strip_share)

    def sheet(self, pictures: list[np.ndarray], frames: list[int]) -> Image.Image:
        """Each pane's pictures in a row."""
        rows = [
            [
                self._faded(picture[place], rank, frame)
                for picture, frame in zip(pictures, frames, strict=True)
            ]
            for rank, place in enumerate(self._places)
        ]
        names = [pane.name for pane in self._motions.panes]
        return picture_rows(rows, names, [self._time(frame) for frame in frames], SHEET_WIDTH)

    def _is_over(self, rank: int, frame: int) -> bool:
        return frame >= self._lengths[rank] and bool(self._motions.panes[rank].end)

    def _faded(self, picture: np.ndarray, rank: int, frame: int) -> np.ndarray:
        if not self._is_over(rank, frame):
            return picture
        return (picture * (1.0 - _FADED) + 255.0 * _FADED).astype(np.uint8)

    def _time(self, frame: int) -> str:
        seconds = self._motions.first_time + frame * self._motions.speed / self._motions.fps
        return f"{seconds:.2f} s"

    def _text(self, pane: Pane, frame: int) -> str:
        if not len(pane.texts):
            return ""
        row = math.floor(
            frame * self._motions.speed / self._motions.fps * self._motions.rate_hz + 1e-6
        )
        return pane.texts[min(row, len(pane.texts) - 1)]


def _check(walker: Walker, motions: SideBySide) -> None:
    if not motions.panes:
        raise ValueError("panes: expected at least one")
    for pane in motions.panes:
        ghosts = () if pane.ghost_qpos is None else (pane.ghost_qpos,)
        for qpos in (pane.qpos, *ghosts):
            if not len(qpos) or qpos.shape[1:] != (walker.nq,):
                raise ValueError(
                    f"{pane.name}: qpos of shape {qpos.shape}, expected (frames, {walker.nq})"
                )
    if not (motions.rate_hz > 0 and motions.speed > 0 and motions.fps > 0):
        raise ValueError(f"{motions.rate_hz=}, {motions.speed=} and {motions.fps=} must be above 0")
    check_size(motions.pane_size)
