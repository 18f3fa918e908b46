"""Evaluates policies on the same clips from the same starts, at the mode and sampled.

Episodes end with the clip or at the first failure.
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
    """Holds a policy that follows clips in its own task; names are unique in an evaluation.

    `actor_fn` returns the `Policy`, given whether it samples; `acting` lists the ways in which it runs.
    """

    name: str
    task: ImitationTask
    actor_fn: Callable[[bool], Policy]
    acting: Sequence[str] = ACTING


def student_and_teacher(
    task: ImitationTask,
    student: StudentVAE,
    params: Any,
    teacher: FrozenPolicy,
    name: str = STUDENT,
) -> tuple[EvaluatedPolicy, EvaluatedPolicy]:
    """Returns a student and its teacher; both rollouts hold the actions of both in the visited states."""

    def actor(teacher_acts: bool, sampled: bool) -> Policy:
        return StudentPolicy(params, teacher, jnp.bool_(teacher_acts), student, sampled, sampled)

    return (
        EvaluatedPolicy(name, task, partial(actor, False)),
        EvaluatedPolicy(
            TEACHER if name == STUDENT else f"{name}: {TEACHER}", task, partial(actor, True)
        ),
    )


def evaluated_teacher(task: ImitationTask, policy: FrozenPolicy, name: str) -> EvaluatedPolicy:
    """Returns a teacher without a student."""
    return EvaluatedPolicy(name, task, partial(TeacherPolicy, policy))


class PolicyEvaluator:
    """Runs policies on the same clips from the same starts; compiles once per task and kind of policy."""

    def __init__(self):
        """Starts without runners; each task's runner is made when a policy first needs it."""
        self._runners: dict[ImitationTask, EpisodeRunner] = {}

    def run(
        self,
        policies: Sequence[EvaluatedPolicy],
        clips: ReferenceClips,
        num_episodes: int,
        acting: Sequence[str] = ACTING,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> dict[str, dict[str, Rollout]]:
        """Returns rollouts by policy and way of acting; episode `e` starts alike in all of them.

        The policies' tasks have the same walker. The first episode of each clip starts at its first frame,
        the others at random frames. `progress` is called with the name of the run, the control steps done
        and their maximum.

        Raises:
            UserError: a clip is too short, or of another rate than a task's.
        """
        for task in (policy.task for policy in policies):
            self._runners.setdefault(task, EpisodeRunner(task))
        runners = [self._runners[policy.task] for policy in policies]
        # start frames of the task that looks furthest ahead are valid for all tasks
        furthest = max(runners, key=lambda runner: runner.task.frames_needed)
        episodes = furthest.draw(clips, num_episodes, seed)
        return {
            policy.name: {
                how: runner.run(
                    policy.actor_fn(how == SAMPLED),
                    clips,
                    episodes,
                    seed + 1,
                    progress=progress and partial(progress, f"{policy.name}, {how}"),
                )
                for how in acting
                if how in policy.acting
            }
            for policy, runner in zip(policies, runners, strict=True)
        }

    def run_one(
        self,
        policy: EvaluatedPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        how: str = DETERMINISTIC,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Rollout:
        """Returns the rollout of one policy in one way of acting; see `run`."""
        return self.run([policy], clips, num_episodes, (how,), seed, progress)[policy.name][how]
