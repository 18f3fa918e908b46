"""Writes checkpoints of a training in a student's latent space, and reads policies from them.

A checkpoint holds the items of a student's checkpoint (`vae_checkpointing`), for the low level, and
`policy`, the task's policy.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vnl_mjx.checkpoints.arrays import read_newest
from vnl_mjx.checkpoints.run import RunCheckpointer, read_item, read_metadata, unflatten
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.demo import DEMO_STUDENT
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig
from vnl_mjx.utils.vae_checkpointing import (
    POLICY,
    LoadedStudent,
    find_checkpoints,
    load_student,
    policy_item,
    read_student,
    student_items,
)


@dataclass(frozen=True)
class LoadedTask:
    """Holds a policy of a task, read for use.

    Attributes:
        policy: policy, which reads goal and proprioception.
        low_level: the student below it; its metadata are those of the task's run.
    """

    policy: FrozenPolicy
    low_level: LoadedStudent

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the run."""
        return self.low_level.metadata


def open_task_checkpointer(run_dir: Path, keep_last: int, keep_best: int) -> RunCheckpointer:
    """Opens (and creates) the checkpoint folder of a run; the best have the highest metric."""
    return RunCheckpointer(
        run_dir, (POLICY, "student", "teacher"), keep_last, keep_best, best="highest"
    )


def task_items(policy: FrozenPolicy, low_level: LoadedStudent) -> dict[str, Any]:
    """Returns the items of a checkpoint besides the training state, for `load_task`."""
    return {POLICY: policy_item(policy), **student_items(low_level.params, low_level.teacher)}


def load_task(path: Path | str, step: int | None = None) -> LoadedTask:
    """Reads the policy of a run folder, its `checkpoints` or a checkpoint.

    Without a step, the newest that is not damaged, with a warning of those that are.

    Raises:
        UserError: the path holds no checkpoint of a task, a damaged one, or one of a newer format.
    """
    return read_newest(find_checkpoints(path, step), _read_task)


def _read_task(folder: Path) -> LoadedTask:
    metadata = read_metadata(folder, (POLICY, "config", "identity"))
    if (folder / "student").is_dir():
        low_level = read_student(folder)
    else:  # a bundled policy: its student is bundled too
        bundled, recorded = load_student(DEMO_STUDENT), metadata["identity"]["low_level_sha256"]
        low_level = replace(
            bundled, metadata=metadata, env_steps=metadata["env_steps"], path=folder
        )
        if bundled.sha256 != recorded:
            raise UserError(
                f"{folder}: expected a student beside the policy, or the bundled one to be that of "
                f"{recorded[:8]}, found another ({bundled.sha256[:8]})"
            )
    config = from_dict(IntentionConfig, metadata[POLICY], f"{folder}: ")
    arrays = unflatten(read_item(folder, POLICY, metadata))
    return LoadedTask(FrozenPolicy(**arrays, config=config), low_level)
