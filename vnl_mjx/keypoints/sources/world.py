"""Finds the unit and the up axis of key points, and converts them to metres with z up."""

import re

import numpy as np

from vnl_mjx.clips.sources.conventions import METRES
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources.options import KeyPointOptions, UpAxis

_MOST_FRAMES = 500  # of a recording that are looked at
_FACTOR = 3.0  # by which a body may be longer or shorter than the usual; below the root of 10
_FEET = re.compile(
    r"foot|feet|paw|toe|heel|ankle|hand|wrist|claw|tars|mtp|lisfranc|hoof", re.IGNORECASE
)
_TRUNK = re.compile(
    r"spine|trunk|back|neck|shoulder|hip|head|ear(?!m)|torso|thorax|abdomen|scapula|haunch|pelvis",
    re.IGNORECASE,
)
_ALONG, _MOST_OTHER_FRAMES = 0.8, 0.1  # cosine to the axis, and share of frames that disagree
_TILT = 0.966  # cosine of 15 degrees
_UNITS = {
    **{unit: unit for unit in METRES},
    **{"meter": "m", "centimeter": "cm", "millimeter": "mm"},
}
# the recorded axes [3] that become x, y, z, and their signs
_TURNS: dict[UpAxis, tuple[list[int], list[float]]] = {
    "z": ([0, 1, 2], [1.0, 1.0, 1.0]),
    "y": ([0, 2, 1], [1.0, -1.0, 1.0]),
    "-y": ([0, 2, 1], [1.0, 1.0, -1.0]),
    "-z": ([0, 1, 2], [1.0, -1.0, -1.0]),
}


def unit_of(text: str) -> str | None:
    """Returns the unit of length that a file states in words; None for another, such as ndx-pose's pixels."""
    return _UNITS.get(re.sub("metre", "meter", text.strip().lower()).removesuffix("s"))


def turned(points: np.ndarray, up: UpAxis) -> np.ndarray:
    """Returns points [..., 3] of a world in which `up` points up, in one whose z axis does."""
    order, signs = _TURNS[up]
    return points[..., order] * np.array(signs)


def find_unit(
    path: str, points: np.ndarray, stated: str | None, options: KeyPointOptions
) -> tuple[str, list[str]]:
    """Returns the unit of points [frame, point, 3], and notes.

    The options or the file (`stated`) say it; else the body has about the usual length in it.

    Raises:
        UserError: nobody says it, and the body has that length in no unit.
    """
    if options.length_unit:
        return options.length_unit, []
    span, usual = _span(points), options.body_length_m
    likely = (u for u, m in METRES.items() if usual / _FACTOR < span * m < usual * _FACTOR)
    unit = next(likely, None)
    if stated is None:
        if unit is None:
            raise UserError(
                f"{path}: does not state its unit, and its points are {span:.3g} apart, in no unit the "
                f"{usual:.2g} m of body_length_m within a factor of {_FACTOR:g}; give length_unit=m, cm or mm"
            )
        length = f"the body is then {1000 * span * METRES[unit]:.0f} mm long"
        return unit, [f"lengths are taken for {unit}: {length}"]
    if unit in (None, stated):
        return stated, []
    return stated, [
        f"lengths are in {stated} as the file says, so the body is {span * METRES[stated]:.3g} m long; "
        f"length_unit={unit} would make it {span * METRES[unit]:.3g} m"
    ]


def _span(points: np.ndarray) -> float:
    """Returns the median over frames of the largest distance between two points; 0 if there is none."""
    some = points[:: -(-len(points) // _MOST_FRAMES)]
    apart = np.linalg.norm(some[:, :, None] - some[:, None], axis=-1)
    spans = np.fmax.reduce(apart, axis=(1, 2))
    spans = spans[spans > 0]
    return float(np.median(spans)) if spans.size else 0.0


def find_up(points: np.ndarray, names: tuple[str, ...]) -> tuple[UpAxis | None, float]:
    """Returns the axis along which feet are below the trunk, and the cosine of the angle between them.

    Args:
        points: [frame, point, 3].
        names: of the points; parts of the body are told by them.

    Returns:
        None as the axis where this is not clear.
    """
    feet = [i for i, name in enumerate(names) if _FEET.search(name)]
    trunk = [i for i, name in enumerate(names) if _TRUNK.search(name) and i not in feet]
    if not feet or not trunk:
        return None, 0.0
    upward = _middle(points[:, trunk]) - _middle(points[:, feet])
    upward = upward[np.isfinite(upward).all(axis=1)]
    if not upward.size or not (length := float(np.linalg.norm(mean := upward.mean(axis=0)))):
        return None, 0.0
    axis = int(np.argmax(np.abs(mean)))
    along, sign = float(np.abs(mean[axis])) / length, np.sign(mean[axis])
    found = ("-" if sign < 0 else "") + "xyz"[axis]
    others = (np.sign(upward[:, axis]) != sign).mean()
    if along < _ALONG or others > _MOST_OTHER_FRAMES or found not in _TURNS:
        return None, along
    return found, along


def up_axis(
    points: np.ndarray, names: tuple[str, ...], said: UpAxis | None
) -> tuple[UpAxis, list[str]]:
    """Returns the axis that points up, and notes; `said` is what the user or the file states."""
    found, along = find_up(points, names)
    if said is not None:
        if found in (None, said):
            return said, []
        return said, [f"up_axis={said} as given, but the feet are below the trunk along {found}"]
    if found is None:
        return "z", ["z is taken for up: neither the file nor the points tell (up_axis)"]
    notes = [f"{found} is taken for up: the feet are below the trunk along it"] * (found != "z")
    if along < _TILT:
        tilt = np.rad2deg(np.arccos(along))
        notes.append(f"the floor may be tilted: the trunk is {tilt:.0f} degrees off {found}")
    return found, notes


def _middle(points: np.ndarray) -> np.ndarray:
    """Returns the mean [frame, 3] of the points that were found; NaN if there is none."""
    known = np.isfinite(points).all(axis=-1, keepdims=True)
    total = np.where(known, points, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return total / known.sum(axis=1)
