"""`vnl-mjx view` of a checkpoint: shows student, prior or teacher as a video or live in the browser."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.console import Console, frame_progress
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import (
    find_stored,
    load_stored_student,
    load_stored_teacher,
    name_of_teacher,
)
from vnl_mjx.commands.view import view_task
from vnl_mjx.commands.view.view import check_options, clip_of, draw, output_path
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.rollout import EpisodeRunner, Episodes, Rollout
from vnl_mjx.report.rendering.browser import serve_page
from vnl_mjx.report.rendering.encoding import default_fps
from vnl_mjx.report.rendering.episode_panes import following
from vnl_mjx.report.rendering.live import (
    LiveEpisode,
    ViewedPolicy,
    latent_activity,
    viewed_student_policies,
    viewed_teacher,
)
from vnl_mjx.report.rendering.live_page import LivePage
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.side_by_side import SideBySide
from vnl_mjx.tasks.imitation import ImitationTask

REFERENCE = "reference"
_SEED = 0


@dataclass(frozen=True)
class Shown:
    """Holds the policies of a checkpoint; its `name` holds no folder of this machine."""

    name: str
    task: ImitationTask
    clips: ReferenceClips
    policies: dict[str, ViewedPolicy]


def run(options: Namespace) -> int:
    """Shows a policy, by default the bundled teacher, and returns the exit status."""
    check_options(options, is_policy=True)
    path = options.path and options.path.expanduser()
    prepare_jax()
    if path is not None and find_stored(path)[0] == "task":
        return view_task.run(options, path)
    shown = _load(path, options)
    who = _who(options, shown)
    clip = clip_of(shown.clips, options.clip)
    start = Episodes(
        clip=jnp.array([clip], jnp.int32),
        start_frame=jnp.array([_start_frame(options, shown, clip)], jnp.int32),
        key=jax.random.split(jax.random.PRNGKey(_SEED), 1),
    )
    with terminate_cleanly():
        if options.browser:
            return _serve(shown, who, start, options.port)
        rollouts = _play(shown, who, start, options.seconds)
    stem = Path("teacher") if path is None else path.resolve()
    output = output_path(stem, shown.clips.names[clip], options)
    draw(shown.task.walker, _motions(shown, rollouts, who, options), output, options, "drawing")
    return 0


def _load(path: Path | None, options: Namespace) -> Shown:
    kind, found = find_stored(path) if path is not None else ("teacher", None)
    if kind == "student":
        stored = load_stored_student(str(found), clips=options.clips, mjcf=options.mjcf)
        policies = viewed_student_policies(stored.task, stored.clips, stored.loaded)
        name = f"{stored.run_dir.name}{stored.loaded.at_steps}"
        return Shown(name, stored.task, stored.clips, policies)
    experiment = load_stored_teacher(found, options.clips, options.mjcf)
    policies = {"teacher": viewed_teacher(experiment.teacher.policy)}
    return Shown(
        name_of_teacher(experiment, found), experiment.env.task, experiment.clips, policies
    )


def _who(options: Namespace, shown: Shown) -> list[str]:
    """Returns the policies to show, in order; the reference comes last by default."""
    known = [*shown.policies, REFERENCE]
    who = list(options.who or [name for name in known if name != "prior"])
    for name in who:
        if name not in known or who.count(name) > 1:
            raise UserError(
                f"--who: expected some of {', '.join(known)}, once each, found {name!r}"
            )
    if who == [REFERENCE]:
        raise UserError(
            "--who: expected a policy, found the reference alone; to see a clip, view its file"
        )
    return who


def _start_frame(options: Namespace, shown: Shown, clip: int) -> int:
    frame = round(options.start * shown.clips.rate_hz)
    last = int(shown.clips.lengths[clip]) - shown.task.frames_needed
    if frame > last:
        raise UserError(
            f"--start: expected at most {last / shown.clips.rate_hz:.2f} s in clip "
            f"{shown.clips.names[clip]!r}, found {options.start:g}"
        )
    return frame


def _play(
    shown: Shown, who: list[str], start: Episodes, seconds: float | None
) -> dict[str, Rollout]:
    """Runs one episode of each policy from the same start."""
    clips, timestep = shown.clips, shown.task.config.physics.control_timestep
    rest = int(clips.lengths[start.clip[0]]) - 1 - int(start.start_frame[0])
    num_steps = max(1, round((seconds or rest / clips.rate_hz) / timestep))
    rollouts = {}
    with frame_progress(Console(), "control steps") as progress:
        for name in who:
            if name == REFERENCE:
                continue
            policy = shown.policies[name]
            rollouts[name] = EpisodeRunner(shown.task, policy.ending).run(
                policy.actor(),
                clips,
                start,
                _SEED,
                num_steps=num_steps,
                progress=partial(progress, name),
            )
    return rollouts


def _motions(
    shown: Shown, rollouts: dict[str, Rollout], who: list[str], options: Namespace
) -> SideBySide:
    columns, rows = len(who), len(options.views)
    width, height = (
        2 * (n // (2 * parts)) for n, parts in zip(options.size, (columns, rows), strict=True)
    )
    control_hz = 1.0 / shown.task.config.physics.control_timestep
    return following(
        rollouts,
        shown.clips,
        0,
        views=options.views,
        beside=REFERENCE in who,
        ghosts=options.ghost,
        without_reward=[name for name, p in shown.policies.items() if not p.follows],
        pane_size=(width, height),
        fps=options.fps or default_fps(control_hz, options.speed),
        speed=options.speed,
        quick=False,
    )


def _serve(shown: Shown, who: list[str], start: Episodes, port: int) -> int:
    """Serves a page with all policies; the first of `who` starts."""
    first = next(name for name in who if name != REFERENCE)
    names = [first, *(name for name in shown.policies if name != first)]
    episode, activity = LiveEpisode(shown.task, shown.clips, _SEED), {}
    with frame_progress(Console(), "policies") as progress:
        for rank, name in enumerate(names):
            progress("compiling", rank, len(names))
            activity[name] = latent_activity(episode, shown.policies[name])
        progress("compiling", len(names), len(names))
    policies = {name: shown.policies[name] for name in names}
    begin = int(start.clip[0]), int(start.start_frame[0])

    def open_page(server: Any) -> Callable[[float], None]:
        scene = build_scene(shown.task.walker)
        page = LivePage(server, scene, episode, shown.clips, policies, activity, shown.name, *begin)
        return page.advance

    return serve_page(open_page, shown.name, port)
