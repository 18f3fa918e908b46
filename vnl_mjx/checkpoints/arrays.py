"""Reads arrays of an Orbax checkpoint, without the devices that wrote them."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorstore as ts
from flax import traverse_util

from vnl_mjx.errors import UserError
from vnl_mjx.parsing import parse_json

Read = TypeVar("Read")


class DamagedCheckpoint(UserError):
    """A checkpoint that is incomplete, or not as it was written."""


def read_newest(folders: Sequence[Path], read: Callable[[Path], Read]) -> Read:
    """Reads the first of `folders`, newest first, that is not damaged; warns of those that are.

    Raises:
        DamagedCheckpoint: all are damaged; what `read` raises of the first.
    """
    damaged: list[DamagedCheckpoint] = []
    for folder in folders:
        try:
            found = read(folder)
        except DamagedCheckpoint as error:
            damaged.append(error)
            continue
        for error in damaged:
            logging.getLogger("vnl_mjx").warning("%s; taking %s", error, folder.name)
        return found
    raise damaged[0]


def check_sha256(tree: Mapping[str, Any], sha256: str | None, path: Path) -> None:
    """Compares the arrays of `path` with their hash when they were written; None: it was not recorded.

    Orbax's own checks cover its indices, not the numbers.

    Raises:
        DamagedCheckpoint: they differ.
    """
    if sha256 not in (None, tree_sha256(tree)):
        raise DamagedCheckpoint(
            f"{path}: its arrays are not those that were written (sha256); the checkpoint is damaged"
        )


def tree_sha256(tree: Mapping[str, Any]) -> str:
    """Returns a hash of nested dicts of arrays, over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, array in sorted(traverse_util.flatten_dict(tree, sep="/").items()):
        array = np.asarray(array)
        digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_arrays(path: Path) -> dict[str, Any]:
    """Reads a tree of arrays that Orbax wrote, whatever machine wrote it.

    TensorStore reads the files (`_METADATA` and a Zarr array per leaf in an OCDBT store). Orbax would look
    for the devices that `_sharding` names. If an array is damaged, Orbax also closes its event loop under
    the other reads, which then print tracebacks.

    Returns:
        Nested dicts of NumPy arrays; positions in a tuple are the keys "0", "1".

    Raises:
        DamagedCheckpoint: the item is missing or damaged.
    """
    try:
        metadata = parse_json((path / "_METADATA").read_text(encoding="utf-8"))
        # Leaves to skip are empty parts of a tree (None); no array stands for them.
        leaves = [
            leaf
            for leaf in metadata["tree_metadata"].values()
            if not leaf["value_metadata"].get("skip_deserialize")
        ]
        keys = [tuple(str(part["key"]) for part in leaf["key_metadata"]) for leaf in leaves]
        driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(
            f"cannot read {path / '_METADATA'} ({error!r:.80}); the checkpoint is damaged"
        ) from error
    context = ts.Context()
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{path.as_posix()}/"}}
    specs = {
        key: {"driver": driver, "kvstore": {**store, "path": ".".join(key) + "/"}} for key in keys
    }
    opened = {key: ts.open(spec, context=context, read=True) for key, spec in specs.items()}
    reads = {key: _result(path, key, future).read() for key, future in opened.items()}
    arrays = {key: _result(path, key, future) for key, future in reads.items()}
    return traverse_util.unflatten_dict(arrays)


def _result(path: Path, key: tuple[str, ...], future: ts.Future) -> Any:
    try:
        return future.result()
    # TensorStore reports a damaged file by several unrelated types.
    except Exception as error:
        code = str(error).split(":")[0][:40]
        raise DamagedCheckpoint(
            f"cannot read {'/'.join(key)} in {path} ({code}); the checkpoint is damaged"
        ) from error
