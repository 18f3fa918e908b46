"""Puts frames on a regular grid in time, by their numbers or times."""

from dataclasses import replace

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources.found import Found

_REGULAR = 0.25  # share of a step by which stamps may differ from a grid's
_MOST_GAPS = 1.0  # frames that may be missing, per recorded frame


def with_gaps(found: Found, stamps: np.ndarray, name: str) -> tuple[Found, float]:
    """Adds frames without points where stamps skip some, so that the frames are regular in time.

    Args:
        found: whose frames have the stamps.
        stamps: numbers or times [frame].
        name: of the stamps, for messages.

    Returns:
        The completed frames, and the difference of two neighbouring stamps; 0 for a single frame.

    Raises:
        UserError: stamps do not increase, lie on no grid, or skip most frames.
    """
    stamps = np.asarray(stamps, np.float64)
    if stamps.shape != (len(found.points),):
        raise UserError(
            f"{found.path}: {name!r} has shape {stamps.shape}, expected one per frame "
            f"({len(found.points)})"
        )
    steps = np.diff(stamps)
    if not (len(steps) and np.isfinite(steps).all() and (steps > 0).all()):
        if len(stamps) == 1 and np.isfinite(stamps).all():
            return found, 0.0
        raise UserError(
            f"{found.path}: {name!r} does not increase from frame to frame; sort the frames"
        )
    step = float(np.median(steps))
    counts = np.round(steps / step)
    worst = int(np.argmax(np.abs(steps / step - counts)))
    if abs(steps[worst] / step - counts[worst]) > _REGULAR or (counts < 1).any():
        raise UserError(
            f"{found.path}: {name!r} is not regular: {steps[worst]:.6g} after frame {worst}, "
            f"{step:.6g} elsewhere; resample the points to one rate first"
        )
    rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    missing, step = int(rows[-1]) + 1 - len(rows), float(stamps[-1] - stamps[0]) / int(rows[-1])
    if missing > _MOST_GAPS * len(rows):
        raise UserError(
            f"{found.path}: {name!r} skips {missing} of {rows[-1] + 1} frames, too many for one "
            "recording; give a file for each part without gaps"
        )
    if not missing:
        return found, step
    points = np.full((int(rows[-1]) + 1, *found.points.shape[1:]), np.nan)
    points[rows] = found.points
    confidence = found.confidence
    if confidence is not None:
        confidence = np.zeros(points.shape[:-1])
        confidence[rows] = found.confidence
    notes = [*found.notes, f"{missing} frames that {name!r} skips are added without points"]
    return replace(found, points=points, confidence=confidence, notes=notes), step
