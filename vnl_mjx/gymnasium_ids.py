"""Registers environments of stored policies with Gymnasium: `gymnasium.make` and `gymnasium.make_vec`.

    gymnasium.make("vnl_mjx.gymnasium_ids:vnl_mjx/Imitation-v0", path="RUN")
    gymnasium.make("vnl_mjx.gymnasium_ids:vnl_mjx/Joystick-v0", low_level="RUN")

Importing this module registers the ids: `vnl_mjx/Imitation-v0`, one for each goal
(`tasks.downstream.goals.GOALS`), and `vnl_mjx/Task-v0`, whose `goal` may be one of your own. The part of an
id before the colon makes Gymnasium import this module. It needs the extra `gymnasium`.
"""

import atexit
import importlib
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from vnl_mjx import api
from vnl_mjx.commands.stored import load_low_level
from vnl_mjx.compat.gymnasium_env import TaskEnv, TaskVectorEnv
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow_in
from vnl_mjx.report.rendering.cameras import VIEWS, camera_path
from vnl_mjx.report.rendering.drawing import Drawer
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.tasks.downstream.goals import GOALS, make_goal
from vnl_mjx.tasks.downstream.low_level import Mode, Residual
from vnl_mjx.walkers.walker import Walker

import gymnasium  # isort: skip  # the modules above say it where it is missing


def imitation(
    num_envs: int | None = None,
    *,
    path: str | Path | None = None,
    clips: str | Path | None = None,
    mjcf: str | Path | None = None,
    backend: str = "mujoco",
    **options: Any,
) -> TaskEnv | TaskVectorEnv:
    """Builds the imitation task of a teacher or student; pictures show a translucent reference.

    Args:
        num_envs: number of vectorised environments; None: a single environment.
        path: as `vnl_mjx.load` takes it, like the three that follow; None: the bundled teacher.
        clips: file of clips to use in place of the run's.
        mjcf: new path of the run's MJCF or body file, if it has moved.
        backend: "mujoco" (C), "mjx", "warp" or "auto".
        options: `observation`, `render_mode`, `view` and `size` (`build`).

    Raises:
        UserError: something is missing, damaged or does not fit.
    """
    loaded = api.load(path, clips=clips, mjcf=mjcf, backend=backend)
    task, data = loaded.env.task, loaded.clips
    task.check_clips(data)
    reference = jax.jit(lambda state, clips: clips.at(state.clip, task.frame(state)).qpos())

    def poses(state: Any) -> np.ndarray:
        return np.concatenate([state.physics.qpos, reference(state, data)])

    return build(num_envs, task, data, loaded.walker, poses, with_ghost=True, **options)


def downstream(
    num_envs: int | None = None,
    *,
    goal: str,
    low_level: str | Path | None = None,
    mode: Mode = "prior_decoder",
    residual: Residual = "sigma_ball",
    episode_s: float | None = None,
    clips: str | Path | None = None,
    backend: str = "mujoco",
    **options: Any,
) -> TaskEnv | TaskVectorEnv:
    """Builds a task in the latent space of a student.

    Args:
        num_envs: number of vectorised environments; None: a single environment.
        goal: one of `GOALS`, or the path of one of your own (my_lab.goals:Height).
        low_level: run folder of a distillation, a teacher, or a student of track-mjx; None: the
                bundled student.
        mode: meaning of an action, see `LowLevel`.
        residual: bounds of the action, see `LowLevel`.
        episode_s: seconds of an episode; None: the goal's.
        clips: clips in whose frames episodes start; None: the student's.
        backend: "mujoco" (C), "mjx", "warp" or "auto".
        options: `observation`, `render_mode`, `view` and `size` (`build`).

    Raises:
        UserError: something is unknown, missing, damaged or does not fit.
    """
    for name, value, known in (("mode", mode, Mode), ("residual", residual, Residual)):
        if value not in get_args(known):
            raise UserError(
                f"{name}: expected one of {', '.join(get_args(known))}, found {value!r}"
            )
    allow_in(goal)  # the caller named it
    wanted = make_goal(goal, "goal")
    stored = load_low_level(low_level, clips, None, PhysicsSection(backend))
    task, data = stored.below(wanted, mode, residual, episode_s)
    return build(num_envs, task, data, task.walker, _pose, arena=wanted.arena, **options)


def _pose(state: Any) -> Any:
    return state.physics.qpos


def build(
    num_envs: int | None,
    task: Any,
    data: Any,
    walker: Walker,
    poses: Callable[[Any], np.ndarray],
    *,
    with_ghost: bool = False,
    arena: Arena | None = None,
    render_mode: str | None = None,
    view: str = "side",
    size: tuple[int, int] = (640, 480),
    **options: Any,
) -> TaskEnv | TaskVectorEnv:
    """Builds the environment of a task, with a camera if it is to be rendered.

    Args:
        num_envs: number of vectorised environments; None: a single environment.
        task: the simulated task.
        data: data that the task reads besides its state.
        walker: the walker to draw.
        poses: function of one environment's state; returns qpos [nq], with a ghost followed by the ghost's.
        with_ghost: draw a second, translucent body.
        arena: arena to draw in place of the floor.
        render_mode: None or "rgb_array".
        view: "side", "top" or "front".
        size: width and height of a picture, pixels.
        options: `observation`, see `TaskEnv`.

    Raises:
        UserError: an option is unknown, or nothing can draw here.
    """
    if view not in VIEWS:
        raise UserError(f"view: expected one of {', '.join(VIEWS)}, found {view!r}")
    camera = None
    if render_mode is not None:
        camera = SceneCamera(walker, arena, poses, with_ghost, view, size)
    if num_envs is None:
        return TaskEnv(task, data, render_mode=render_mode, camera=camera, **options)
    return TaskVectorEnv(
        task, data, num_envs=num_envs, render_mode=render_mode, camera=camera, **options
    )


class SceneCamera:
    """Draws a walker as in our videos, with a camera that follows it; see `compat.gymnasium_env.Camera`."""

    def __init__(
        self,
        walker: Walker,
        arena: Arena | None,
        poses: Callable[[Any], np.ndarray],
        with_ghost: bool,
        view: str,
        size: tuple[int, int],
    ):
        """Compiles the scene; see `build`."""
        self._poses, self._size = poses, size
        self._scene = build_scene(
            walker, arena, with_ghost=with_ghost, max_width=size[0], max_height=size[1], quick=True
        )
        self._path_of = partial(
            camera_path, self._scene, rate_hz=1.0, view=view, aspect=size[0] / size[1]
        )
        self._free = self._path = None

    def picture(self, state: Any) -> np.ndarray:
        """Returns a picture, uint8 [height, width, 3]; the camera keeps the first picture's direction."""
        qpos = np.asarray(self._poses(state), np.float64)
        if self._free is None:
            backend = importlib.import_module(f"mujoco.{choose_backend()}")
            self._context = backend.GLContext(*self._size)
            self._context.make_current()
            self._drawer = Drawer(self._scene, *self._size)
            self._free = weakref.finalize(self, _free, self._context, self._drawer)
            self._free.atexit = False  # otherwise it would run after its libraries are unloaded
            atexit.register(self._free)
        path = self._path_of(qpos[None])
        self._path = path if self._path is None else replace(self._path, lookat=path.lookat)
        self._context.make_current()
        return self._drawer.draw(qpos, self._path, 0).copy()

    def close(self) -> None:
        """Frees the renderer."""
        if self._free is not None:
            self._free()
            self._free = None


def _free(context: Any, drawer: Drawer) -> None:
    context.make_current()
    drawer.close()
    context.free()


def _register(name: str, builder: str, **kwargs: Any) -> None:
    entry = f"{__name__}:{builder}"
    gymnasium.register(f"vnl_mjx/{name}-v0", entry, vector_entry_point=entry, kwargs=kwargs)


def camel(name: str) -> str:
    """Returns a goal's name as in ids: GoToTarget for go_to_target."""
    return "".join(part.capitalize() for part in name.split("_"))


_register("Imitation", "imitation")
_register("Task", "downstream")
for _name in GOALS:
    _register(camel(_name), "downstream", goal=_name)
