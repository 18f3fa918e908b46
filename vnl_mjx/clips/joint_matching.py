"""Which column of a file is which joint of a walker."""

import difflib
from collections.abc import Sequence

import numpy as np

from vnl_mjx.clips.recording import ROOT_COLUMNS, Recording
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker


def match_joints(recording: Recording, walker: Walker) -> tuple[np.ndarray | None, str | None]:
    """Puts the joint columns of a recording in the walker's order.

    Returns:
        int [joint], for each joint of the walker its column among the recording's joint columns, or
        None where they are already in order; and a note for tables, None where names agree as they are.

    Raises:
        UserError: the recording is of another body.
    """
    given = f"{recording.path}: {recording.qpos.shape[1]} columns of qpos"
    layout = walker.layout
    fix = "give the MJCF of the recorded body (walker_config.mjcf_path=PATH)"
    if layout.free_root and not recording.has_root:
        raise UserError(
            f"{given} and no free root, expected {ROOT_COLUMNS} of a root and {layout.num_joints} "
            f"joints for this walker: the recording is of another body; {fix}"
        )
    if recording.has_root and not layout.free_root:
        raise UserError(
            f"{given} with a free root's first, expected {layout.num_joints} joints for this "
            f"walker, which has no free root: {fix}, or the joints' names "
            "(source_config.joint_names) if the columns are joints only"
        )
    names = recording.joint_names
    if names is None and recording.num_joints != layout.num_joints:
        if recording.num_frames == layout.nq:
            fix = "or its table is transposed: store frames as rows"
        root = f"root pose {ROOT_COLUMNS}, " if layout.free_root else ""
        raise UserError(
            f"{given}, expected {layout.nq} for this walker ({root}joints {layout.num_joints}): "
            f"the recording is of another body; {fix}"
        )
    if names is None:
        return None, "no joint names: the columns are taken to be in the walker's order"
    order = joint_order(recording.path, names, walker.joint_names)
    return (None, None) if order is None else (np.array(order), "joints reordered by name")


def joint_order(path: str, names: Sequence[str], expected: Sequence[str]) -> list[int] | None:
    """For each expected joint its place among `names`; None where they are the same.

    Raises:
        UserError: a joint is missing, unknown or there more than once.
    """
    if tuple(names) == tuple(expected):
        return None
    columns = {name: column for column, name in enumerate(names)}
    missing = [name for name in expected if name not in columns]
    if missing or len(names) != len(expected):
        unknown = [name for name in columns if name not in set(expected)]
        raise UserError(
            f"{path}: the joint names do not match the walker's; not in the file: "
            f"{with_nearest(missing, names)}; not in the walker: "
            f"{with_nearest(unknown, expected)}; found {len(names)} names, expected the "
            f"walker's {len(expected)} joints, once each"
        )
    return [columns[name] for name in expected]


def with_nearest(names: Sequence[str], known: Sequence[str], most: int = 3) -> str:
    """Names for a message, each with the nearest of those that are known."""
    parts = []
    for name in names[:most]:
        near = difflib.get_close_matches(name, known, n=1)
        parts.append(f"{name!r}" + (f" (nearest: {near[0]!r})" if near else ""))
    more = len(names) - most
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "") if parts else "none"
