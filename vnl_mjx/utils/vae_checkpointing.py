"""Writes checkpoints of a distillation run, and reads students from them.

Besides the items of `checkpoints.run`, a checkpoint holds `student`, the student's parameters alone, and
`teacher`, the frozen policy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.checkpoints.arrays import read_newest, tree_sha256
from vnl_mjx.checkpoints.run import (
    CHECKPOINT_FOLDER,
    RunCheckpointer,
    read_item,
    read_metadata,
    step_folders,
    unflatten,
)
from vnl_mjx.compat.track_mjx_loader import find_step, load_teacher, stored_kind
from vnl_mjx.compat.track_mjx_network import DISTILLED, WITH_PRIOR
from vnl_mjx.compat.track_mjx_student import as_student
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig
from vnl_mjx.models.student import Student
from vnl_mjx.models.vae import StudentVAE, VaeConfig

_REQUIRED_METADATA = ("teacher_network", "vae")


@dataclass(frozen=True)
class LoadedStudent:
    """Holds a student read for use, not for resuming.

    Attributes:
        student: functions of the student.
        params: its parameters (NumPy).
        teacher: the frozen policy that it was distilled from, whose statistics normalise its observations.
        metadata: metadata of the run (see `vnl_mjx.commands.train.run_folder`).
        env_steps: environment steps of the checkpoint; None if unknown.
        path: the checkpoint's folder.
        is_own_teacher: the checkpoint holds no teacher, and `teacher` is the student's own encoder and
            decoder.
    """

    student: StudentVAE
    params: Any
    teacher: FrozenPolicy
    metadata: dict[str, Any]
    env_steps: int | None
    path: Path
    is_own_teacher: bool = False

    @property
    def sha256(self) -> str:
        """The hash of its own parameters and its teacher's."""
        return tree_sha256(student_items(self.params, self.teacher))

    def for_use(self) -> Student:
        """Returns the student with its arrays on JAX's device."""
        params, teacher = jax.tree.map(jnp.asarray, (self.params, self.teacher))
        return Student(params, teacher, self.student)

    @property
    def at_steps(self) -> str:
        """The environment steps of its training as text after a name; empty if unknown."""
        return "" if self.env_steps is None else f" at {self.env_steps:,} environment steps"


def open_vae_checkpointer(run_dir: Path, keep_last: int = 3, keep_best: int = 1) -> RunCheckpointer:
    """Opens (and creates) the checkpoint folder of a distillation; the best have the lowest metric."""
    return RunCheckpointer(run_dir, ("student", "teacher"), keep_last, keep_best, best="lowest")


def student_items(params: Any, teacher: FrozenPolicy) -> dict[str, Any]:
    """Returns the items of a checkpoint besides the training state, for `load_student`."""
    return {"student": params, "teacher": policy_item(teacher)}


def policy_item(policy: FrozenPolicy) -> dict[str, Any]:
    """Returns the arrays of a policy, as stored."""
    return {"params": policy.params, "obs_mean": policy.obs_mean, "obs_std": policy.obs_std}


POLICY = "policy"
ITEMS = ("student", POLICY)  # items of a student's or a task's checkpoint


def find_checkpoints(path: Path | str, step: int | None = None) -> list[Path]:
    """Finds the checkpoints of a run folder, or of its `checkpoints`, newest first.

    A path to one checkpoint, or a `step`, finds that one alone.

    Raises:
        UserError: the path holds no checkpoint, or not that step.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"{path} does not exist; give a run folder or a checkpoint in it")
    if (path / "metadata").is_dir() and any((path / item).is_dir() for item in ITEMS):
        return [path]
    folder = path / CHECKPOINT_FOLDER if (path / CHECKPOINT_FOLDER).is_dir() else path
    found = step_folders(folder)
    if not found:
        raise UserError(
            f"{path} is not a student checkpoint; expected a run folder with "
            f"`{CHECKPOINT_FOLDER}/<environment steps>`, or one of those folders"
        )
    if step is None:
        return found
    if folder / str(step) not in found:
        steps = sorted(int(path.name) for path in found)
        raise UserError(f"{folder} has no step {step}, it holds {steps}")
    return [folder / str(step)]


def load_student(path: Path | str, step: int | None = None) -> LoadedStudent:
    """Reads a student, its teacher and the run's metadata; see `find_checkpoints` for `path`.

    Without a step, the newest that is not damaged, with a warning of those that are.

    A student of track-mjx (`DistillNetwork_<step>`, `PriorNetwork_<step>`) comes without a teacher: its own
    encoder and decoder take that place.

    Raises:
        UserError: the path holds no checkpoint of a student, a damaged one, or one of a newer format.
    """
    if stored_kind(Path(path).expanduser()) in (DISTILLED, WITH_PRIOR):
        return _upstream_student(Path(path).expanduser(), step)
    folders = find_checkpoints(path, step)
    if (folders[0] / POLICY).is_dir():
        raise UserError(
            f"{path}: expected a student, found a policy of a task; evaluate it with vnl-mjx eval-task"
        )
    return read_newest(folders, read_student)


def read_student(folder: Path) -> LoadedStudent:
    """Reads the student of one checkpoint, of a distillation or of a task; raises like `load_student`."""
    metadata = read_metadata(folder, _REQUIRED_METADATA)
    network = from_dict(
        IntentionConfig, _with_memory_sizes(metadata["teacher_network"]), f"{folder}: "
    )
    teacher = unflatten(read_item(folder, "teacher", metadata))
    return LoadedStudent(
        student=StudentVAE(from_dict(VaeConfig, metadata["vae"], f"{folder}: "), network),
        params=unflatten(read_item(folder, "student", metadata)),
        teacher=FrozenPolicy(**teacher, config=network),
        metadata=metadata,
        env_steps=metadata["env_steps"],
        path=folder,
    )


def _upstream_student(path: Path, step: int | None) -> LoadedStudent:
    folder, step = find_step(path, step)
    loaded = load_teacher(folder)
    student, params = as_student(loaded)
    metadata = {
        "teacher_source": f"the encoder and decoder of {folder.name} itself",
        "teacher_step": step,
        "identity": {
            "task": to_dict(loaded.task),
            "teacher_sha256": loaded.sha256,
            "clips_sha256": None,
        },
        "config": {"reference_config": {"clip_length": None, "rate_hz": None}},
        "reference_source": None,
        "walker_source": None,
        "walker": {},
        "versions": {},
    }
    return LoadedStudent(
        student, params, loaded.policy, metadata, None, folder, is_own_teacher=True
    )


def _with_memory_sizes(network: dict[str, Any]) -> dict[str, Any]:
    """Replaces an older version's number of recurrent layers by their widths."""
    if "lstm_num_layers" not in network:
        return network
    kept = {name: value for name, value in network.items() if not name.startswith("lstm_")}
    return kept | {"memory_sizes": [network["lstm_hidden_size"]] * network["lstm_num_layers"]}
