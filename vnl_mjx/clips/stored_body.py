"""The files of a body inside a clip file: commands on the file then need no `--mjcf`."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import cast

import h5py
import numpy as np
import platformdirs

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing
from vnl_mjx.walkers.body_files import BODY_FOLDER, body_files


def write_body(file: h5py.File, mjcf: str) -> None:
    """Stores an MJCF and what it reads in an HDF5 file, each as its bytes."""
    files = body_files(mjcf)
    for place, path in files.items():
        content = np.frombuffer(path.read_bytes(), np.uint8)
        options = {"compression": "gzip", "shuffle": False} if len(content) else {}
        file.create_dataset(f"{BODY_FOLDER}/{place}", data=content, track_times=False, **options)
    if files:
        file[BODY_FOLDER].attrs["mjcf"] = np.bytes_(next(iter(files)))


def held_body(file: h5py.File) -> dict[str, bytes]:
    """Reads the files of the body by their place, the MJCF first; none where the HDF5 file holds no body."""
    if BODY_FOLDER not in file:
        return {}
    group, files = cast(h5py.Group, file[BODY_FOLDER]), {}
    group.visititems(lambda place, item: files.update(_content(place, item)))
    mjcf = bytes(cast(np.bytes_, group.attrs["mjcf"])).decode()
    return {mjcf: files.pop(mjcf), **files}


def unpack_body(files: Mapping[str, bytes], source: str) -> Path:
    """Writes the files of a body into the user's cache, where they are not yet there.

    Args:
        files: contents by place, the MJCF first.
        source: the file that held them, for messages.

    Returns:
        The path of the MJCF.

    Raises:
        UserError: a place lies outside of the folder that all of them are in.
    """
    for place in files:
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise UserError(
                f"{source}: its copy of the body names the file {place!r}, expected a place inside of the "
                "copy; give the body with --mjcf"
            )
    digest = hashlib.sha256()
    for place, content in sorted(files.items()):
        digest.update(f"{place} {len(content)} ".encode() + content)
    folder = _cache() / digest.hexdigest()[:16]
    for place, content in files.items():
        target = folder / place
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as partial:
                partial.write_bytes(content)
    return folder / next(iter(files))


def _content(place: str, item: h5py.HLObject) -> dict[str, bytes]:
    return (
        {place: np.asarray(item[()], np.uint8).tobytes()} if isinstance(item, h5py.Dataset) else {}
    )


def _cache() -> Path:
    """Returns the user's cache, or a folder of this process if the cache cannot be written."""
    folder = platformdirs.user_cache_path("vnl-mjx") / "bodies"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return folder if writable else Path(tempfile.mkdtemp(prefix="vnl-mjx-bodies-"))
