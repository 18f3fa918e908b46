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
        length_unit: m, cm or mm.
        up_axis: of the recorded world.
        points: names of the points, or a scheme of the package.
        animal: name or number of the animal.
        min_confidence: points of a lower confidence count as not found.
        body_length_m: about how long the animal is.
    """

    rate_hz: float | None = None
    length_unit: str | None = None
    up_axis: str | None = None
    points: str | None = None
    animal: str | int | None = None
    min_confidence: float = 0.0
    body_length_m: float = 0.16


def open_key_points(path: Path, options: KeyPointOptions | None = None) -> KeyPoints:
    """Reads DANNCE's `pred` [frame, 3, point], mm, of the 23 points of a rat."""
    if options is None or options.points != "rat23":
        raise UserError(f"{path}: has no names of points; give them (--points rat23)")
    pred = read_mat5(path).get("pred")
    if pred is None or pred.shape[1:] != (3, len(_RAT23)):
        raise UserError(f"{path}: expected 'pred' (frames, 3, {len(_RAT23)})")
    positions = np.swapaxes(pred, 1, 2) / 1e3
    return KeyPoints(_RAT23, positions, np.ones(positions.shape[:2]), options.rate_hz, str(path))
