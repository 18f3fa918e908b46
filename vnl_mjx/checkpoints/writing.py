"""Writing checkpoints with Orbax: in the background, whole or not at all, and what a failure says."""

import errno
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vnl_mjx.errors import UserError, first_line

# Free space to leave beyond the arrays themselves: Orbax's own files, and metrics and plots to come.
_RESERVE_BYTES = 10_000_000


class PathFreeTemporaryPath(ocp.path.atomicity.AtomicRenameTemporaryPath):
    """Orbax's write-then-rename; its mark of success then says no more than that.

    Orbax writes the destination's absolute path into the mark. A checkpoint is to be copied and shared.
    """

    async def finalize(self) -> None:
        """Renames the folder, as Orbax does, and rewrites the mark."""
        await super().finalize()
        (self.get_final() / "commit_success.txt").write_text("Checkpoint commit was successful")


def open_manager(
    folder: Path, items: Sequence[str], **options: Any
) -> "ocp.CheckpointManager | NoManager":
    """A manager of `folder`, which it creates, that writes in the background, all of a step or nothing.

    Of several processes the first one writes.

    Raises:
        UserError: the folder cannot be written.
    """
    if jax.process_index() > 0:
        return NoManager()
    # Orbax logs a page of tracebacks for each failed write, which reaches us as an exception too.
    logging.getLogger("absl").addFilter(_is_not_from_orbax)
    alone = {}
    if jax.process_count() > 1:  # else Orbax waits for the others at every turn
        alone["create"] = False
        alone["multiprocessing_options"] = ocp.options.MultiprocessingOptions(active_processes={0})
    every = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
        temporary_path_class=PathFreeTemporaryPath,
        **alone,
        **options,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(folder, options=every, item_names=tuple(items))
    except OSError as error:
        raise write_error(folder, error) from error


class NoManager:
    """What stands for a manager in the processes that do not write."""

    def latest_step(self) -> int | None:
        """None is known here."""
        return None

    def all_steps(self) -> Sequence[int]:
        """Nor any other."""
        return ()

    def save(self, *arguments: Any, **options: Any) -> None:
        """Leaves that to the first process, as all that follows."""

    delete = wait_until_finished = close = save


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within it, whatever Orbax raises (it wraps a full disk in several types) is a `write_error`."""
    try:
        yield
    except Exception as error:
        raise write_error(folder, error) from error


def check_space(folder: Path, needed: int) -> None:
    """Raises UserError where `needed` bytes do not fit on the disk.

    Before writing: half-written checkpoints would fill the disk to the last byte, and TensorStore
    prints a page from its own threads for each array that it cannot write.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE_BYTES:
        found = f"{free / 1e6:.0f} MB free, {(needed + _RESERVE_BYTES) / 1e6:.0f} MB needed"
        raise write_error(folder, OSError(errno.ENOSPC, found))


def write_error(folder: Path, error: BaseException) -> UserError:
    """The error of a checkpoint that could not be written."""
    is_full = "RESOURCE_EXHAUSTED" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
    # TensorStore adds the source locations of its own C++ code.
    reason = "the disk is full" if is_full else first_line(error).split(" [source locations")[0]
    if is_full and isinstance(error, OSError):
        reason += f": {error.strerror}"
    return UserError(
        f"{folder}: cannot write the checkpoint ({reason}); free some space or choose "
        "another run_dir, then start again: the run resumes from its last complete checkpoint"
    )


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
