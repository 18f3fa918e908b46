"""Smooths tracks of points in time, with gaps and wrong points: a robust parabola about every frame."""

import numpy as np

from vnl_mjx.clips.conditioning.smoothing import window_frames

_BLOCK_FRAMES = 2048  # smoothed at once
_ROUNDS = 3  # of reweighting
_WIDE = 3.0  # factor of the outlier distance in the first, about the median
_RIDGE = 1e-3  # points' worth of evidence against slope and curvature, for windows with few points
_LEAST = 0.25  # points' worth of evidence below which there is no value


def half_window(window_s: float, rate_hz: float) -> int:
    """Returns the number of frames on either side of the middle one; 0: no smoothing."""
    return max(window_frames(window_s, rate_hz) // 2, 0)


def smoothed_tracks(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, half: int, outlier: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns points [row, marker, 3] of some frames, and their weights [row, marker], 0 where there is none.

    Args:
        points: [frame, marker, 3], metres.
        weights: [frame, marker], 0 where a point was not found.
        rows: int [row], frames that are wanted.
        half: frames on either side that count.
        outlier: distance from the parabola from which on a point counts as wrong, metres.
    """
    if half < 1:
        return points[rows], weights[rows]
    parts = np.array_split(rows, -(-len(rows) // _BLOCK_FRAMES) or 1)
    own = [_smoothed(points, weights, part, half, outlier) for part in parts]
    return np.concatenate([part[0] for part in own]), np.concatenate([part[1] for part in own])


def _smoothed(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, half: int, outlier: float
) -> tuple[np.ndarray, np.ndarray]:
    around = rows[:, None] + np.arange(-half, half + 1)
    inside = (around >= 0) & (around < len(points))
    around = around.clip(0, len(points) - 1)
    own = np.where(inside[..., None], weights[around], 0.0)
    found = np.where(own[..., None] > 0, points[around], 0.0)
    times = np.linspace(-1.0, 1.0, 2 * half + 1)
    powers = times[:, None] ** np.arange(3)
    middle = _weighted_median(points[around], own)
    fitted = np.broadcast_to(middle[:, None], found.shape)
    coefficients = precision = np.empty(0)
    for size in (_WIDE * outlier, *[outlier] * (_ROUNDS - 1)):
        squares = np.square(found - fitted).sum(axis=-1) / size**2
        kept = own / (1.0 + squares) ** 2  # Geman-McClure
        products = (powers[:, :, None] * powers[:, None]).reshape(len(times), 9)
        precision = np.einsum("rkm,kp->rmp", kept, products).reshape(*kept.shape[::2], 3, 3)
        precision = precision + np.diag([1e-9, _RIDGE, _RIDGE])
        pull = np.einsum("rkm,ki,rkmd->rmid", kept, powers, found, optimize=True)
        coefficients = np.linalg.solve(precision, pull)
        fitted = np.einsum("ki,rmid->rkmd", powers, coefficients)
    evidence = 1.0 / np.linalg.inv(precision)[..., 0, 0]
    return coefficients[:, :, 0], np.where(evidence < _LEAST, 0.0, np.minimum(evidence, 1.0))


def _weighted_median(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the median [row, marker, 3] of those of [row, frame, marker, 3] that have a weight; else 0."""
    seen = weights[..., None] > 0
    ranked = np.sort(np.where(seen, points, np.inf), axis=1)
    count = np.broadcast_to(seen.sum(axis=1), ranked.shape[:1] + ranked.shape[2:])
    place = np.maximum(count - 1, 0) // 2
    middle = np.take_along_axis(ranked, place[:, None], axis=1)[:, 0]
    return np.where(count > 0, middle, 0.0)
