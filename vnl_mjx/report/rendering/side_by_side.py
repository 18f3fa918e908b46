"""Renders one or several motions as a video: resamples, draws, captions and encodes them (H.264).

Names appear above the panes; a motion that ends before the others stands still.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vnl_mjx.clips.conditioning.resampling import resample
from vnl_mjx.files import replacing
from vnl_mjx.report.rendering.cameras import VIEWS, CameraPath, camera_path, mean_heading_deg
from vnl_mjx.report.rendering.captions import (
    contact_sheet,
    picture_rows,
    squares,
    tiled,
    time_and_speed,
    write_caption,
)
from vnl_mjx.report.rendering.drawing import NO_MARKS, open_drawer
from vnl_mjx.report.rendering.encoding import default_fps, video_writer
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.scene import FOV_DEG, Scene, build_scene
from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.walkers.walker import Walker

SHEET_WIDTH = 1280
_SHEET_PICTURES = 8
_PANE_SHARE = 20  # a pane's edge over the height of its letters
_STRIP_SHARE = 24  # a pane's edge over the height of letters in the strip below
_BARE_STRIP_SHARE = 30  # the same for the whole picture, if panes have no names
_FADED = 0.45  # share of white in the picture of a motion that has ended
_HOLD_S = 1.0  # shortest time in the video for the text on a motion's end
_MAX_ZOOM = 1.25  # largest ratio of the cameras' distances
_FARTHEST = 5.0  # largest ratio for a camera from above with far marks
_MARKS_FILL = 1.1  # half of a picture over the marks' distance from the middle
_NEAREST = 0.6  # share of the distance of `camera_path`, if a pane is wide enough


@dataclass(frozen=True)
class Video:
    """Describes a written video and the GL back end that drew it."""

    path: Path
    num_frames: int
    fps: float
    seconds: float
    backend: str


@dataclass(frozen=True, eq=False)
class Pane:
    """Holds one motion of a video.

    Attributes:
        name: name above the picture; empty: no name.
        qpos: [frame, nq]; if it is shorter than another pane's, its last pose stays, faded.
        ghost_qpos: [frame, nq] of a translucent copy, or None; its last pose stays too.
        marks: [frame, mark, 3] places at which spheres are shown, world, m; NaN: none.
        view: one of `cameras.VIEWS`.
        texts: texts beside the name, one per frame.
        end: text in their place after the motion has ended before the others.
        tint: colour of the body and its name, such as "#0072B2"; empty: the body's own colours.
        dots: colours, one per mark, which are then small, on a translucent body; empty: a goal's marks.
    """

    name: str
    qpos: np.ndarray
    ghost_qpos: np.ndarray | None = None
    view: str = "side"
    marks: np.ndarray | None = None
    texts: Sequence[str] = ()
    end: str = ""
    tint: str = ""
    dots: Sequence[str] = ()

    def marks_at(self, row: int) -> np.ndarray:
        """Returns the marked places [mark, 3] in a frame; after the end, those in the last frame."""
        return NO_MARKS if self.marks is None else self.marks[min(row, len(self.marks) - 1)]


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Describes a video of several motions that start at the same time.

    Attributes:
        panes: the panes, row by row.
        rate_hz: frame rate of the motions.
        title: text below the panes, before the time.
        note: text at the right end, for example that the motion is synthetic.
        columns: number of columns of panes; None for a single row.
        pane_size: width and height of a pane, pixels, even.
        fps: frame rate of the video.
        speed: 1 is true speed, 0.5 slow motion.
        first_time: first time in the caption, seconds.
        one_direction: all cameras take the direction for the first pane; otherwise each has its own.
        show_speed: show the speed of the first pane's root after the time.
        quick: see `scene.build_scene`.
        arena: arena in place of the floor.
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
    show_speed: bool = False
    quick: bool = True
    arena: Arena | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture, pixels."""
        rows = -(-len(self.panes) // self.num_columns)
        return self.num_columns * self.pane_size[0], rows * self.pane_size[1]

    @property
    def num_columns(self) -> int:
        """The number of columns of panes."""
        return self.columns or len(self.panes)

    def row(self, frame: int) -> int:
        """Returns the frame of the motions that a frame of the video shows, rounded down."""
        return math.floor(frame * self.speed / self.fps * self.rate_hz + 1e-6)


def one_motion(
    qpos: np.ndarray,
    rate_hz: float,
    *,
    ghost_qpos: np.ndarray | None = None,
    marks: np.ndarray | None = None,
    views: tuple[str, ...] = ("side", "top"),
    size: tuple[int, int] = (960, 480),
    fps: float | None = None,
    speed: float = 1.0,
    **more: Any,
) -> SideBySide:
    """Describes a video of one motion, qpos [frame, nq], in one or more views, in a row if wide.

    `size` is that of the whole picture; with fps None, `default_fps` applies. See `Pane` and `SideBySide`.
    """
    columns = len(views) if size[0] >= size[1] else 1
    return SideBySide(
        panes=tuple(Pane("", qpos, ghost_qpos, view, marks) for view in views),
        rate_hz=rate_hz,
        columns=columns,
        pane_size=(size[0] // columns, size[1] * columns // len(views)),
        fps=fps or default_fps(rate_hz, speed),
        speed=speed,
        show_speed=True,
        quick=False,
        **more,
    )


def render_side_by_side(
    walker: Walker,
    motions: SideBySide,
    output: str | os.PathLike[str],
    *,
    sheet: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Video:
    """Draws the motions of a walker into a video, which appears complete or not at all.

    The ending of `output` selects the format (`encoding.ENCODINGS`). `sheet` is the path of a PNG of eight
    pictures, or, for named panes, of a row of eight pictures each. `progress` is called with the numbers of
    drawn and of all frames.

    Raises:
        UserError: nothing can render here, or a file cannot be written.
    """
    _check(walker, motions)
    backend = choose_backend()
    panes = motions.panes
    with_ghosts = [pane.ghost_qpos is not None for pane in panes]
    width, height = motions.pane_size
    scene = build_scene(
        walker,
        motions.arena,
        with_ghost=any(with_ghosts),
        max_width=width,
        max_height=height,
        quick=motions.quick,
    )
    shown_hz = motions.fps / motions.speed

    def shown(qpos: np.ndarray) -> np.ndarray:
        return resample(qpos, walker.layout, motions.rate_hz, shown_hz)

    moving = [shown(pane.qpos) for pane in panes]
    num_frames = max(
        len(qpos) + round(_HOLD_S * motions.fps * bool(pane.end))
        for pane, qpos in zip(panes, moving, strict=True)
    )
    poses = np.stack([_held(qpos, num_frames) for qpos in moving], axis=1)
    if scene.has_ghost:
        own = (pane.qpos if pane.ghost_qpos is None else pane.ghost_qpos for pane in panes)
        ghosts = np.stack([_held(shown(qpos), num_frames) for qpos in own], axis=1)
        poses = np.concatenate([poses, ghosts], axis=-1)
    labels = _Labels(motions, scene, moving)
    paths = cameras(scene, motions, moving, num_frames)
    wanted = np.linspace(0, num_frames - 1, _SHEET_PICTURES).round().astype(int).tolist()
    kept: dict[int, list[np.ndarray]] = {}
    with (
        open_drawer(scene, width, height, backend) as drawer,
        video_writer(output, motions.size, motions.fps) as write,
    ):
        for frame in range(num_frames):
            row = motions.row(frame)
            shot = zip(panes, poses[frame], paths, with_ghosts, strict=True)
            pictures = [
                drawer.draw(qpos, path, frame, ghost, pane.marks_at(row), pane.tint, pane.dots)
                for pane, qpos, path, ghost in shot
            ]
            pictures = [labels.faded(picture, rank, frame) for rank, picture in enumerate(pictures)]
            if sheet is not None and frame in wanted:
                kept[frame] = pictures
            write(labels.write(pictures, frame))
            if progress is not None:
                progress(frame + 1, num_frames)
        if sheet is not None:  # written before the video appears: both files or none
            with replacing(sheet) as partial:
                labels.sheet(kept).save(partial, format="png")
    return Video(Path(output), num_frames, motions.fps, num_frames / motions.fps, backend)


def _held(values: np.ndarray, num_frames: int) -> np.ndarray:
    """Extends [frame, ...] to a length by repeating the last frame."""
    return values[np.minimum(np.arange(num_frames), len(values) - 1)]


def cameras(
    scene: Scene, motions: SideBySide, moving: Sequence[np.ndarray], num_frames: int
) -> list[CameraPath]:
    """Returns a camera for each pane, which follows its walker; all have the same distance."""
    rate_hz, aspect = motions.fps / motions.speed, motions.pane_size[0] / motions.pane_size[1]
    heading, paths = mean_heading_deg(moving[0], scene.layout), []
    for pane, qpos in zip(motions.panes, moving, strict=True):
        path = camera_path(scene, qpos, rate_hz, pane.view, aspect)
        if motions.one_direction:
            path = replace(path, azimuth=heading + VIEWS[pane.view][0])
        paths.append(replace(path, lookat=_held(path.lookat, num_frames)))
    distances = [path.distance for path in paths]
    distance = min(max(distances), _MAX_ZOOM * min(distances))
    nearer = min(1.0, max(_NEAREST, 1.0 / aspect))  # seen from a side, a body is longer than high
    shares = [1.0 if pane.view == "top" else nearer for pane in motions.panes]
    return [
        replace(path, distance=share * distance * _room_for_marks(pane, path, distance, aspect))
        for pane, path, share in zip(motions.panes, paths, shares, strict=True)
    ]


def _room_for_marks(pane: Pane, path: CameraPath, distance: float, aspect: float) -> float:
    """Returns the factor on `distance` with which a camera from above sees all marks."""
    if pane.view != "top" or pane.marks is None or pane.dots or not np.isfinite(pane.marks).any():
        return 1.0
    rows = np.linspace(0, len(path.lookat) - 1, len(pane.marks)).astype(int)
    away = np.linalg.norm((pane.marks - path.lookat[rows, None])[..., :2], axis=-1)
    half = _MARKS_FILL * np.nanmax(away) / min(1.0, aspect)
    return min(_FARTHEST, max(1.0, half / math.tan(math.radians(FOV_DEG / 2)) / distance))


class _Labels:
    """Writes text on the pictures of `motions`, whose panes move as `moving`."""

    def __init__(self, motions: SideBySide, scene: Scene, moving: Sequence[np.ndarray]):
        self._motions, self._lengths = motions, [len(qpos) for qpos in moving]
        pace = "" if motions.speed == 1.0 else f"shown at {motions.speed:g}x"
        self._right = "   ".join(filter(None, [motions.note, pace, squares(scene)]))
        self._named = any(pane.name for pane in motions.panes)
        share = round(_STRIP_SHARE * min(motions.size) / min(motions.pane_size))
        self._strip_share = share if self._named else _BARE_STRIP_SHARE
        shown_hz = motions.fps / motions.speed
        times = motions.first_time + np.arange(self._lengths[0]) / shown_hz
        self._clocks = time_and_speed(moving[0], times, shown_hz, scene)

    def write(self, pictures: Sequence[np.ndarray], frame: int) -> np.ndarray:
        """Returns the picture of one frame from those of its panes, with all text."""
        written = list(pictures)
        for rank, pane in enumerate(self._motions.panes):
            over = self._is_over(rank, frame)
            text = pane.end if over else self._text(pane, frame)
            if pane.name or text:
                look = {"share": _PANE_SHARE, "at_top": True, "alarm": over, "color": pane.tint}
                written[rank] = write_caption(pictures[rank], pane.name, text, **look)
        whole = tiled(written, self._motions.num_columns)
        return write_caption(whole, self._left(frame), self._right, share=self._strip_share)

    def sheet(self, kept: Mapping[int, list[np.ndarray]]) -> Image.Image:
        """Returns a sheet with a row of pictures for each pane; without names, of whole pictures."""
        if not self._named:
            wholes = [tiled(pictures, self._motions.num_columns) for pictures in kept.values()]
            captions = [self._left(frame) for frame in kept]
            return contact_sheet(wholes, captions, self._motions.note, max(self._motions.size))
        names = [pane.name for pane in self._motions.panes]
        rows = list(zip(*kept.values(), strict=True))
        return picture_rows(rows, names, [self._time(frame) for frame in kept], SHEET_WIDTH)

    def faded(self, picture: np.ndarray, rank: int, frame: int) -> np.ndarray:
        """Returns the picture of a pane, paler after its motion's end."""
        if not self._is_over(rank, frame):
            return picture
        return (picture * (1.0 - _FADED) + 255.0 * _FADED).astype(np.uint8)

    def _left(self, frame: int) -> str:
        clock = self._clocks[frame] if self._motions.show_speed else self._time(frame)
        return "   ".join(filter(None, [self._motions.title, clock]))

    def _is_over(self, rank: int, frame: int) -> bool:
        return frame >= self._lengths[rank] and bool(self._motions.panes[rank].end)

    def _time(self, frame: int) -> str:
        seconds = self._motions.first_time + frame * self._motions.speed / self._motions.fps
        return f"{seconds:.2f} s"

    def _text(self, pane: Pane, frame: int) -> str:
        if not len(pane.texts):
            return ""
        return pane.texts[min(self._motions.row(frame), len(pane.texts) - 1)]


def _check(walker: Walker, motions: SideBySide) -> None:
    if not motions.panes:
        raise ValueError("panes: expected at least one")
    for pane in motions.panes:
        if not len(pane.qpos) or pane.qpos.shape[1:] != (walker.nq,):
            raise ValueError(
                f"{pane.name}: qpos of shape {pane.qpos.shape}, expected (frames, {walker.nq})"
            )
    if not (motions.rate_hz > 0 and motions.speed > 0 and motions.fps > 0):
        raise ValueError(f"{motions.rate_hz=}, {motions.speed=} and {motions.fps=} must be above 0")
    if min(motions.size) < 2 or any(pixels % 2 for pixels in motions.size):
        raise ValueError(
            f"{motions.size=} must be even: a video stores colours for two pixels by two"
        )
