"""Opens any file of key points; recognises its kind by content."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.file import is_clip_file
from vnl_mjx.clips.sources.clip_sources import ALL_CLIPS
from vnl_mjx.clips.sources.dm_control import is_dm_control
from vnl_mjx.clips.sources.file_head import file_head
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source
from vnl_mjx.clips.sources.variables import (
    Variable,
    mat5_variables,
    mat73_variables,
    npz_variables,
    reading,
)
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.sources.arrays import found_in_array, found_in_variables, poses_instead
from vnl_mjx.keypoints.sources.found import TWO_D, Found, completed
from vnl_mjx.keypoints.sources.nwb import find_in_nwb
from vnl_mjx.keypoints.sources.options import KeyPointOptions
from vnl_mjx.keypoints.sources.table import find_in_table

READABLE = (
    "DANNCE's .mat, points3d of sleap-anipose (.h5) or anipose (.csv), NWB with ndx-pose, or names "
    "and positions as .csv, .npz, .npy, .mat or HDF5"
)
_PICKLES = (".p", ".pkl", ".pickle")
_SLP = ("frames", "instances", "points", "pred_points")
_MOST_BYTES = 2**36


def open_key_points(path: str | os.PathLike[str], options: KeyPointOptions) -> KeyPoints:
    """Reads the 3-D key points of one animal from a file (`READABLE`), whole.

    Raises:
        UserError: the file is missing, damaged, of no known kind, of two dimensions or of poses, or what
            it does not say is not in the options.
    """
    name = str(Path(path).expanduser())
    with np.errstate(over="ignore", invalid="ignore"):  # of damage; such points count as not found
        return completed(_find(name, options), options)


def _find(path: str, options: KeyPointOptions) -> Found:
    head, suffix = file_head(Path(path), READABLE), Path(path).suffix.lower()
    if head.startswith(b"MATLAB 7.3") or h5py.is_hdf5(path):
        return _find_in_hdf5(path, head.startswith(b"MATLAB") or suffix == ".mat")
    if head.startswith(b"MATLAB 5"):
        return found_in_variables(path, mat5_variables(path))
    if head.startswith(b"PK"):
        return found_in_variables(path, npz_variables(path))
    if head.startswith(b"\x93NUMPY"):
        with reading(path, "NumPy array"):
            points = np.load(path, mmap_mode="r", allow_pickle=False)
        return found_in_array(path, Path(path).name, points)
    if head.startswith(b"\x80") or suffix in _PICKLES:
        raise UserError(
            f"{path}: is a pickle, which may hold programs and is not read; store 'keypoints' and "
            "'names' with numpy.savez (poses in a pickle of STAC are for `vnl-mjx preprocess`)"
        )
    if b"\0" in head or suffix in (".h5", ".hdf5", ".slp", ".nwb", ".mat", ".npz", ".npy"):
        raise UserError(
            f"{path}: is damaged or of no known kind; copy it again, or give {READABLE}"
        )
    return find_in_table(path, options)


def _find_in_hdf5(path: str, is_matlab: bool) -> Found:
    source = Hdf5Source(path)
    try:
        names = source.found()
        with source.reading():
            is_nwb = "nwb_version" in source.file.attrs
            has_clips = is_clip_file(source.file) or ALL_CLIPS in names
        if is_nwb:
            return find_in_nwb(source)
        if has_clips or (not is_matlab and is_dm_control(source)):
            raise poses_instead(path, "clips")
        if {*_SLP} <= {*names}:
            raise UserError(
                f"{path}: is a SLEAP project (.slp), whose points are 2-D, of each camera; {TWO_D}"
            )
        variables = mat73_variables(source) if is_matlab else _hdf5_variables(source)
        return found_in_variables(path, variables)
    finally:
        source.close()


def _hdf5_variables(source: Hdf5Source) -> dict[str, Variable]:
    """Returns datasets and attributes at the root by name."""
    variables: dict[str, Variable] = {}
    with source.reading():
        attributes = {str(name): value for name, value in source.file.attrs.items()}
    for name, value in attributes.items():
        is_number = np.asarray(value).dtype.kind in "fiu"
        variables[name] = Variable(np.shape(value), is_number, lambda value=value: value)
    for name in source.found():
        data = source.dataset(name)
        if data is not None and data.shape is not None:
            read = partial(_whole, source, name)
            variables[name] = Variable(data.shape, data.dtype.kind in "fiu", read)
    return variables


def _whole(source: Hdf5Source, name: str) -> Any:
    data: Any = source.dataset(name)
    if data.nbytes > _MOST_BYTES:
        raise UserError(f"{source.path}: {name!r} declares {data.shape}, too many; is it damaged?")
    with source.reading():
        return data[()]
