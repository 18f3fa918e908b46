"""From poses and cameras to an mp4: the one loop that draws videos."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

from vnl_mjx.report.rendering.cameras import CameraPath
from vnl_mjx.report.rendering.drawing import open_drawer
from vnl_mjx.report.rendering.encoding import mp4_writer, write_png
from vnl_mjx.report.rendering.scene import Scene

SHEET_PICTURES = 8


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


@dataclass(frozen=True, eq=False)
class VideoContent:
    """Everything that a video shows.

    Attributes:
        scene: the walker, and its ghosts.
        size: width and height of the picture, pixels, even.
        panes: where each camera's picture lies in it.
        poses: [frame, model.nq], the same in all panes, or [frame, pane, model.nq].
        paths: one camera per pane.
        with_ghosts: panes that show the ghosts; None: all.
        fps: frames per second.
        caption: writes on the picture of a frame.
    """

    scene: Scene
    size: tuple[int, int]
    panes: Sequence[mujoco.MjrRect]
    poses: np.ndarray
    paths: Sequence[CameraPath]
    with_ghosts: Sequence[bool] | None
    fps: float
    caption: Callable[[np.ndarray, int], np.ndarray]


def write_video(
    content: VideoContent,
    output: str | os.PathLike[str],
    backend: str,
    sheet: str | os.PathLike[str] | None,
    make_sheet: Callable[[list[np.ndarray], list[int]], Image.Image],
    progress: Callable[[int, int], None] | None = None,
) -> Video:
    """Draws and encodes; the files appear complete or not at all.

    Args:
        content: what is shown.
        output: the mp4.
        backend: as from `gl.choose_backend`.
        sheet: PNG of some pictures to write as well.
        make_sheet: that PNG, of pictures without words and their frames.
        progress: called with the number of frames drawn and of all.

    Raises:
        UserError: a file cannot be written.
    """
    count = len(content.poses)
    wanted = set(np.linspace(0, count - 1, SHEET_PICTURES).round().astype(int).tolist())
    kept: dict[int, np.ndarray] = {}
    with (
        open_drawer(content.scene, *content.size, content.panes, backend) as drawer,
        mp4_writer(output, content.size, content.fps) as write,
    ):
        for frame, poses in enumerate(content.poses):
            picture = drawer.draw(poses, content.paths, frame, content.with_ghosts)
            if sheet is not None and frame in wanted:
                kept[frame] = picture
            write(content.caption(picture, frame))
            if progress is not None:
                progress(frame + 1, count)
        if sheet is not None:  # before the video is there: both or none
            write_png(sheet, make_sheet(list(kept.values()), list(kept)))
    return Video(Path(output), count, content.fps, count / content.fps, backend)
