"""Holds what a reader found in a file of key points, and completes it by the options."""

from dataclasses import dataclass, field

import numpy as np

from vnl_mjx.clips.recording import checked_rate
from vnl_mjx.clips.sources.conventions import METRES
from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.sources.names import checked_names, given_names, no_names
from vnl_mjx.keypoints.sources.options import KeyPointOptions, UpAxis
from vnl_mjx.keypoints.sources.world import find_unit, turned, up_axis

TWO_D = (
    "triangulate the files of all cameras with sleap-anipose or anipose and give the points3d file "
    "that it writes"
)

_FARTHEST = 1e7  # coordinates in any unit; of damage or failed triangulation beyond
_PEAKS = 0.25  # confidences of a lower median are peaks of probability maps


@dataclass
class Found:
    """Holds key points as a file has them.

    Attributes:
        path: as the user gave it.
        points: [frame, animal, point, 3], in the file's unit and axes; not finite where not found.
        names: of the points, None if the file has none.
        confidence: [frame, animal, point], None if the file has none.
        animals: their names, or none.
        rate_hz: frames per second, None if the file does not say.
        unit: of lengths, None if the file does not say.
        up: axis that points up, None if the file does not say.
        notes: what was assumed.
    """

    path: str
    points: np.ndarray
    names: tuple[str, ...] | None = None
    confidence: np.ndarray | None = None
    animals: tuple[str, ...] = ()
    rate_hz: float | None = None
    unit: str | None = None
    up: UpAxis | None = None
    notes: list[str] = field(default_factory=list)


def completed(found: Found, options: KeyPointOptions) -> KeyPoints:
    """Returns the points of one animal in metres with z up; UserError if file and options do not fit."""
    if found.points.dtype.kind not in "fiu":
        raise UserError(f"{found.path}: expected numbers, found {found.points.dtype}")
    if (of := found.confidence) is not None and (
        of.dtype.kind not in "fiub" or of.shape != found.points.shape[:3]
    ):
        raise UserError(
            f"{found.path}: expected a confidence for each point, numbers of shape "
            f"{found.points.shape[:3]}, found {of.dtype} of shape {of.shape}"
        )
    if not found.points.size:
        raise UserError(f"{found.path}: holds no frames or no points (shape {found.points.shape})")
    notes = list(found.notes)
    animal = _animal(found, options, notes)
    points = found.points[:, animal].astype(np.float64)
    known = np.isfinite(points).all(axis=-1) & (points != 0.0).any(axis=-1)
    far = known & (np.abs(points) > _FARTHEST).any(axis=-1)
    if far.any():
        notes.append(f"{int(far.sum())} points beyond {_FARTHEST:g} count as not found")
        known &= ~far
    if not known.any():
        raise UserError(
            f"{found.path}: none of its points was found in any frame; give another file"
        )
    names = _names(found, options, points.shape[1], notes)
    confidence = _confidence(found, animal, known, notes)
    known &= confidence >= options.min_confidence
    if not known.any():
        raise UserError(
            f"min_confidence: no point of {found.path} has a confidence of {options.min_confidence:g}; "
            "give a lower one"
        )
    points[~known] = np.nan
    unit, unit_notes = find_unit(found.path, points, found.unit, options)
    up, up_notes = up_axis(points, names, options.up_axis or found.up)
    if never := tuple(n for n, seen in zip(names, known.any(axis=0), strict=True) if not seen):
        notes.append(f"never found: {listing(never)}")
    rate = _rate(found, options, notes)
    positions = turned(points * METRES[unit], up)
    confidence[~known] = 0.0
    return KeyPoints(
        names, positions, confidence, rate, found.path, (*notes, *unit_notes, *up_notes)
    )


def _animal(found: Found, options: KeyPointOptions, notes: list[str]) -> int:
    """Returns the number of the animal that is asked for, or of the only one."""
    count = found.points.shape[1]
    names = found.animals if len(found.animals) == count else tuple(map(str, range(count)))
    wanted = options.animal
    if wanted is None:
        seen = np.flatnonzero(np.isfinite(found.points).any(axis=(0, 2, 3)))
        if count == 1:
            return 0
        if len(seen) == 1:
            notes.append(f"of {count} animals only {names[seen[0]]!r} has points")
            return int(seen[0])
        raise UserError(
            f"{found.path}: holds {count} animals, expected one; give animal=NAME of {listing(names)}"
        )
    if str(wanted) in names:
        return names.index(str(wanted))
    if str(wanted).isdecimal() and int(wanted) < count:
        return int(wanted)
    raise UserError(
        f"animal: expected one of {listing(names)} of {found.path}, or its number from 0, found "
        f"{wanted!r}"
    )


def _names(found: Found, options: KeyPointOptions, count: int, notes: list[str]) -> tuple[str, ...]:
    if options.points is not None:
        names = checked_names("points", given_names(options.points), count)
        if found.names is not None and found.names != names:
            notes.append("names of points as given, not the file's")
        return names
    if found.names is None:
        raise no_names(found.path, count)
    return checked_names(found.path, found.names, count)


def _confidence(found: Found, animal: int, known: np.ndarray, notes: list[str]) -> np.ndarray:
    """Returns the confidence [frame, point]: 1 where the file does not say, 0 where nothing was found.

    Networks such as DANNCE store the peak of a probability map, which depends on the map's width: 0.3 for a
    snout, 0.001 for a hip. Such values are divided by each point's median, so that points compare.
    """
    if found.confidence is None:
        return known.astype(np.float64)
    stored = np.where(known, np.nan_to_num(found.confidence[:, animal].astype(np.float64)), 0.0)
    usual = float(np.median(stored[known]))
    if not stored.any():
        notes.append("every confidence is 0, which says nothing: 1 is taken")
        return known.astype(np.float64)
    if 0.0 < usual < _PEAKS:
        medians = np.ma.median(np.ma.array(stored, mask=~known), axis=0).filled(1.0)
        stored /= np.where(medians > 0, medians, 1.0)
        notes.append(
            f"confidences are low throughout (median {usual:.2g}), as peaks of maps are: each point's are "
            "divided by their median, at most 1"
        )
    elif above := int((stored > 1.0).sum()):
        notes.append(f"{above} confidences above 1 are taken for 1")
    return np.clip(stored, 0.0, 1.0)


def _rate(found: Found, options: KeyPointOptions, notes: list[str]) -> float | None:
    if options.rate_hz is None:
        return found.rate_hz
    if found.rate_hz is not None and not np.isclose(found.rate_hz, options.rate_hz, rtol=1e-3):
        notes.append(f"{options.rate_hz:g} Hz as given; the file says {found.rate_hz:g}")
    return checked_rate(options.rate_hz, "rate_hz")
