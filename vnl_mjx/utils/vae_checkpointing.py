"""Checkpoints of a distillation run: atomic, asynchronous, complete enough to resume bit for bit.

Layout, one folder per kept step: `<run>/checkpoints/<environment steps>/{state, student, teacher, metadata}`.
`state` is the whole training state, `student` its parameters alone, `teacher` the frozen policy, `metadata`
JSON. Arrays are stored under their path in the tree, so that a reader needs no code of ours to find them.
Nothing in a checkpoint is an absolute path.
"""

import errno
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.utils.stored_arrays import read_arrays
from vnl_mjx.utils.temporary_path import PathFreeTemporaryPath

FORMAT_VERSION = 1
CHECKPOINT_FOLDER = "checkpoints"
_SEPARATOR = "."
# Free space to leave beyond the arrays themselves: Orbax's own files, and metrics and plots to come.
_RESERVE_BYTES = 10_000_000


@dataclass(frozen=True)
class LoadedStudent:
    """A student read for use, not for resuming.

    Attributes:
        student: its functions.
        params: its parameters (NumPy).
        teacher: the frozen policy that it was distilled from, whose statistics normalise its observations.
        metadata: what the run recorded (see `vnl_mjx.commands.distill`).
        env_steps: environment steps of the checkpoint.
        path: the checkpoint's folder.
    """

    student: StudentVAE
    params: Any
    teacher: FrozenPolicy
    metadata: dict[str, Any]
    env_steps: int
    path: Path


class VaeCheckpointer:
    """Writes and restores the checkpoints of one run folder."""

    def __init__(self, run_dir: Path, keep_last: int = 3, keep_best: int = 1):
        """Opens (and creates) the checkpoint folder of `run_dir`.

        Args:
            run_dir: the run folder.
            keep_last: newest checkpoints to keep.
            keep_best: further ones to keep, lowest metric first.

        Raises:
            UserError: the folder cannot be written.
        """
        self.folder = run_dir.resolve() / CHECKPOINT_FOLDER
        policies = ocp.checkpoint_managers
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_last),
                    policies.BestN(get_metric_fn=lambda m: m["loss"], reverse=True, n=keep_best),
                ]
            ),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
            temporary_path_class=PathFreeTemporaryPath,
        )
        # Orbax logs a page of tracebacks for each failed write, which reaches us as an exception too.
        logging.getLogger("absl").addFilter(_is_not_from_orbax)
        try:
            self._manager = ocp.CheckpointManager(
                self.folder,
                options=options,
                item_names=("state", "student", "teacher", "metadata"),
            )
        except OSError as error:
            raise _write_error(self.folder, error) from error

    def latest_step(self) -> int | None:
        """Environment steps of the newest complete checkpoint."""
        return self._manager.latest_step()

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
            "env_steps": env_steps,
            "teacher_network": asdict(teacher.config),
        }
        items = {
            "state": _flatten(state),
            "student": _flatten(params),
            "teacher": _flatten(_teacher_arrays(teacher)),
        }
        self.wait()
        self._check_space(sum(array.nbytes for item in items.values() for array in item.values()))
        try:
            self._manager.save(
                env_steps,
                metrics={"loss": float(metric)},
                args=ocp.args.Composite(
                    metadata=ocp.args.JsonSave(document),
                    **{name: ocp.args.StandardSave(item) for name, item in items.items()},
                ),
            )
        except Exception as error:  # Orbax wraps a full disk in several types.
            raise _write_error(self.folder, error) from error

    def restore(self, template: Any, env_steps: int) -> Any:
        """Reads the training state of `env_steps` into the structure of `template`.

        Raises:
            UserError: the checkpoint is damaged or holds another structure.
        """
        path = self.folder / str(env_steps)
        arrays = read_arrays(path / "state")
        expected = _flatten(template)
        for name in sorted(expected.keys() | arrays.keys()):
            found = arrays[name].shape if name in arrays else "nothing"
            wanted = expected[name].shape if name in expected else "nothing"
            if found != wanted:
                raise UserError(
                    f"{path}: cannot resume, {name} should have shape {wanted}, found {found}; "
                    "resume with the configuration that the run was started with"
                )
        leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
        restored = [
            jnp.asarray(arrays[_name(keys)], dtype=leaf.dtype) if leaf.size else leaf
            for keys, leaf in leaves
        ]
        return jax.tree.unflatten(treedef, restored)

    def metadata(self, env_steps: int) -> dict[str, Any]:
        """What the checkpoint of `env_steps` recorded."""
        return _read_metadata(self.folder / str(env_steps))

    def _check_space(self, needed: int) -> None:
        # Before writing: half-written checkpoints would fill the disk to the last byte, and TensorStore
        # prints a page from its own threads for each array that it cannot write.
        free = shutil.disk_usage(self.folder).free
        if free < needed + _RESERVE_BYTES:
            found = f"{free / 1e6:.0f} MB free, {(needed + _RESERVE_BYTES) / 1e6:.0f} MB needed"
            raise _write_error(self.folder, OSError(errno.ENOSPC, found))

    def wait(self) -> None:
        """Blocks until the last save is on disk.

        Raises:
            UserError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise _write_error(self.folder, error) from error

    def close(self) -> None:
        """Waits and releases the manager's threads; raises as `wait` does."""
        try:
            self.wait()
        finally:
            self._manager.close()


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
    metadata = _read_metadata(folder)
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
        params=_unflatten(read_arrays(folder / "student")),
        teacher=FrozenPolicy(
            params=_unflatten(
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


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _teacher_arrays(teacher: FrozenPolicy) -> dict[str, Any]:
    return {"params": teacher.params, "obs_mean": teacher.obs_mean, "obs_std": teacher.obs_std}


def _name(keys) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator=_SEPARATOR)


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    # Real copies: on a CPU a plain view would share memory with buffers that the next update reuses.
    # Arrays of no elements cannot be stored, nor need they be.
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(keys): np.array(leaf, copy=True) for keys, leaf in leaves if leaf.size}


def _unflatten(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return flax.traverse_util.unflatten_dict(arrays, sep=_SEPARATOR)


def _read_metadata(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "metadata" / "metadata").read_text(encoding="utf-8"))
        missing = {"format_version", "env_steps", "teacher_network", "vae"} - document.keys()
        if missing:
            raise ValueError(f"no {sorted(missing)[0]} in it")
        return document
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder}: cannot read its metadata ({_first_line(error)}); the checkpoint is incomplete or "
            "damaged, use another step of the run"
        ) from error


def _write_error(folder: Path, error: BaseException) -> UserError:
    is_full = "RESOURCE_EXHAUSTED" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
    reason = "the disk is full" if is_full else _first_line(error)
    if is_full and isinstance(error, OSError):
        reason += f": {error.strerror}"
    return UserError(
        f"{folder}: cannot write the checkpoint ({reason}); free some space or choose "
        "another run_dir, then start again: the run resumes from its last complete checkpoint"
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    # TensorStore adds the source locations of its own C++ code.
    return text.splitlines()[0].split(" [source locations")[0][:200]
