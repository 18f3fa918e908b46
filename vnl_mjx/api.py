"""A stored teacher or student with everything that it acts in: `vnl_mjx.load`."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.stored import find_stored, load_stored_student, load_stored_teacher
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.student import Student
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.tasks.policies import Policy, TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy
from vnl_mjx.walkers.walker import Walker

DEMO = "demo"


@dataclass(frozen=True)
class Loaded:
    """A stored teacher or student.

    Attributes:
        policy: what was loaded as a policy that acts at the mode, for `training.rollout.rollout`.
        teacher: the teacher, or the one that the student was distilled from. `teacher.act(observation)` takes
            raw flat observations (`Observation.flat`) and gives `action` and more.
        env: the environment of both.
        clips: all reference clips, the `data` of `env`.
        walker: the body.
        student_or_none: the student; None where a teacher was loaded. `student` is it or an error.
    """

    policy: Policy
    teacher: FrozenPolicy
    env: ImitationEnvironment
    clips: ReferenceClips
    walker: Walker
    student_or_none: Student | None = None

    @property
    def student(self) -> Student:
        """The student.

        Raises:
            UserError: a teacher was loaded.
        """
        if self.student_or_none is None:
            raise UserError(
                "student: a teacher was loaded, expected a student; distil one (vnl-mjx distill)"
            )
        return self.student_or_none


def load(
    path: str | Path | None = None,
    *,
    clips: str | Path | None = None,
    mjcf: str | Path | None = None,
    backend: str = "mujoco",
) -> Loaded:
    """Loads a teacher or a student and builds body, environment and clips.

    Args:
        path: run folder of a training or a distillation, a checkpoint in it, or a track-mjx checkpoint;
            "demo" or None for the bundled teacher.
        clips: other clips than the run's; of a teacher, the bundled ones if None.
        mjcf: MJCF or body file, where the run's has moved.
        backend: "mujoco" (C), "mjx", "warp" or "auto".

    Raises:
        UserError: something is missing, damaged or does not fit.
    """
    physics = PhysicsSection(backend)
    if path is None or path == DEMO:
        return _teacher(None, clips, mjcf, physics)
    kind, found = find_stored(Path(path).expanduser())
    if kind == "file":
        raise UserError(f"{path}: expected a run folder or a checkpoint, found a file")
    return (_student if kind == "student" else _teacher)(found, clips, mjcf, physics)


def _student(
    path: Path, clips: str | Path | None, mjcf: str | Path | None, physics: PhysicsSection
) -> Loaded:
    stored = load_stored_student(str(path), clips=_text(clips), mjcf=_text(mjcf), physics=physics)
    networks = stored.loaded.student
    params, teacher = jax.tree.map(jnp.asarray, (stored.loaded.params, stored.loaded.teacher))
    return Loaded(
        policy=StudentPolicy(params, teacher, jnp.bool_(False), networks),
        teacher=teacher,
        env=ImitationEnvironment(stored.task),
        clips=jax.tree.map(jnp.asarray, stored.clips),
        walker=stored.walker,
        student_or_none=Student(params, teacher, networks),
    )


def _teacher(
    path: Path | None, clips: str | Path | None, mjcf: str | Path | None, physics: PhysicsSection
) -> Loaded:
    file = None if clips is None else Path(clips)
    experiment = load_stored_teacher(path, file, _text(mjcf), physics=physics)
    teacher = jax.tree.map(jnp.asarray, experiment.teacher.policy)
    return Loaded(
        policy=TeacherPolicy(teacher),
        teacher=teacher,
        env=experiment.env,
        clips=jax.tree.map(jnp.asarray, experiment.clips),
        walker=experiment.walker,
    )


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
