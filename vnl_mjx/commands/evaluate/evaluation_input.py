"""The policies of an evaluation: a student, its teacher, and further checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.stored import (
    StoredStudent,
    find_stored,
    load_stored_student,
    load_stored_teacher,
)
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.protocol import EvaluatedPolicy, evaluated_teacher, student_and_teacher


@dataclass(frozen=True)
class EvaluationInput:
    """What an evaluation plays.

    Attributes:
        stored: the student that it is about.
        policies: it, its teacher, and the further ones; names are unique.
        clips: that are followed.
        sets: of each clip "train", "held_out" or "other".
    """

    stored: StoredStudent
    policies: tuple[EvaluatedPolicy, ...]
    clips: ReferenceClips
    sets: tuple[str, ...]


def load_evaluation_input(config: EvaluationConfig) -> EvaluationInput:
    """Loads and builds everything.

    Raises:
        UserError: something is missing, damaged or does not fit, or is no student.
    """
    path = Path(str(config.checkpoint_path)).expanduser()
    kind, _ = find_stored(path)
    if kind == "teacher":
        raise UserError(
            f"checkpoint_path: {path} is a teacher, expected a student; measure it with "
            f"vnl-mjx eval-teacher {path}, or distil it first (vnl-mjx distill "
            f"teacher_config.checkpoint_path={path})"
        )
    stored = load_stored_student(
        str(path),
        config.step,
        config.teacher_config.reference_data_path,
        config.walker_config.mjcf_path,
        config.reference_config,
        config.physics_config,
    )
    which, loaded = config.eval_config.clips, stored.loaded
    clips = range(stored.clips.num_clips)
    chosen = [clip for clip in clips if which in ("all", stored.set_of(clip))]
    if not chosen:
        raise UserError(
            f"eval_config.clips: none of {stored.clips.source} is known as {which}; "
            "give eval_config.clips=all"
        )
    policies = [
        *student_and_teacher(stored.task, loaded.student, loaded.params, loaded.teacher),
        *(s for other in config.compare_with for s in _further(other, stored, config)),
    ]
    names = [policy.name for policy in policies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"compare_with: {twice[0]} is named twice; rename the folder of one")
    return EvaluationInput(
        stored=stored,
        policies=tuple(policies),
        clips=stored.clips.select(chosen),
        sets=tuple(stored.set_of(clip) for clip in chosen),
    )


def _further(given: str, stored: StoredStudent, config: EvaluationConfig) -> list[EvaluatedPolicy]:
    """A student without its teacher, or a teacher, on the clips of `stored`."""
    path = Path(given).expanduser()
    kind, found = find_stored(path)
    name = path.resolve().name
    body, cut, where = config.walker_config.mjcf_path, stored.reference, config.physics_config
    if kind == "student":
        other = load_stored_student(str(found), None, stored.clips_file, body, cut, where)
        loaded, task = other.loaded, other.task
        own = (loaded.student, loaded.params, loaded.teacher)
        policies = [student_and_teacher(task, *own, name=name)[0]]
    elif kind == "teacher":
        experiment = load_stored_teacher(
            found, stored.clips_file, body, reference=cut, physics=where
        )
        task = experiment.env.task
        policies = [evaluated_teacher(task, experiment.teacher.policy, name)]
    else:
        raise UserError(f"compare_with: {path} is a file, expected a student or a teacher")
    if task.walker.joint_names != stored.task.walker.joint_names:
        raise UserError(f"compare_with: {path} is of another body than {stored.loaded.path}")
    return policies
