"""Opens any file of poses; recognises its kind by content, then by suffix."""

import os
from pathlib import Path

import h5py

from vnl_mjx.clips.file import is_clip_file
from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.sources import arrays
from vnl_mjx.clips.sources.clip_sources import ALL_CLIPS, open_all_clips, open_own_clips
from vnl_mjx.clips.sources.csv_table import TABLES, open_csv
from vnl_mjx.clips.sources.dm_control import is_dm_control, open_dm_control
from vnl_mjx.clips.sources.file_head import file_head
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing
from vnl_mjx.clips.sources.key_point_files import POINTS, fit_first, pose_estimations
from vnl_mjx.clips.sources.nwb import open_nwb
from vnl_mjx.clips.sources.options import SourceOptions
from vnl_mjx.clips.sources.stac import open_stac_hdf5, open_stac_pickle
from vnl_mjx.errors import UserError

READABLE = (
    "stac-mjx output (HDF5, or .p of older versions), ReferenceClip or vnl_mjx clips (.h5), "
    "dm_control's trajectories (.h5), poses as .npz, .npy, .mat, .csv or GMR's .pkl, or NWB"
)

_PICKLES = (".p", ".pkl", ".pickle")
SUFFIXES = (".h5", ".hdf5", ".npz", ".npy", ".mat", ".nwb", *TABLES, *_PICKLES)


def open_recording(path: str | os.PathLike[str], options: SourceOptions | None = None) -> Recording:
    """Opens a file of poses (`READABLE`); use the result as a context manager, or `close` it.

    HDF5 and .npy files are read slice by slice, so damage in them raises UserError when a slice is read.

    Raises:
        UserError: the file is missing, not of a known kind or damaged, or an option does not fit.
    """
    options = options or SourceOptions()
    head = file_head(Path(path), READABLE)
    name, suffix = str(path), Path(path).suffix.lower()
    if head.startswith(b"MATLAB 7.3") or h5py.is_hdf5(name):
        return _open_hdf5(name, options, is_matlab=head.startswith(b"MATLAB") or suffix == ".mat")
    if head.startswith(b"MATLAB 5"):
        return arrays.open_mat(name, options)
    if head.startswith(b"PK"):
        return arrays.open_npz(name, options)
    if head.startswith(b"\x93NUMPY"):
        return arrays.open_npy(name, options)
    if suffix in TABLES:
        return open_csv(name, options)
    if head.startswith(b"\x80") or suffix in _PICKLES:
        return open_stac_pickle(name, options)
    raise UserError(f"{path}: {_unknown(suffix)}; poses are read from {READABLE}")


def _open_hdf5(path: str, options: SourceOptions, is_matlab: bool) -> Recording:
    source = Hdf5Source(path)
    try:
        with source.reading():
            is_nwb = "nwb_version" in source.file.attrs
            points = pose_estimations(source.file) if is_nwb else []
        if is_nwb:
            source.close()
            return _open_nwb(path, options, points)
        recording = _recognised(source, options, is_matlab)
        recording.close = source.close
        return recording
    except BaseException:
        source.close()
        raise


def _open_nwb(path: str, options: SourceOptions, points: list[str]) -> Recording:
    try:
        return open_nwb(path, options)
    except UserError as error:
        if not points:
            raise
        raise UserError(
            f"{path}: holds key points ({points[0]}), and no joint angles that can be read; "
            f"{fit_first(path)}"
        ) from error


def _recognised(source: Hdf5Source, options: SourceOptions, is_matlab: bool) -> Recording:
    with source.reading():
        is_own = is_clip_file(source.file)
        has_clips = isinstance(source.file.get(ALL_CLIPS), h5py.Group)
    if is_own:
        return open_own_clips(source, options)
    if has_clips:
        return open_all_clips(source, options)
    if is_matlab:
        return arrays.open_mat73(source, options)
    if source.dataset("qpos") is not None:
        return open_stac_hdf5(source, options)
    if is_dm_control(source):
        return open_dm_control(source, options)
    found = source.found()
    hint = ""
    if any(name in POINTS for name in found):
        hint = f": looks like key points; {fit_first(source.path)}"
    raise UserError(
        f"{source.path}: expected joint angles (dataset 'qpos') or clips (group {ALL_CLIPS!r}), "
        f"found {listing(found)}{hint}"
    )


def _unknown(suffix: str) -> str:
    kinds = {".h5": "HDF5", ".hdf5": "HDF5", ".nwb": "NWB", ".npz": "npz", ".npy": "npy"}
    kind = kinds.get(suffix, "MATLAB" if suffix == ".mat" else None)
    return f"is truncated or not {kind} at all" if kind else "is not of a known kind"
