"""Draws videos of a training's evaluations in the background."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.report.rendering.episode_panes import following
from vnl_mjx.report.rendering.video_queue import VideoQueue

FINISH_TIMEOUT_S = 300.0
_VIEWS = ("side", "top")
PANE_SIZE = (480, 480)


class TeacherVideos:
    """Draws one video at a time; after a failure it warns once and draws no more."""

    def __init__(self, walker: WalkerConfig, folder: Path):
        """Takes the body and the folder, which is made with the first video."""
        self._walker, self._folder = walker, folder
        self._queue: VideoQueue | None = None
        self._num_begun, self._is_off = 0, False

    def start(self, rollout: Rollout, clips: ReferenceClips, env_steps: int) -> None:
        """Starts a video of one episode with its reference as a ghost; takes the clips in turn."""
        if self._is_off or self._queue is not None:
            return
        clip = self._num_begun % clips.num_clips  # the first episodes are one per clip, in order
        self._num_begun += 1
        motions = following(
            {"teacher": rollout},
            clips,
            clip,
            views=_VIEWS,
            beside=False,
            ghosts=True,
            pane_size=PANE_SIZE,
            quick=False,
        )
        title = f"{motions.title}, {env_steps:,} steps"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._queue = VideoQueue(self._walker)
        self._queue.add(
            "video",
            replace(motions, title=title, columns=len(_VIEWS)),
            self._folder / f"{env_steps}.mp4",
        )

    def poll(self, warn: Callable[[str], None]) -> None:
        """Warns once if drawing failed."""
        if self._queue is not None and self._queue.is_done:
            self.finish(warn)

    def finish(self, warn: Callable[[str], None]) -> None:
        """Waits for the current video, up to a limit."""
        if self._queue is None:
            return
        with self._queue as queue:
            _, errors = queue.finish(timeout_s=FINISH_TIMEOUT_S)
        self._queue = None
        for error in errors:
            self._is_off = True
            warn(f"no videos in this run: {error}")
