"""The files of a body inside a clip file: commands on the file then need no `--mjcf`."""

import hashlib
import os
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import cast

import h5py
import numpy as np
import platformdirs
import yaml

from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.walker import WalkerConfig, is_body_file, read_body
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import replacing
from vnl_mjx.walkers.body_files import BODY_FOLDER, body_files

_MAIN = "mjcf"  # attribute of the group: the place of the file to build the body from
_YAML = "vnl_mjx_body.yaml"


def write_body(file: h5py.File, config: WalkerConfig) -> None:
    """Stores a body in an HDF5 file: its MJCF, what that reads, and its keys as a YAML file.

    Nothing is stored of the rodent, and no YAML file of a body without tracked joints, from which no task
    could be made.
    """
    held = {place: path.read_bytes() for place, path in body_files(config.source).items()}
    if not held:
        return
    main = next(iter(held))
    if config.joint_names:
        keys = to_dict(config) | {"source": main}
        main = _YAML
        held[main] = yaml.safe_dump(keys, sort_keys=False).encode()
    for place, content in held.items():
        options = {"compression": "gzip", "shuffle": False} if content else {}
        data = np.frombuffer(content, np.uint8)
        file.create_dataset(f"{BODY_FOLDER}/{place}", data=data, track_times=False, **options)
    file[BODY_FOLDER].attrs[_MAIN] = np.bytes_(main)


def held_body(file: h5py.File) -> dict[str, bytes]:
    """Reads the files of the body by their place; none where the HDF5 file holds no body.

    The first is the body's YAML file, or, where there is none, the MJCF.
    """
    if BODY_FOLDER not in file:
        return {}
    group, files = cast(h5py.Group, file[BODY_FOLDER]), {}
    group.visititems(lambda place, item: files.update(_content(place, item)))
    main = bytes(cast(np.bytes_, group.attrs[_MAIN])).decode()
    return {main: files.pop(main), **files}


def unpack_body(files: Mapping[str, bytes], source: str) -> Path:
    """Writes the files of a body into the user's cache, where they are not yet there.

    Args:
        files: contents by place.
        source: the file that held them, for messages.

    Returns:
        The path of the first of them.

    Raises:
        UserError: a place, or a file that the body reads, lies outside of the folder that all of them are in.
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
    main = folder / next(iter(files))
    _check_inside(main, folder, source)
    return main


def _check_inside(main: Path, folder: Path, source: str) -> None:
    """Raises UserError for a body that reads other files of this machine, which would then be copied on."""
    mjcf = read_body(main).source if is_body_file(main.name) else main
    try:
        read = body_files(mjcf).values()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(
            f"{source}: its copy of the body is damaged ({first_line(error)}); give the body with --mjcf"
        ) from error
    outside = [path for path in read if not path.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise UserError(
            f"{source}: its copy of the body reads {outside[0]}, which is outside of the copy; give the "
            "body with --mjcf"
        )


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
