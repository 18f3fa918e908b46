"""Saves and restores checkpoints of a run: atomic, asynchronous, and resumed bit for bit.

Layout, one folder per kept step: `<run>/checkpoints/<environment steps>/{state, ..., metadata}`. `state` is
the whole training state, `metadata` is JSON; each kind of training adds its own items, and may export the
same steps to another folder in another layout. Arrays are stored under their path in the tree, so other
software can find them. A checkpoint holds no absolute path and does not depend on the number of devices or
processes.

With several processes, all of them call every method, and the first one writes.
"""

import hashlib
import json
import logging
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vnl_mjx.checkpoints.arrays import (
    DamagedCheckpoint,
    check_sha256,
    read_arrays,
    read_newest,
    tree_sha256,
)
from vnl_mjx.checkpoints.writing import check_space, open_manager, writing
from vnl_mjx.devices import gathered
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import unused, write_json
from vnl_mjx.parsing import parse_json

CHECKPOINT_FOLDER = "checkpoints"
DAMAGED_FOLDER = "damaged_checkpoints"
# In format 2 the training state holds a rollout and named parts of the optimiser; the rest is as in 1.
FORMAT_VERSION = 2
_SEPARATOR = "."
_METRICS = "metrics/metrics"  # of a checkpoint, by Orbax


@dataclass(frozen=True)
class Export:
    """A folder that holds the same steps in another layout.

    `arguments` returns what Orbax writes as `items`, given a copy of the exported state on the host.
    """

    folder: Path
    items: Sequence[str]
    step_prefix: str
    arguments: Callable[[Any], ocp.args.CheckpointArgs]


class RunCheckpointer:
    """Writes and restores the checkpoints of one run folder."""

    def __init__(
        self,
        run_dir: Path,
        items: Sequence[str] = (),
        keep_last: int = 3,
        keep_best: int = 1,
        best: Literal["lowest", "highest"] = "lowest",
        export: Export | None = None,
    ):
        """Opens (and creates) the checkpoint folder of `run_dir`.

        Checkpoints hold the trees of arrays `items` besides `state`. The newest and the best by metric are
        kept, also in `export`.

        Checkpoints newer than the newest whole one are moved to `DAMAGED_FOLDER` of the run, with a warning.

        Raises:
            UserError: the folder cannot be written.
            DamagedCheckpoint: all checkpoints are damaged; none was moved.
        """
        self.folder, self._export = run_dir.resolve() / CHECKPOINT_FOLDER, export
        if jax.process_index() == 0:
            _set_damaged_aside(self.folder, ("state", *items))
            _forget_damaged_metrics(self.folder)
        policies = ocp.checkpoint_managers
        lowest = best == "lowest"
        metric = operator.itemgetter("loss")
        self._manager = open_manager(
            self.folder,
            ("state", *items, "metadata"),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_last),
                    policies.BestN(get_metric_fn=metric, reverse=lowest, n=keep_best),
                ]
            ),
            # Otherwise Orbax stores no metrics, and a resumed run keeps checkpoints that it cannot rank.
            best_fn=metric,
            best_mode="min" if lowest else "max",
        )
        if export is not None:
            self._exports = open_manager(
                export.folder, export.items, step_prefix=export.step_prefix
            )

    def latest_step(self) -> int | None:
        """Returns the newest complete checkpoint's environment steps; None in all but the first process."""
        return self._manager.latest_step()

    def save(
        self,
        env_steps: int,
        state: Any,
        metadata: Mapping[str, Any],
        metric: float,
        items: Mapping[str, Any] | None = None,
        exported: Any = None,
    ) -> None:
        """Copies everything to host memory and writes it in the background.

        `state` is any pytree of arrays, and `items` are further trees, stored separately for readers.
        `metadata` is JSON-able; this method adds `env_steps` and `format_version`. `metric` ranks the
        checkpoint for keep-best, and `exported` goes to the export.

        Raises:
            UserError: this or the previous write failed; complete checkpoints stay as they were.
        """
        trees = {"state": state, **(items or {})}
        arrays = {name: flatten(tree) for name, tree in trees.items()}
        hashes = {name: tree_sha256(item) for name, item in arrays.items()}
        self.wait()
        self._tidy_export()
        size = sum(array.nbytes for item in arrays.values() for array in item.values())
        exported_size = sum(leaf.nbytes for leaf in jax.tree.leaves(exported))
        check_space(self.folder, size + 2 * exported_size)
        document = {
            **metadata,
            "format_version": FORMAT_VERSION,
            "env_steps": env_steps,
            "sha256": hashes,
        }
        document["sha256"] = hashes | {"metadata": _document_sha256(document)}
        with writing(self.folder):
            self._manager.save(
                env_steps,
                metrics={"loss": float(metric)},
                args=ocp.args.Composite(
                    metadata=ocp.args.JsonSave(document),
                    **{name: ocp.args.StandardSave(item) for name, item in arrays.items()},
                ),
            )
        self._save_export(env_steps, exported)

    def rank(self, env_steps: int, metric: float) -> None:
        """Replaces the metric that ranks a saved checkpoint; only the first process calls it.

        Raises:
            UserError: the checkpoint was not, or cannot be, written.
        """
        self.wait()
        with writing(self.folder):
            write_json(self.folder / str(env_steps) / _METRICS, {"loss": metric})
            self._manager.reload()

    def resume_export(self, env_steps: int, exported: Any) -> None:
        """Tidies the export, and writes that of `env_steps` if a kill came between the two writes."""
        self._tidy_export()
        if self._export is not None and env_steps not in self._exports.all_steps():
            self._save_export(env_steps, exported)

    def restore(self, template: Any, env_steps: int) -> Any:
        """Reads the training state of `env_steps` into the structure of `template`.

        Raises:
            UserError: the checkpoint is damaged or holds another structure.
        """
        path = self.folder / str(env_steps)
        arrays = read_item(path, "state", self.metadata(env_steps))
        leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
        expected = {_name(keys): leaf.shape for keys, leaf in leaves if leaf.size}
        for name in sorted(expected.keys() | arrays.keys()):
            found = arrays[name].shape if name in arrays else "nothing"
            wanted = expected.get(name, "nothing")
            if found != wanted:
                raise UserError(
                    f"{path}: cannot resume, {name} should have shape {wanted}, found {found}; "
                    "resume with the configuration that the run was started with"
                )
        restored = [
            jnp.asarray(arrays[_name(keys)], dtype=leaf.dtype) if leaf.size else leaf
            for keys, leaf in leaves
        ]
        return jax.tree.unflatten(treedef, restored)

    def metadata(self, env_steps: int) -> dict[str, Any]:
        """Returns the metadata of the checkpoint of `env_steps`."""
        return read_metadata(self.folder / str(env_steps))

    def wait(self) -> None:
        """Blocks until the last save is on disk.

        Raises:
            UserError: the checkpoint could not be written.
        """
        self._call_both("wait_until_finished")

    def close(self) -> None:
        """Waits for the last save, tidies the export and ends the managers' threads; raises like `wait`."""
        try:
            self.wait()
            self._tidy_export()
        finally:
            self._call_both("close")

    def _call_both(self, method: str) -> None:
        """Calls a method of the manager and of the export's, also if one of the two cannot write."""
        with ExitStack() as calls:
            if self._export is not None:
                calls.enter_context(writing(self._export.folder))
                calls.callback(getattr(self._exports, method))
            calls.enter_context(writing(self.folder))
            calls.callback(getattr(self._manager, method))

    def _tidy_export(self) -> None:
        """Removes the exports of checkpoints that are no longer kept."""
        if self._export is not None:
            for step in set(self._exports.all_steps()) - set(self._manager.all_steps()):
                self._exports.delete(step)

    def _save_export(self, env_steps: int, exported: Any) -> None:
        if self._export is not None:
            copy = jax.tree.map(lambda leaf: np.array(leaf, copy=True), exported)
            with writing(self._export.folder):
                self._exports.save(env_steps, args=self._export.arguments(copy), force=True)


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Returns host copies of all leaves by their path in the tree; whole in every process.

    These are copies because, on a CPU, a view shares memory with buffers that the next update reuses. Empty
    arrays are left out: Orbax cannot store them.
    """
    leaves = jax.tree_util.tree_leaves_with_path(gathered(tree))
    return {_name(keys): np.array(leaf, copy=True) for keys, leaf in leaves if leaf.size}


def unflatten(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns nested dictionaries from the paths of `flatten`."""
    return flax.traverse_util.unflatten_dict(dict(arrays), sep=_SEPARATOR)


def step_folders(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, newest first."""
    steps = sorted(
        (int(path.name) for path in folder.glob("*") if path.name.isdigit()), reverse=True
    )
    return [folder / str(step) for step in steps]


def read_item(folder: Path, item: str, metadata: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of one item of the checkpoint `folder`, by their path in the tree.

    Raises:
        DamagedCheckpoint: the item is missing, or not as it was written.
    """
    arrays = read_arrays(folder / item)
    check_sha256(arrays, metadata.get("sha256", {}).get(item), folder / item)
    return arrays


def read_metadata(folder: Path, required: Collection[str] = ()) -> dict[str, Any]:
    """Returns the metadata of the checkpoint `folder`.

    Raises:
        DamagedCheckpoint: the metadata are damaged, or lack one of the keys `required`.
        UserError: they are of a newer format.
    """
    try:
        document = parse_json((folder / "metadata" / "metadata").read_text(encoding="utf-8"))
        missing = {"format_version", "env_steps", *required} - document.keys()
        if missing:
            raise ValueError(f"no {sorted(missing)[0]} in it")
        if document["format_version"] > FORMAT_VERSION:
            raise UserError(
                f"{folder}: checkpoint format {document['format_version']}, this version reads up to "
                f"{FORMAT_VERSION}; update vnl-mjx"
            )
        # Older checkpoints hold no hashes.
        if "sha256" in document and document["sha256"]["metadata"] != _document_sha256(document):
            raise ValueError("it is not as it was written")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedCheckpoint(
            f"{folder}: cannot read its metadata ({first_line(error)}); the checkpoint is incomplete or "
            "damaged, use another step of the run"
        ) from error
    return document


def _document_sha256(document: Mapping[str, Any]) -> str:
    """Returns the hash of a checkpoint's metadata, without the hash itself."""
    hashes = {name: value for name, value in document["sha256"].items() if name != "metadata"}
    text = json.dumps({**document, "sha256": hashes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _set_damaged_aside(folder: Path, items: Sequence[str]) -> None:
    """Moves the checkpoints that are newer than the newest whole one out of `folder`."""

    def check(path: Path) -> Path:
        metadata = read_metadata(path)
        # Training cannot go on from an older format, whatever it holds.
        for item in items if metadata["format_version"] == FORMAT_VERSION else ():
            read_item(path, item, metadata)
        return path

    if not (found := step_folders(folder)):
        return
    whole = read_newest(found, check)
    for path in found[: found.index(whole)]:
        aside = folder.parent / DAMAGED_FOLDER
        aside.mkdir(exist_ok=True)
        path.rename(unused(aside / path.name))


def _forget_damaged_metrics(folder: Path) -> None:
    """Removes metrics that cannot be read, for Orbax would fail; a checkpoint without any is not the best."""
    for path in step_folders(folder):
        try:
            float(json.loads((path / _METRICS).read_text(encoding="utf-8"))["loss"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            logging.getLogger("vnl_mjx").warning(
                "%s: its metric is damaged; it cannot be the best", path
            )
            (path / _METRICS).unlink()


def _name(keys) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator=_SEPARATOR)
