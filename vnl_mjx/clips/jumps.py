"""Finds frames to which a body jumps, so that the rest of a recording can be kept."""

import numpy as np

from vnl_mjx.clips.columns import split_qpos
from vnl_mjx.clips.conditioning.gaps import bad_frames
from vnl_mjx.clips.quality import changes, reason
from vnl_mjx.config.preprocessing import QualityLimits
from vnl_mjx.walkers.walker import Walker

MEASURES = ("jump_m", "jump_rad", "jump_joint_rad")


def jumps(
    walker: Walker, qpos: np.ndarray, limits: QualityLimits, factor: float = 1.0
) -> dict[int, str]:
    """Returns the frames of one take [frame, nq] that a body cannot have reached, with the reason.

    A frame counts if root or joints moved there from the frame before by more than the limits times
    `factor`. The frame after a single wrong one does not count; the frame after a break in the recording
    does, so that clips do not go on across it.
    """
    good = ~bad_frames(qpos, walker.layout)
    pairs = np.flatnonzero(good[1:] & good[:-1])
    moved = dict(zip(MEASURES, changes(split_qpos(qpos, walker.layout), pairs), strict=True))
    found: dict[int, str] = {}
    for name, values in moved.items():
        limit = getattr(limits, name)
        if limit is None or not values.size:
            continue
        steps = values.max(axis=1)
        for pair in np.flatnonzero(steps > factor * limit).tolist():
            at = int(values[pair].argmax())
            joint = walker.joint_names[at] if name == "jump_joint_rad" else ""
            text = reason(name, float(steps[pair]), factor * limit, joint)
            found.setdefault(int(pairs[pair]) + 1, text)
    kept: dict[int, str] = {}
    for frame in sorted(found):
        if frame - 1 not in kept:
            kept[frame] = found[frame]
    return kept
