"""Writes checkpoints with Orbax in the background, whole or not at all, and explains failures."""

import errno
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vnl_mjx.errors import UserError, first_line

# Free space to leave beyond the arrays themselves: Orbax's own files, and metrics and plots to come.
_RESERVE_BYTES = 10_000_000


class PathFreeTemporaryPath(ocp.path.atomicity.AtomicRenameTemporaryPath):
    """Writes and renames as Orbax does, but records no path in its mark of success.

    Orbax writes the absolute path into that mark, and checkpoints are copied and shared.
    """

    async def finalize(self) -> None:
        """Renames the folder, as Orbax does, and rewrites the mark."""
        await super().finalize()
        (self.get_final() / "commit_success.txt").write_text("Checkpoint commit was successful")


def open_manager(
    folder: Path, items: Sequence[str], **options: Any
) -> "ocp.CheckpointManager | NoManager":
    """Creates `folder` and returns its manager, which writes in the background, all of a step or nothing.

    With several processes, the first one writes.

    Raises:
        UserError: the folder cannot be written.
    """
    if jax.process_index() > 0:
        return NoManager()
    # Orbax logs a page of tracebacks for each failed write, which reaches us as an exception too.
    logging.getLogger("absl").addFilter(_is_not_from_orbax)
    logging.getLogger("asyncio").addFilter(_is_not_from_tensorstore)
    _hide_reports_to_a_closed_loop()
    alone = {}
    if jax.process_count() > 1:  # otherwise Orbax waits for the other processes at each call
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
    """Takes the place of a manager in the processes that do not write."""

    def latest_step(self) -> int | None:
        """Returns None: only the first process knows the steps."""
        return None

    def all_steps(self) -> Sequence[int]:
        """Returns no steps; see `latest_step`."""
        return ()

    def save(self, *arguments: Any, **options: Any) -> None:
        """Does nothing, because the first process saves; the same holds for the methods below."""

    delete = wait_until_finished = close = save


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns any error of Orbax in the block into a `write_error`; a full disk comes as several types."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise write_error(folder, error) from error


def check_space(folder: Path, needed: int) -> None:
    """Raises UserError where `needed` bytes do not fit on the disk.

    Checked before writing: a half-written checkpoint would fill the disk, and TensorStore prints a page for
    each array that it cannot write.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE_BYTES:
        found = f"{free / 1e6:.0f} MB free, {(needed + _RESERVE_BYTES) / 1e6:.0f} MB needed"
        raise write_error(folder, OSError(errno.ENOSPC, found))


def write_error(folder: Path, error: BaseException) -> UserError:
    """Returns the error of a checkpoint that could not be written."""
    is_full = "RESOURCE_EXHAUSTED" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
    # TensorStore adds the source locations of its own C++ code.
    reason = "the disk is full" if is_full else first_line(error).split(" [source locations")[0]
    if is_full and isinstance(error, OSError):
        reason += f": {error.strerror}"
    return UserError(
        f"{folder}: cannot write the checkpoint ({reason}); free some space or choose "
        "another run_dir, then start again: the run resumes from its last complete checkpoint"
    )


@cache
def _hide_reports_to_a_closed_loop() -> None:
    """Keeps Python from printing a traceback for each array that could not be written.

    Orbax closes its event loop after the first failure, and TensorStore reports the others to it.
    """
    shown = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = hook


def _is_not_from_tensorstore(record: logging.LogRecord) -> bool:
    """Returns False for the other arrays that could not be written, of which asyncio tells at the end."""
    message = record.getMessage()
    return "never retrieved" not in message or not ("OCDBT" in message or "tensorstore" in message)


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
