"""`vnl-mjx rollout`: makes reference clips from a teacher's rollouts: feasible and repeatable motion."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.file import POSES, ClipRow, write_clip_file
from vnl_mjx.clips.quality import assess
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import load_stored_teacher, name_of_teacher
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.episode_metrics import episode_metrics
from vnl_mjx.evaluation.prior_rollouts import fallen
from vnl_mjx.evaluation.rollout import EndFunction, EpisodeRunner, Rollout
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.walkers.walker import Walker


class SimulatedClip(NamedTuple):
    """Holds a simulated clip: qpos, float32 [frame, nq], at the rate of the clip that it followed."""

    name: str
    qpos: np.ndarray
    info: ClipInfo


def run(args: argparse.Namespace) -> int:
    """Makes the clips; returns the exit status."""
    source = args.clips.expanduser() if args.clips else DEMO_CLIPS
    check_output(args.output, [source], args.overwrite)
    prepare_jax()
    experiment = load_stored_teacher(args.checkpoint, args.clips, args.mjcf)
    console, clips = Console(), experiment.clips
    for message in experiment.teacher.warnings:
        warn(console, message)
    made_by, task = name_of_teacher(experiment, args.checkpoint), experiment.env.task
    policy, own_task = TeacherPolicy(experiment.teacher.policy), task
    if args.drift is not None:
        family = task.config.termination.family
        if family != "track_mjx":
            raise UserError(
                f"--drift: expected a teacher whose termination family is track_mjx, found {family}"
            )
        limits = replace(task.config.termination, max_pos_error=args.drift**2)
        task = ImitationTask(replace(task.config, termination=limits), task.walker, task.physics)
    with terminate_cleanly():
        with frame_progress(console, "control steps") as progress:
            shown = partial(progress, "playing")
            runner = EpisodeRunner(task, or_fallen(task.walker, clips))
            made, left_out = played(runner, policy, clips, made_by, args, shown)
            if args.attempts > 1 and made:
                made, more = best_followed(made, policy, own_task, clips.rate_hz, args.seed)
                left_out |= more
        check_made(args.output, made, left_out)
        options = {
            name: getattr(args, name) for name in ("seconds", "settle", "seed", "drift", "attempts")
        }
        metadata = {
            "options": {"walker_config": to_dict(BodySection.of(experiment.walker.config))},
            "rollout": {
                **options,
                "teacher": made_by,
                "teacher_sha256": experiment.teacher.sha256,
                "clips": Path(clips.source).name,
                "clips_sha256": clips.sha256,
                "left_out": left_out,
            },
        }
        write_simulated(args.output, experiment.walker, clips.rate_hz, made, metadata, args.compact)
    title = "Simulated motion (a policy acted, no animal)"
    report_simulated(console, title, made, left_out, args, clips.rate_hz)
    return 0


def or_fallen(walker: Walker, clips: ReferenceClips) -> EndFunction:
    """Returns the `EndFunction` of a task whose episodes also fail when the body falls (`fallen`)."""
    falls = fallen(walker, clips)

    def ending(state: ImitationState, outcome: StepOutcome) -> tuple[jax.Array, jax.Array]:
        fell, _ = falls(state, outcome)
        return outcome.terminated | fell, outcome.truncated & ~fell

    return ending


def played(
    runner: EpisodeRunner,
    policy: TeacherPolicy,
    clips: ReferenceClips,
    made_by: str,
    args: argparse.Namespace,
    progress: Callable[[int, int], None],
) -> tuple[list[SimulatedClip], dict[str, str]]:
    """Returns what `cut_rollout` makes of all attempts, and why some clips have no successful attempt."""
    made, reasons = [], {}
    for seed in range(args.seed, args.seed + args.attempts):
        episodes = runner.draw(clips, clips.num_clips, seed)
        found, failed = cut_rollout(
            runner.run(policy, clips, episodes, seed, progress=progress),
            clips,
            made_by,
            settle_s=args.settle,
            seconds=args.seconds,
            min_frames=runner.task.frames_needed,
        )
        made, reasons = made + found, failed | reasons
    names = {clip.name for clip in made}
    return made, {name: reason for name, reason in reasons.items() if name not in names}


def best_followed(
    made: Sequence[SimulatedClip],
    policy: TeacherPolicy,
    task: ImitationTask,
    rate_hz: float,
    seed: int,
) -> tuple[list[SimulatedClip], dict[str, str]]:
    """Selects for each name the clip that `policy` tracks best to its end; returns reasons for the others.

    The measure is `completed_fraction` of one episode in `task` from the clip's first frame.
    """
    qpos, lengths = [clip.qpos for clip in made], [len(clip.qpos) for clip in made]
    clips = clips_from_poses(task.walker, np.concatenate(qpos), lengths, rate_hz)
    runner = EpisodeRunner(task)
    rollout = runner.run(policy, clips, runner.draw(clips, clips.num_clips, seed), seed)
    found = episode_metrics(rollout, clips, task.walker, task.config.reward)["completed_fraction"]
    best: dict[str, int] = {}
    for row, clip in enumerate(made):
        if found[row] > found[best.setdefault(clip.name, row)]:
            best[clip.name] = row
    kept = [row for row in best.values() if rollout.survived[row]]
    lost = {made[row].name for row in set(best.values()) - set(kept)}
    return [made[row] for row in kept], dict.fromkeys(lost, "the teacher cannot repeat this motion")


def check_made(output: Path, made: list[SimulatedClip], left_out: dict[str, str]) -> None:
    """Raises UserError if no clip was made; `left_out` holds the reasons."""
    if not made:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{output}: not written, no clip is left ({reasons})")


def write_simulated(
    output: Path,
    walker: Walker,
    rate_hz: float,
    made: list[SimulatedClip],
    metadata: dict[str, Any],
    compact: bool,
) -> None:
    """Writes simulated clips with all features, or with poses alone if `compact`."""
    computer = FeatureComputer(walker)
    stored = POSES if compact else FEATURES
    with write_clip_file(output, walker, rate_hz, metadata, features=stored) as writer:
        for clip in made:
            features = computer(clip.qpos, [len(clip.qpos)], rate_hz)
            quality = assess(walker, features, rate_hz, feet=computer.foot_heights).numbers()
            writer.append(features, ClipRow(clip.name, len(clip.qpos), clip.info, quality))


def cut_rollout(
    rollout: Rollout,
    clips: ReferenceClips,
    played_by: str,
    *,
    settle_s: float = 0.2,
    seconds: float = 5.0,
    min_frames: int = 2,
) -> tuple[list[SimulatedClip], dict[str, str]]:
    """Returns the surviving episodes as clips at the clips' rate, and why other clips were left out.

    `rollout` follows each of `clips` once, from its first frame; `played_by` goes into `ClipInfo.made_by`.
    The first `settle_s` seconds are left out, because the actuators are still slack. A new clip lasts at
    most `seconds` and has at least `min_frames`.

    Raises:
        UserError: control steps do not fall on the frames of the clips.
    """
    stride = _steps_per_frame(rollout.control_hz, clips.rate_hz)
    left_out, made = {}, []
    for episode, clip in enumerate(rollout.episodes.clip.tolist()):
        lived_s = rollout.steps.alive[:, episode].sum() / rollout.control_hz
        reason = "" if rollout.survived[episode] else f"failed after {lived_s:.2f} s"
        first, qpos = trimmed(rollout.qpos_of(episode)[::stride], clips.rate_hz, settle_s, seconds)
        if not reason and len(qpos) < min_frames:
            reason = f"{len(qpos)} frames are left, of at least {min_frames}"
        if reason:
            left_out[clips.names[clip]] = reason
            continue
        name = clips.names[clip]
        made.append(simulated_clip(clips, clip, qpos, first, f"rollout of {played_by} on {name}"))
    return made, left_out


def trimmed(
    qpos: np.ndarray, rate_hz: float, settle_s: float, seconds: float
) -> tuple[int, np.ndarray]:
    """Returns the first kept frame of `qpos` [frame, nq], and the poses from there on.

    The cut is rounded up to a whole frame, so that the new clip's time in its source is known.
    """
    first = int(np.ceil(settle_s * rate_hz - 1e-6))
    return first, qpos[first:][: round(seconds * rate_hz)]


def simulated_clip(
    clips: ReferenceClips, clip: int, qpos: np.ndarray, first: int, made_by: str
) -> SimulatedClip:
    """Returns a simulated clip that starts above the origin and follows a clip from frame `first` on."""
    qpos = np.array(qpos, np.float32)
    if root := clips.layout.root:
        qpos[:, root.position][:, :2] -= qpos[0, root.position][:2].copy()
    start_s = int(np.asarray(clips.starts)[clip]) / clips.rate_hz
    info = clips.info[clip] if clips.info else ClipInfo(source=clips.source, start_s=start_s)
    info = replace(
        info,
        start_s=info.start_s + first / clips.rate_hz,
        label=info.label or clips.names[clip],
        made_by=made_by + (f" ({info.made_by})" if info.made_by else ""),
    )
    return SimulatedClip(clips.names[clip], qpos, info)


def _steps_per_frame(control_hz: float, rate_hz: float) -> int:
    steps = round(control_hz / rate_hz)
    if steps < 1 or abs(steps * rate_hz / control_hz - 1.0) > 1e-6:
        raise UserError(
            f"the teacher acts at {control_hz:g} Hz, expected a whole multiple of the clips' "
            f"{rate_hz:g} Hz; resample the clips first (vnl-mjx preprocess)"
        )
    return steps


def report_simulated(
    console: Console,
    title: str,
    made: list[SimulatedClip],
    left_out: dict[str, str],
    args: argparse.Namespace,
    rate_hz: float,
) -> None:
    """Prints which clips were kept, and which were left out and why."""
    wanted = round(args.seconds * rate_hz)
    rows = {
        clip.name: f"{len(clip.qpos) / rate_hz:.2f} s"
        + ("" if len(clip.qpos) >= wanted else ", to the end of what it follows")
        for clip in made
    }
    print_table(console, title, rows)
    for name, reason in left_out.items():
        warn(console, f"{name}: left out, {reason}")
    frames = int(np.sum([len(clip.qpos) for clip in made]))
    size = args.output.stat().st_size / 1e6
    console.print(
        f"{len(made)} of {len(made) + len(left_out)} clips, {frames} frames, {size:.1f} MB: "
        f"{args.output}",
        soft_wrap=True,
    )
