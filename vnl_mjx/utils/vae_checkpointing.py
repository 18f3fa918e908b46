"""Checkpoints of a distillation run, and students read from them.

Besides what `run_checkpointing` describes, a checkpoint holds `student`, the student's parameters alone, and
`teacher`, the frozen policy.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.checkpoints.run import (
    CHECKPOINT_FOLDER,
    RunCheckpointer,
    read_metadata,
    unflatten,
)
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig
from vnl_mjx.models.vae import StudentVAE, VaeConfig

FORMAT_VERSION = 1
_REQUIRED_METADATA = ("teacher_network", "vae")


@dataclass(frozen=True)
class LoadedStudent:
    """A student read for use, not for resuming.

    Attributes:
        student: its functions.
        params: its parameters (NumPy).
        teacher: the frozen policy that it was distilled from, whose statistics normalise its observations.
        metadata: what the run recorded (see `vnl_mjx.commands.train.distill`).
        env_steps: environment steps of the checkpoint.
        path: the checkpoint's folder.
    """

    student: StudentVAE
    params: Any
    teacher: FrozenPolicy
    metadata: dict[str, Any]
    env_steps: int
    path: Path


class VaeCheckpointer(RunCheckpointer):
    """Writes and restores the checkpoints of one run folder."""

    def __init__(self, run_dir: Path, keep_last: int = 3, keep_best: int = 1):
        """Opens (and creates) the checkpoint folder; the best have the lowest metric."""
        super().__init__(run_dir, ("student", "teacher"), keep_last, keep_best, best="lowest")

    def save(
        self,
        env_steps: int,
        state: Any,
        params: Any,
        teacher: FrozenPolicy,
        metadata: Mapping[str, Any],
        metric: float,
    ) -> None:
        """Copies everything to host memory and writes it in the background.

        Args:
            env_steps: name of the checkpoint.
            state: training state, any pytree of arrays.
            params: the student's parameters (a part of `state`, stored apart for readers).
            teacher: the frozen policy.
            metadata: JSON-able; `vae` and `teacher` configurations are added to it here.
            metric: lower is better, for keep-best.

        Raises:
            UserError: this or the previous write failed; what was complete before is untouched.
        """
        document = {
            **metadata,
            "format_version": FORMAT_VERSION,
            "teacher_network": asdict(teacher.config),
        }
        items = {"student": params, "teacher": _teacher_arrays(teacher)}
        self.save_items(env_steps, state, items, document, metric)

    def metadata(self, env_steps: int) -> dict[str, Any]:
        """What the checkpoint of `env_steps` recorded."""
        return read_metadata(self.folder / str(env_steps), _REQUIRED_METADATA)


def resolve_checkpoint(path: Path | str, step: int | None = None) -> Path:
    """Finds one checkpoint folder from a run folder, its `checkpoints` folder or a checkpoint itself.

    Args:
        path: what the user gave.
        step: environment steps; the newest by default.

    Raises:
        UserError: nothing is there, or not that step.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(
            f"checkpoint_path: {path} does not exist; give a run folder or a checkpoint in it"
        )
    if (path / "metadata").is_dir() and (path / "student").is_dir():
        return path
    folder = path / CHECKPOINT_FOLDER if (path / CHECKPOINT_FOLDER).is_dir() else path
    steps = (
        sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
    )
    if not steps:
        raise UserError(
            f"checkpoint_path: {path} is not a student checkpoint; expected a run folder with "
            f"`{CHECKPOINT_FOLDER}/<environment steps>`, or one of those folders"
        )
    if step is not None and step not in steps:
        raise UserError(f"checkpoint_path: {folder} has no step {step}, it holds {steps}")
    return folder / str(steps[-1] if step is None else step)


def load_student(path: Path | str, step: int | None = None) -> LoadedStudent:
    """Reads a student, its teacher and the run's metadata; see `resolve_checkpoint` for `path`.

    Raises:
        UserError: not a checkpoint of this package, a damaged one, or one of a newer format.
    """
    folder = resolve_checkpoint(path, step)
    metadata = read_metadata(folder, _REQUIRED_METADATA)
    if metadata["format_version"] > FORMAT_VERSION:
        raise UserError(
            f"{folder}: checkpoint format {metadata['format_version']}, this version reads up to "
            f"{FORMAT_VERSION}; update vnl-mjx"
        )
    network = {
        k: tuple(v) if isinstance(v, list) else v for k, v in metadata["teacher_network"].items()
    }
    teacher = read_arrays(folder / "teacher")
    return LoadedStudent(
        student=StudentVAE(VaeConfig.from_dict(metadata["vae"])),
        params=unflatten(read_arrays(folder / "student")),
        teacher=FrozenPolicy(
            params=unflatten(
                {
                    k.removeprefix("params."): v
                    for k, v in teacher.items()
                    if k.startswith("params.")
                }
            ),
            obs_mean=teacher["obs_mean"],
            obs_std=teacher["obs_std"],
            config=IntentionConfig(**network),
        ),
        metadata=metadata,
        env_steps=metadata["env_steps"],
        path=folder,
    )


def _teacher_arrays(teacher: FrozenPolicy) -> dict[str, Any]:
    return {"params": teacher.params, "obs_mean": teacher.obs_mean, "obs_std": teacher.obs_std}
