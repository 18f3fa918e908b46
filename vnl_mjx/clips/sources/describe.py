"""Describes a recording of any body in a table, for `vnl-mjx inspect`."""

from collections.abc import Sequence

import numpy as np

from vnl_mjx.clips.container import span
from vnl_mjx.clips.recording import ROOT_COLUMNS, Recording

_MOST_NAMES = 6


def describe_recording(recording: Recording) -> dict[str, str]:
    """Returns rows of a table; reads no frames, so large files are as quick as small ones."""
    rate = recording.rate_hz
    seconds = "" if rate is None else f" ({recording.num_frames / rate:.1f} s)"
    rows = {
        "layout": recording.layout,
        "frames": f"{recording.num_frames:,}{seconds}",
        "rate": "not in the file" if rate is None else f"{rate:g} Hz",
        "takes": _takes(recording),
        "columns": f"{recording.qpos.shape[1]}: "
        + (
            f"root {ROOT_COLUMNS}, joints {recording.num_joints}"
            if recording.has_root
            else "joints only, a body fixed to the world"
        ),
        "joints": _names(recording.joint_names, recording.num_joints),
    }
    if recording.made_by:
        rows["made by"] = f"{recording.made_by} (synthetic, no animal)"
    if recording.keypoint_names:
        rows["keypoints"] = _names(recording.keypoint_names, len(recording.keypoint_names))
    given = {
        "body positions": recording.stored_xpos,
        "body orientations": recording.stored_xquat,
        "velocities": recording.stored_qvel,
        "recorded markers": recording.keypoints,
        "fitted markers": recording.marker_sites,
        "marker offsets": recording.keypoint_offsets,
    }
    if stored := [name for name, values in given.items() if values is not None]:
        rows["also stored"] = ", ".join(stored)
    if recording.body_names:
        rows["bodies"] = _names(recording.body_names, len(recording.body_names))
    if recording.scale is not None:
        rows["model scale"] = f"{recording.scale:g}"
    if open_names := _assumed(recording):
        rows["assumed"] = f"{open_names}; preprocess checks them against the body"
    if recording.notes:
        rows["notes"] = "; ".join(recording.notes)
    return rows


def _assumed(recording: Recording) -> str:
    """Lists the conventions that neither the file nor the user states; empty if there are none."""
    names = recording.conventions if recording.has_root else ("angle_unit",)
    open_names = [name for name in names if name not in recording.settled]
    return ", ".join(f"{name}={recording.conventions[name]}" for name in open_names)


def _takes(recording: Recording) -> str:
    lengths = np.asarray(recording.take_lengths)
    return f"{len(lengths)} of {span(lengths, 'd')} frames: {_some(recording.take_names)}"


def _names(names: Sequence[str] | None, count: int) -> str:
    return f"{count}, without names" if names is None else f"{count}: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
