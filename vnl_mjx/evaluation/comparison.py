"""Student against teacher: the same clips, start frames and noise."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.struct
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import EpisodeRunner, Episodes, Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.vae_distillation import StudentPolicy


@flax.struct.dataclass
class Comparison:
    """The two rollouts of one evaluation: the student acts in one, the teacher in the other."""

    student: Rollout
    teacher: Rollout


class Evaluator:
    """Compiles once for deterministic and once for sampled acting, and serves every evaluation."""

    def __init__(self, task: ImitationTask, student: StudentVAE):
        """Takes the functions; parameters, policies and clips come with each call."""
        self._student, self._player = student, EpisodeRunner(task)

    def compare(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        seed: int,
        deterministic: bool = True,
    ) -> Comparison:
        """Runs `num_episodes` with the student acting, then the same with the teacher."""
        episodes = self._player.draw(clips, num_episodes, seed)
        play = partial(
            self.rollout, params, teacher, clips, episodes, seed, deterministic=deterministic
        )
        return Comparison(student=play(teacher_acts=False), teacher=play(teacher_acts=True))

    def rollout(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        episodes: Episodes | int,
        seed: int,
        *,
        teacher_acts: bool,
        deterministic: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Rollout:
        """Plays with one of the two acting; `rollout.steps.extra` is `Visited`.

        Args:
            params: the student's.
            teacher: who labels, and acts where `teacher_acts`.
            clips: what is followed.
            episodes: where they begin, or how many `seed` draws.
            seed: of the noise.
            teacher_acts: else the student does.
            deterministic: act at the posterior mean (the mode), else at a sample.
            progress: see `EpisodeRunner.play`.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        if isinstance(episodes, int):
            episodes = self._player.draw(clips, episodes, seed)
        actor = StudentPolicy(
            params,
            teacher,
            jnp.bool_(teacher_acts),
            self._student,
            not deterministic,
            not deterministic,
        )
        return self._player.run(actor, clips, episodes, seed + 1, progress=progress)
