"""Tells files of key points from files of poses, for messages."""

import re
from collections.abc import Sequence

import h5py

POINTS = (
    "pred",
    "tracks",
    "keypoints",
    "kp_data",
    "pred_points",
)  # variables that mean nothing else
CONFIDENCES = ("p_max", "point_scores", "confidence", "confidences", "scores", "likelihood")
_COORDINATE = re.compile(r"(.+)[ _.:-](?:error|ncams|score|likelihood)", re.IGNORECASE)


def fit_first(path: str) -> str:
    """Returns what to do with key points where poses are expected."""
    return f"fit the body to them first (`vnl-mjx fit {path} POSES.h5`) and give its output"


def has_points(shape: Sequence[int]) -> bool:
    """Returns whether an array of this shape can be key points [frame, point, 3] or [frame, 3, point]."""
    return len(shape) in (3, 4) and 3 in shape[1:]


def names_points(header: Sequence[str]) -> bool:
    """Returns whether a table's header is one of key points: of anipose, or of several rows."""
    words = {cell.strip().lower() for cell in header}
    return bool(words & {"scorer", "bodyparts"}) or any(map(_COORDINATE.fullmatch, header))


def are_coordinates(names: Sequence[str]) -> bool:
    """Returns whether names are of x, y and z of points (or of three hinges at each joint of a humanoid)."""
    parts = {(name[:-1].rstrip(" _.:-"), name[-1:].lower()) for name in names}
    points = {point for point, _ in parts}
    return len(parts) > 3 and parts == {(point, axis) for point in points for axis in "xyz"}


def pose_estimations(file: h5py.File) -> list[str]:
    """Returns the places of the key points in an NWB file: ndx-pose's type PoseEstimation."""
    places: list[str] = []

    def visit(place: str, item: object) -> None:
        if isinstance(item, h5py.Group) and item.attrs.get("neurodata_type") == "PoseEstimation":
            places.append(place)

    file.visititems(visit)
    return places
