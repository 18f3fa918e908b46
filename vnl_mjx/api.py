"""Loads a stored teacher or student with its body, environment and clips: `vnl_mjx.load`."""

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
        policy: the teacher or student as a policy that acts at its mode, for `training.rollout.rollout`.
        teacher: the teacher, or the one that the student was distilled from. `teacher.act(observation)` takes
            raw flat observations (`Observation.flat`) and gives `action` and more.
        env: the environment of both.
        clips: all reference clips, the `data` of `env`.
        walker: the body.
        student_or_none: the student; None if a teacher was loaded. `student` raises an error instead.
    """

    policy: Policy
    teacher: FrozenPolicy
    env: ImitationEnvironment
    clips: ReferenceClips
    walker: Walker
    student_or_none: Student | None = None

    @property
    def student(self) -> Student:
        """Returns the student.

        Raises:
            UserError: a teacher was loaded.
        """
        if self.student_or_none is None:
            raise UserError(
                "student: expected a student, found a teacher; distil one (vnl-mjx distill)"
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
        clips: file of clips to use in place of the run's; for a teacher, None means the bundled clips.
        mjcf: new path of the run's MJCF or body file, if it has moved.
        backend: "mujoco" (C), "mjx", "warp" or "auto".

    Raises:
        UserError: something is missing, damaged or does not fit.
    """
    physics = PhysicsSection(backend)
    is_bundled = path is None or path == DEMO
    kind, found = ("teacher", None) if is_bundled else find_stored(Path(path).expanduser())
    if kind == "file":
        raise UserError(f"{path}: expected a run folder or a checkpoint, found a file")
    if kind == "task":
        raise UserError(
            f"{path}: expected a student or a teacher, found a policy of a task; give its low level"
        )
    if kind == "student":
        stored = load_stored_student(str(found), clips=clips, mjcf=mjcf, physics=physics)
        loaded, env, data = stored.loaded, ImitationEnvironment(stored.task), stored.clips
        student = loaded.for_use()
        teacher = student.teacher
        policy = StudentPolicy(student.params, teacher, jnp.bool_(False), loaded.student)
    else:
        experiment = load_stored_teacher(found, clips, mjcf, physics=physics)
        teacher = jax.tree.map(jnp.asarray, experiment.teacher.policy)
        student, env, data = None, experiment.env, experiment.clips
        policy = TeacherPolicy(teacher)
    clips_on_device = jax.tree.map(jnp.asarray, data)
    return Loaded(policy, teacher, env, clips_on_device, env.task.walker, student)
