"""Student and teacher of a distillation, evaluated during training."""

from typing import Any

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.protocol import (
    DETERMINISTIC,
    SAMPLED,
    PolicyEvaluator,
    student_and_teacher,
)
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.imitation import ImitationTask


class Evaluator:
    """`PolicyEvaluator` for one student and its teacher, whose parameters come with each call."""

    def __init__(self, task: ImitationTask, student: StudentVAE):
        """Takes what does not change during training."""
        self._task, self._student, self._evaluator = task, student, PolicyEvaluator()

    def compare(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        seed: int,
        deterministic: bool = True,
    ) -> dict[str, Rollout]:
        """Returns the rollouts "student" and "teacher"; `steps.extra` holds actions and latents of both.

        Args:
            params: the student's.
            teacher: acts in one of the rollouts, labels in both.
            clips: what is followed.
            num_episodes: see `PolicyEvaluator.run`.
            seed: of start frames and noise.
            deterministic: act at the mode, else sample.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        both = student_and_teacher(self._task, self._student, params, teacher)
        how = DETERMINISTIC if deterministic else SAMPLED
        played = self._evaluator.run(both, clips, num_episodes, (how,), seed)
        return {name: ways[how] for name, ways in played.items()}

    def rollout(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        seed: int,
        *,
        teacher_acts: bool,
    ) -> Rollout:
        """Returns one of the two rollouts of `compare`, at the mode."""
        both = student_and_teacher(self._task, self._student, params, teacher)
        policy = both[int(teacher_acts)]
        played = self._evaluator.run([policy], clips, num_episodes, (DETERMINISTIC,), seed)
        return played[policy.name][DETERMINISTIC]
