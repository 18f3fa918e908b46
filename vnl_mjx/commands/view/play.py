"""`vnl-mjx play`: drives the body in the browser, with a policy of the task "joystick"."""

import contextlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.commands.console import Console, frame_progress, warn
from vnl_mjx.commands.data.rollout_clips import SimulatedClip, write_simulated
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import StoredTask, find_stored, load_stored_task
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.demo import DEMO_JOYSTICK
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering.browser import check_installed, check_port, serve_page
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.live import LiveEpisode, viewed_student_policies
from vnl_mjx.report.rendering.live_task import Actor, ClipActor, TaskActor
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.side_by_side import one_motion
from vnl_mjx.report.rendering.task_page import Control, TaskPage
from vnl_mjx.report.rendering.video_queue import VideoQueue
from vnl_mjx.tasks.downstream.joystick import Joystick

CONTROLS = (
    Control("Forward [m/s]", 0.0, Joystick.FASTEST, 0.05, ("arrowdown", "arrowup")),
    Control(
        "Turn left [rad/s]",
        -Joystick.SHARPEST,
        Joystick.SHARPEST,
        0.1,
        ("arrowright", "arrowleft"),
    ),
)
_ENDLESS_S = 1e7  # length of an episode


def run(options: Namespace) -> int:
    """Serves the page until Ctrl-C, and returns the exit status."""
    check_installed()
    check_port(options.port)
    folder = options.output.expanduser()
    if not folder.is_dir():
        raise UserError(f"--output: there is no folder {str(folder)!r}; make it first")
    if options.video:
        choose_backend()
    shown = load_joystick((options.path or DEMO_JOYSTICK).expanduser(), options.clips, options.mjcf)
    console = Console()
    walker, control_hz = shown.stored.task.walker, 1.0 / shown.task.control_timestep
    with contextlib.ExitStack() as stack:
        stack.enter_context(terminate_cleanly())
        videos = stack.enter_context(VideoQueue(walker.config)) if options.video else None
        save, pages = Recordings(shown, folder, videos), list[TaskPage]()

        def open_page(server: Any) -> Callable[[float], None]:
            look = {"controls": CONTROLS, "clips": shown.stored.clips.names, "save": save}
            scene = build_scene(walker)
            pages.append(TaskPage(server, scene, control_hz, actors(shown), shown.name, **look))
            return pages[0].advance

        serve_page(open_page, shown.name, options.port)
        if words := "".join(page.store_recording() for page in pages):
            console.print(words, soft_wrap=True, highlight=False)
        if videos is not None:
            with frame_progress(console, "videos") as progress:
                _, errors = videos.finish(partial(progress, "drawing"))
            for error in errors:
                warn(console, error)
    return 0


def load_joystick(path: Path, clips: Path | None = None, mjcf: str | None = None) -> StoredTask:
    """Loads a policy of the joystick, in episodes that end only with a fall.

    Raises:
        UserError: the path holds no such policy.
    """
    expected = f"{path}: expected the run of vnl-mjx train-task joystick"
    kind, found = find_stored(path)
    if kind != "task":
        raise UserError(f"{expected}, found a {kind}; see it with vnl-mjx view")
    prepare_jax()
    shown = load_stored_task(found, clips, mjcf, _ENDLESS_S)
    if not isinstance(shown.task.goal, Joystick):
        raise UserError(f"{expected}, found the task {shown.task.goal.name!r}; see it with view")
    return shown


def actors(shown: StoredTask) -> dict[str, Actor]:
    """Returns the actors: the joystick's policy, the student's prior, and the student on a clip."""
    stored = shown.stored
    found: dict[str, Actor] = {
        "joystick": TaskActor(shown.task, shown.data, shown.policy, obeys=True)
    }
    episode = LiveEpisode(stored.task, stored.clips)
    policies = viewed_student_policies(stored.task, stored.clips, stored.loaded)
    return found | {name: ClipActor(episode, policies[name]) for name in ("prior", "student")}


class Recordings:
    """Saves recordings of a page as numbered clip files in one folder."""

    def __init__(self, shown: StoredTask, folder: Path, videos: VideoQueue | None):
        """Takes the task, the folder and the queue that draws videos, if any."""
        self._shown, self._folder, self._videos = shown, folder, videos

    def __call__(self, qpos: np.ndarray, who: str) -> str:
        """Writes a clip of poses [frame, nq], one per control step; returns where it is."""
        shown, number = self._shown, 1
        walker, rate_hz = shown.stored.task.walker, 1.0 / shown.task.control_timestep
        while (output := self._folder / f"{who}_{number}.h5").exists():
            number += 1
        made_by = f"simulation in vnl-mjx play: {who}, {shown.name}"
        info = ClipInfo(source=output.name, label=who, made_by=made_by)
        clip = SimulatedClip(output.stem, np.asarray(qpos, np.float32), info)
        metadata = {
            "options": {"walker_config": to_dict(BodySection.of(walker.config))},
            "play": {"who": who, "policy": shown.name},
        }
        write_simulated(output, walker, rate_hz, [clip], metadata, compact=False)
        words = f"{output.name}: {len(qpos) / rate_hz:.2f} s"
        if self._videos is not None:
            note = "simulated motion"
            motion = one_motion(qpos, rate_hz, title=output.stem, note=note)
            self._videos.add(output.stem, motion, output.with_suffix(".mp4"))
            words += ", and a video of it soon"
        return words
