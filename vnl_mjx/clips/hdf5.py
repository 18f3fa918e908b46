"""Reads clip files of any layout, whole or one clip at a time, and writes them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.assembly import assemble
from vnl_mjx.clips.container import FEATURES, REFERENCE_CLIP_FEATURES, ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.file import (
    ClipRow,
    ClipWriter,
    fixed_length,
    is_own_file,
    open_clip_file,
)
from vnl_mjx.clips.hdf5_access import atomic_hdf5
from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.sources import SourceOptions, open_recording
from vnl_mjx.clips.sources.clip_sources import ALL_CLIPS
from vnl_mjx.clips.stored_body import unpack_body
from vnl_mjx.errors import UserError
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
        path: a clip file of vnl_mjx, an `all_clips` file (ReferenceClip) or the output of stac-mjx.
        walker: whose joints and bodies the rows are put in order of.
        clip_length: frames per clip, the last may be shorter; default: what the file says, else all.
        rate_hz: frames per second; default: what the file says, else 50.
        clips: which clips to load, counted as the file has them; default: all.

    Raises:
        UserError: the file is missing, not in a known layout, damaged, or not of this walker.
    """
    with _open(path, walker, clip_length, rate_hz) as recording:
        if clips is not None and not recording.trust_velocities:
            return assemble(recording, walker).select(clips)  # all clips tell whether to trust
        return assemble(recording, walker, clips)


def _open(
    path: str | os.PathLike[str],
    walker: Walker,
    clip_length: int | None = None,
    rate_hz: float | None = None,
) -> Recording:
    """Opens a file whose layout defines the units of its poses."""
    options = SourceOptions(
        rate_hz=rate_hz, take_length=clip_length, has_root=walker.layout.free_root, part="clip"
    )
    recording = open_recording(path, options)
    if recording.usual_rate_hz is None:
        recording.close()
        raise UserError(
            f"{path}: is {recording.layout}, expected the output of stac-mjx (dataset 'qpos') or clips "
            "(group 'all_clips'); make clips of it: vnl-mjx preprocess IN OUT"
        )
    return recording


def stored_clips(
    path: str | os.PathLike[str], walker: Walker, indices: Sequence[int] | None = None
) -> Iterator[tuple[ReferenceClips, dict[str, float]]]:
    """Reads the clips of a file, and their measures of quality, one at a time; see `read_clips`."""
    computer = FeatureComputer(walker)
    with _open(path, walker) as recording:
        # whether STAC's velocities are right is decided over all of its clips
        whole = None if recording.trust_velocities else assemble(recording, walker)
        for take in range(len(recording.take_lengths)) if indices is None else indices:
            one = whole.select([take]) if whole else assemble(recording, walker, [take], computer)
            quality = {name: float(column[take]) for name, column in recording.quality.items()}
            yield one, quality


def stored_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the metadata of a file of our own format; {} for other files."""
    if not is_own_file(path):
        return {}
    with open_clip_file(path) as file:
        return file.metadata


def stored_body(path: str | os.PathLike[str]) -> Path | None:
    """Unpacks the body that a clip file holds; returns its YAML file or MJCF, or None."""
    with open_clip_file(path) as file:
        files = file.body()
    return unpack_body(files, str(path)) if files else None


def append_clips(
    writer: ClipWriter,
    clips: ReferenceClips,
    quality: Mapping[str, float] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Writes each of `clips`; `quality` is that of the clip that they were cut from."""
    every = zip(names or clips.names, clips.rows, clips.origins, strict=True)
    for name, rows, info in every:
        features = {name: np.asarray(getattr(clips, name))[rows] for name in FEATURES}
        writer.append(features, ClipRow(name, rows.stop - rows.start, info, quality or {}))


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
    """Returns the clips' common length; raises UserError if lengths differ, which `layout` cannot hold."""
    lengths = np.asarray(clips.lengths)
    if lengths.min() != lengths.max():
        raise UserError(
            f"{os.fspath(path)}: clips have {lengths.min()} to {lengths.max()} frames, but "
            f"{layout} holds clips of one length; cut them first: vnl-mjx clips split IN OUT --seconds S"
        )
    return int(lengths[0])
