"""`vnl-mjx view` of a task's run: shows one episode as a video, or live in the browser."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from vnl_mjx.commands.console import Console, frame_progress
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.stored import StoredTask, load_stored_task
from vnl_mjx.commands.view.view import draw, output_path
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.task_evaluation import TaskPlayer
from vnl_mjx.report.rendering.browser import serve_page
from vnl_mjx.report.rendering.live_task import TaskActor
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.task_motion import task_motion
from vnl_mjx.report.rendering.task_page import TaskPage

_SEED = 1


def run(options: Namespace, path: Path) -> int:
    """Shows a policy that does its task, and returns the exit status."""
    given = {"who": options.who, "ghost": options.ghost, "start": options.start}
    for name, value in given.items():
        if value:
            raise UserError(
                f"--{name}: goes with a student or a teacher, found a task; leave it out"
            )
    shown = load_stored_task(path, options.clips, options.mjcf, options.seconds)
    task = shown.task
    with terminate_cleanly():
        if options.browser:
            return _serve(shown, options.port)
        with frame_progress(Console(), "control steps") as progress:
            playing = partial(progress, "playing")
            played = TaskPlayer(task).play(shown.policy, shown.data, 1, _SEED, playing)
    look = {"views": options.views, "size": options.size, "fps": options.fps}
    motion = task_motion(played, task, **look, speed=options.speed)
    output = output_path(path.resolve(), task.goal.name, options)
    draw(task.walker, motion, output, options, "drawing")
    return 0


def _serve(shown: StoredTask, port: int) -> int:
    task = shown.task
    actors = {"policy": TaskActor(task, shown.data, shown.policy, _SEED)}

    def open_page(server: Any) -> Callable[[float], None]:
        scene = build_scene(task.walker, task.goal.arena)
        return TaskPage(server, scene, 1.0 / task.control_timestep, actors, shown.name).advance

    return serve_page(open_page, shown.name, port)
