"""Checkpoints of a teacher's training, in both layouts.

`<run>/checkpoints/<environment steps>` holds the whole training state (`run_checkpointing`), and
`<run>/teacher/PPONetwork_<environment steps>` the same teacher as track-mjx stores it, which is what
track-mjx, `track_mjx_loader` and `vnl-mjx distill` read. The same steps are kept in both.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.checkpoints.writing import check_space, open_manager, writing
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX
from vnl_mjx.compat.track_mjx_writer import track_mjx_items

FORMAT_VERSION = 1
TEACHER_FOLDER = "teacher"


class TeacherCheckpointer(RunCheckpointer):
    """Writes and restores the checkpoints of one run folder; the best have the highest metric."""

    def __init__(
        self, run_dir: Path, config: Mapping[str, Any], keep_last: int = 3, keep_best: int = 1
    ):
        """Opens (and creates) both folders.

        Args:
            run_dir: the run folder.
            config: of the teacher in track-mjx's keys (`track_mjx_writer.track_mjx_config`).
            keep_last: newest checkpoints to keep.
            keep_best: further ones to keep.

        Raises:
            UserError: a folder cannot be written.
        """
        super().__init__(run_dir, (), keep_last, keep_best, best="highest")
        self._teachers = _TrackMjxFolder(run_dir.resolve() / TEACHER_FOLDER, config)

    def save(
        self,
        env_steps: int,
        state: Any,
        train_state: Mapping[str, Any],
        metadata: Mapping[str, Any],
        metric: float,
    ) -> None:
        """Copies everything to host memory and writes it in the background.

        Args:
            env_steps: name of the checkpoint in both folders.
            state: training state, any pytree of arrays.
            train_state: the same as track-mjx has it (`training.track_mjx_state`).
            metadata: JSON-able.
            metric: higher is better, for keep-best.

        Raises:
            UserError: this or the previous write failed; what was complete before is untouched.
        """
        self.wait()
        self._teachers.keep(self.steps())
        check_space(self.folder, _num_bytes(state) + 2 * _num_bytes(train_state))
        document = {**metadata, "format_version": FORMAT_VERSION}
        self.save_items(env_steps, state, {}, document, metric)
        self._teachers.save(env_steps, train_state)

    def resume_from(self, env_steps: int, train_state: Mapping[str, Any]) -> None:
        """Brings the teachers in step with the checkpoints, where a kill fell between the two."""
        self._teachers.keep(self.steps())
        if env_steps not in self._teachers.steps():
            self._teachers.save(env_steps, train_state)

    def teacher_folder(self, env_steps: int) -> Path:
        """Where the teacher of one checkpoint stands."""
        return self._teachers.folder / f"{STEP_PREFIX}_{env_steps}"

    def wait(self) -> None:
        """Blocks until the last save is on disk in both layouts; raises as the base class does."""
        super().wait()
        self._teachers.wait()

    def close(self) -> None:
        """Waits, and forgets the teachers of checkpoints that are no longer kept."""
        try:
            self.wait()
            self._teachers.keep(self.steps())
        finally:
            self._manager.close()
            self._teachers.close()


class _TrackMjxFolder:
    """A folder of `PPONetwork_<step>`, written in the background."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self.folder, self._config = folder, config
        items = ("policy", "train_state", "config")
        self._manager = open_manager(folder, items, step_prefix=STEP_PREFIX)

    def steps(self) -> list[int]:
        return list(self._manager.all_steps())

    def keep(self, steps: Collection[int]) -> None:
        for step in set(self.steps()) - set(steps):
            self._manager.delete(step)

    def save(self, step: int, train_state: Mapping[str, Any]) -> None:
        copy = jax.tree.map(lambda leaf: np.array(leaf, copy=True), dict(train_state))
        items = track_mjx_items(
            copy["params"]["policy"], copy["normalizer_params"], self._config, copy
        )
        with writing(self.folder):
            self._manager.save(step, args=items, force=True)

    def wait(self) -> None:
        with writing(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def _num_bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
