"""Videos of a training's evaluations, drawn by processes of their own at the lowest priority.

Usage: python -m vnl_mjx.commands.teacher_video POSES_FILE VIDEO
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vnl_mjx.analysis.evaluation.teacher_evaluation import TeacherEvaluation
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.reference.clips import ReferenceClips

FINISH_TIMEOUT_S = 300
_LOWEST_PRIORITY = 19


class TeacherVideos:
    """Draws one video at a time; what fails costs one warning and no more videos."""

    def __init__(self, walker: WalkerConfig, folder: Path):
        """Takes the body and the folder, which is made when the first video is begun."""
        self._walker, self._folder = walker, folder
        self._process: subprocess.Popen[str] | None = None
        self._num_begun, self._is_off = 0, False

    def start(self, evaluation: TeacherEvaluation, clips: ReferenceClips, env_steps: int) -> None:
        """Begins a video of one episode, with its reference as a ghost; of each clip in turn."""
        if self._is_off or (self._process is not None and self._process.poll() is None):
            return
        clip = self._num_begun % clips.num_clips  # the first episodes are one per clip, in order
        self._num_begun += 1
        qpos = evaluation.rollout.qpos_of(clip)
        frames = np.asarray(evaluation.rollout.steps.frame)[: len(qpos) - 1, clip]
        start = np.asarray(evaluation.rollout.episodes.start_frame)[clip]
        rows = np.asarray(clips.starts)[clip] + np.append(start, frames)
        self._folder.mkdir(parents=True, exist_ok=True)
        poses = self._folder / f".{env_steps}.npz"
        np.savez(
            poses,
            qpos=qpos,
            ghost=np.asarray(clips.qpos())[rows],
            rate_hz=evaluation.rollout.control_hz,
            walker=json.dumps(asdict(self._walker)),
            title=f"{clips.names[clip]}, {env_steps:,} steps",
        )
        command = [sys.executable, "-m", "vnl_mjx.commands.teacher_video", str(poses)]
        self._process = subprocess.Popen(
            [*command, str(self._folder / f"{env_steps}.mp4")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the training
        )

    def poll(self, warn: Callable[[str], None]) -> None:
        """Says, once, where drawing failed."""
        if self._process is not None and self._process.poll() is not None:
            self._judge(self._process, warn)

    def finish(self, warn: Callable[[str], None]) -> None:
        """Waits for the video that was begun, but not for ever."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(FINISH_TIMEOUT_S)
        self.poll(warn)
        if self._process is not None:
            self._process.kill()
            warn(f"the video is left out: not drawn within {FINISH_TIMEOUT_S} s")

    def _judge(self, process: subprocess.Popen[str], warn: Callable[[str], None]) -> None:
        _, errors = process.communicate()
        self._process = None
        if process.returncode != 0:
            self._is_off = True
            reason = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
            warn(f"no videos in this run: {reason}")


def main(poses_file: Path, video: Path) -> None:
    """Draws the poses and removes their file."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_LOWEST_PRIORITY)
    from vnl_mjx.analysis.rendering.video import render_qpos
    from vnl_mjx.config.conversion import from_dict
    from vnl_mjx.errors import UserError
    from vnl_mjx.walkers.walker import build_walker

    try:
        with np.load(poses_file) as stored:
            walker = build_walker(from_dict(WalkerConfig, json.loads(str(stored["walker"]))))
            render_qpos(
                walker,
                stored["qpos"],
                float(stored["rate_hz"]),
                video,
                ghost_qpos=stored["ghost"],
                title=str(stored["title"]),
            )
    except UserError as error:
        sys.exit(str(error))
    finally:
        poses_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
