"""The field's protocol: everyone plays the same clips from the same starts, at the mode and sampled.

Each clip is played once from its first frame and from drawn ones, to its end or the first failure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import EpisodeRunner, Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import Policy, TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy

STUDENT, TEACHER = "student", "teacher"
DETERMINISTIC, SAMPLED = "deterministic", "sampled"
ACTING = (DETERMINISTIC, SAMPLED)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EvaluatedPolicy:
    """Someone who follows clips.

    Attributes:
        name: unique in an evaluation.
        task: that it was trained in.
        actor_fn: of whether it samples.
    """

    name: str
    task: ImitationTask
    actor_fn: Callable[[bool], Policy]


def student_and_teacher(
    task: ImitationTask,
    student: StudentVAE,
    params: Any,
    teacher: FrozenPolicy,
    name: str = STUDENT,
) -> tuple[EvaluatedPolicy, EvaluatedPolicy]:
    """A student and its teacher; in both rollouts each says what it would do in the states visited."""

    def actor(teacher_acts: bool, sampled: bool) -> Policy:
        return StudentPolicy(params, teacher, jnp.bool_(teacher_acts), student, sampled, sampled)

    return (
        EvaluatedPolicy(name, task, partial(actor, False)),
        EvaluatedPolicy(
            TEACHER if name == STUDENT else f"{name}: {TEACHER}", task, partial(actor, True)
        ),
    )


def evaluated_teacher(task: ImitationTask, policy: FrozenPolicy, name: str) -> EvaluatedPolicy:
    """A teacher without a student."""
    return EvaluatedPolicy(name, task, partial(TeacherPolicy, policy))


def play_all(
    policies: Sequence[EvaluatedPolicy],
    clips: ReferenceClips,
    starts_per_clip: int = 2,
    acting: Sequence[str] = ACTING,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Rollout]]:
    """Rollouts by policy and way of acting; episode `e` starts alike in all of them.

    Args:
        policies: whose tasks have the same walker; those that share a task share its programs.
        clips: what is followed.
        starts_per_clip: the first of each clip is its first frame.
        acting: out of `ACTING`.
        seed: of frames, noise at the starts and what is sampled.
        progress: called with what is played, the control steps done and the most that can come.

    Raises:
        UserError: a clip is too short, or of another rate than a task's.
    """
    players = {id(s.task): EpisodeRunner(s.task) for s in policies}
    # who looks furthest ahead needs most of a clip: its frames serve everyone
    furthest = max(players.values(), key=lambda player: player.task.frames_needed)
    episodes = furthest.draw(clips, clips.num_clips * starts_per_clip, seed)
    return {
        policy.name: {
            how: players[id(policy.task)].run(
                policy.actor_fn(how == SAMPLED),
                clips,
                episodes,
                seed + 1,
                progress=progress and partial(progress, f"{policy.name}, {how}"),
            )
            for how in acting
        }
        for policy in policies
    }
