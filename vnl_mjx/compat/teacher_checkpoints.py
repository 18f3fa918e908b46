"""A teacher's checkpoints as track-mjx stores them, beside those of its training.

`<run>/checkpoints/<environment steps>` holds the whole training state (`checkpoints.run`), and
`<run>/teacher/PPONetwork_<environment steps>` the same teacher in track-mjx's layout, which is what
track-mjx, `track_mjx_loader` and `vnl-mjx distill` read. The same steps are kept in both.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.checkpoints.writing import open_manager, writing
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX
from vnl_mjx.compat.track_mjx_writer import track_mjx_items

TEACHER_FOLDER = "teacher"


def open_teacher_checkpointer(
    run_dir: Path, config: Mapping[str, Any], keep_last: int = 3, keep_best: int = 1
) -> RunCheckpointer:
    """Opens (and creates) both folders; the best checkpoints have the highest metric.

    Args:
        run_dir: the run folder.
        config: of the teacher in track-mjx's keys (`track_mjx_writer.track_mjx_config`).
        keep_last: newest checkpoints to keep.
        keep_best: further ones to keep.

    Raises:
        UserError: a folder cannot be written.
    """
    export = TrackMjxFolder(run_dir.resolve() / TEACHER_FOLDER, config)
    return RunCheckpointer(run_dir, (), keep_last, keep_best, "highest", export)


class TrackMjxFolder:
    """A folder of `PPONetwork_<step>`, written in the background."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        """Opens (and creates) the folder; `config` is the teacher's in track-mjx's keys."""
        self._folder, self._config = folder, config
        items = ("policy", "train_state", "config")
        self._manager = open_manager(folder, items, step_prefix=STEP_PREFIX)

    def steps(self) -> list[int]:
        """Returns the steps that are there or being written."""
        return list(self._manager.all_steps())

    def keep(self, steps: Collection[int]) -> None:
        """Removes all other steps."""
        for step in set(self.steps()) - set(steps):
            self._manager.delete(step)

    def save(self, step: int, exported: Mapping[str, Any]) -> None:
        """Copies a training state in track-mjx's layout (`training.track_mjx_state`) and writes it."""
        copy = jax.tree.map(lambda leaf: np.array(leaf, copy=True), dict(exported))
        items = track_mjx_items(
            copy["params"]["policy"], copy["normalizer_params"], self._config, copy
        )
        with writing(self._folder):
            self._manager.save(step, args=items, force=True)

    def wait(self) -> None:
        """Blocks until the last save is on disk."""
        with writing(self._folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Releases the manager's threads."""
        self._manager.close()
