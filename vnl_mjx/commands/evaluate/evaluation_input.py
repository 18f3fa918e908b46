"""The policies of an evaluation: a student, its teacher, and further checkpoints."""

from pathlib import Path

from vnl_mjx.commands.stored import (
    StoredStudent,
    find_stored,
    load_stored_student,
    load_stored_teacher,
)
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.protocol import EvaluatedPolicy, evaluated_teacher, student_and_teacher


def load_evaluated(config: EvaluationConfig) -> StoredStudent:
    """Loads the student that an evaluation is about."""
    path = Path(str(config.checkpoint_path)).expanduser()
    kind, _ = find_stored(path)
    if kind == "teacher":
        raise UserError(
            f"checkpoint_path: {path} is a teacher, expected a student; measure it with "
            f"vnl-mjx eval-teacher {path}, or distil it first (vnl-mjx distill "
            f"teacher_config.checkpoint_path={path})"
        )
    clips, body = config.teacher_config.reference_data_path, config.walker_config.mjcf_path
    cut, where = config.reference_config, config.physics_config
    return load_stored_student(str(path), config.step, clips, body, cut, where)


def policies_of(config: EvaluationConfig, stored: StoredStudent) -> list[EvaluatedPolicy]:
    """Returns the student, its teacher, and the further policies; names are unique."""
    loaded = stored.loaded
    policies = [
        *student_and_teacher(stored.task, loaded.student, loaded.params, loaded.teacher),
        *(policy for other in config.compare_with for policy in _further(other, stored, config)),
    ]
    names = [policy.name for policy in policies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"compare_with: {twice[0]} is named twice; rename the folder of one")
    return policies


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
