"""Opens files of key points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vnl_mjx.clips.sources.mat5 import read_mat5
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.recording import KeyPoints

# DANNCE's rat23
_RAT23 = (
    *("Snout", "EarL", "EarR", "SpineF", "SpineM", "SpineL", "TailBase"),
    *("ShoulderL", "ElbowL", "WristL", "HandL", "ShoulderR", "ElbowR", "WristR", "HandR"),
    *("HipL", "KneeL", "AnkleL", "FootL", "HipR", "KneeR", "AnkleR", "FootR"),
)


@dataclass(frozen=True)
class KeyPointOptions:
    """Says what a file does not.

    Attributes:
        rate_hz: frames per second.
    """

    rate_hz: float | None = None


def open_key_points(path: Path, options: KeyPointOptions | None = None) -> KeyPoints:
    """Reads DANNCE's `pred` [frame, 3, point], mm, of the 23 points of a rat."""
    pred = read_mat5(path).get("pred")
    if pred is None or pred.shape[1:] != (3, len(_RAT23)):
        raise UserError(f"{path}: expected 'pred' (frames, 3, {len(_RAT23)})")
    positions = np.swapaxes(pred, 1, 2) / 1e3
    rate = options.rate_hz if options else None
    return KeyPoints(_RAT23, positions, np.ones(positions.shape[:2]), rate, str(path))
