"""Clip files on disk: opening, reading and writing HDF5."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from vnl_mjx.clips.assembly import assemble
from vnl_mjx.clips.atomic import atomic_hdf5, fixed_length
from vnl_mjx.clips.container import REFERENCE_CLIP_FEATURES, ReferenceClips
from vnl_mjx.clips.file import HDF5_ERRORS, is_own_file, open_clip_file
from vnl_mjx.clips.layouts import (
    ALL_CLIPS,
    FORMATS,
    STAC_DATASETS,
    FileContents,
    read_all_clips_layout,
    read_stac_layout,
)
from vnl_mjx.clips.own_layout import unordered_clips
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.walkers.walker import Walker

_NAMES = ("names", "joint_names", "body_names")  # root attributes of an `all_clips` file


def read_clips(
    path: str | os.PathLike[str],
    walker: Walker,
    *,
    clip_length: int | None = None,
    rate_hz: float | None = None,
    clips: Sequence[int] | None = None,
) -> ReferenceClips:
    """Reads the clips of one file for one walker; the layout is recognised.

    Features that the file lacks are computed from its poses; `notes` of the result says which.

    Args:
        path: an HDF5 file, see `FORMATS`.
        walker: whose joints and bodies the rows are put in order of.
        clip_length: frames per clip; default: what the file says, else the file is one clip. The
            last clip is shorter where frames are left over.
        rate_hz: frames per second; default: what the file says, else 50.
        clips: which clips to load, counted as the file has them; default: all.

    Raises:
        UserError: the file is missing, not in a known layout, damaged, or not of this walker.
    """
    if clip_length is not None and clip_length < 1:
        raise UserError(f"clip_length: expected at least 1 frame, found {clip_length}")
    if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0):
        raise UserError(f"rate_hz: expected a positive number, found {rate_hz}")
    if is_own_file(path):
        with open_clip_file(path) as file:
            raw = unordered_clips(file, walker, clip_length, rate_hz, clips)
        return assemble(raw, walker, Path(path).name)
    contents = _load(Path(path))
    grouped = any(name.startswith(f"{ALL_CLIPS}/") for name in contents.found)
    read_layout = read_all_clips_layout if grouped else read_stac_layout
    raw = read_layout(contents, walker, clip_length, rate_hz)
    found = assemble(raw, walker, Path(path).name)
    return found if clips is None else found.select(clips)


def write_clips(path: str | os.PathLike[str], clips: ReferenceClips) -> None:
    """Writes the `all_clips` layout; `read_clips` gives the same clips back.

    The file appears complete or not at all: it is written beside its place and then moved there.

    Raises:
        UserError: the clips differ in length, or the file cannot be written.
    """
    length = common_length(path, clips, "an 'all_clips' file")
    with atomic_hdf5(path) as file:
        file.attrs["rate_hz"] = clips.rate_hz
        if not clips.free_root:  # files of before do not say, and are of bodies with one
            file.attrs["free_root"] = False
        for name in _NAMES:
            file.attrs[name] = fixed_length(getattr(clips, name))
        if any(info.made_by for info in clips.info):  # no animal moved like this
            file.attrs["made_by"] = fixed_length([info.made_by for info in clips.info])
        for name in REFERENCE_CLIP_FEATURES:
            values = np.asarray(getattr(clips, name), np.float32)
            values = values.reshape(-1, length, *values.shape[1:])
            file.create_dataset(
                f"{ALL_CLIPS}/{name}", data=values, compression="gzip", shuffle=True
            )


def common_length(path: str | os.PathLike[str], clips: ReferenceClips, layout: str) -> int:
    """Frames of every clip; raises UserError where they differ, as `layout` holds one length."""
    lengths = np.asarray(clips.lengths)
    if lengths.min() != lengths.max():
        raise UserError(
            f"{os.fspath(path)}: clips have {lengths.min()} to {lengths.max()} frames, but "
            f"{layout} holds clips of one length; cut them first: vnl-mjx clips split IN OUT --seconds S"
        )
    return int(lengths[0])


def _load(path: Path) -> FileContents:
    if not path.exists():
        raise UserError(f"{path}: no such file; give the path of a clip file ({FORMATS})")
    if path.is_dir():
        raise UserError(f"{path}: is a directory; give the path of a clip file in it ({FORMATS})")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    if not h5py.is_hdf5(path):
        raise UserError(f"{path}: {_kind(path, head)}; clips are read from {FORMATS}")
    try:
        with h5py.File(path, "r") as file:
            found = list(file)
            names = list(STAC_DATASETS)
            group = file.get(ALL_CLIPS)
            if isinstance(group, h5py.Group):
                found += [f"{ALL_CLIPS}/{name}" for name in group]
                names = [f"{ALL_CLIPS}/{name}" for name in REFERENCE_CLIP_FEATURES]
            stored = {name: file.get(name) for name in names}
            datasets = {
                name: np.asarray(dataset[()])
                for name, dataset in stored.items()
                if isinstance(dataset, h5py.Dataset)
            }
            known = ("rate_hz", "free_root", *_NAMES)
            attributes = {name: file.attrs[name] for name in known if name in file.attrs}
            # str: a name that is not UTF-8 arrives as bytes
            return FileContents(str(path), datasets, attributes, tuple(map(str, found)))
    except HDF5_ERRORS as error:
        raise UserError(
            f"{path}: is truncated or damaged HDF5 ({first_line(error)}); copy it again"
        ) from error


def _kind(path: Path, head: bytes) -> str:
    if not head:
        return "is empty"
    if head.startswith(b"MATLAB 5"):
        return "is a MATLAB v5 file (keypoints are fitted by stac-mjx first), not HDF5"
    if path.suffix in (".p", ".pkl", ".pickle") or head[:1] == b"\x80":
        return "is a pickle, not HDF5; `vnl-mjx preprocess` reads it"
    return "is not an HDF5 file"
