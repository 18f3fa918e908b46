"""Finds points whose left and right were exchanged by the tracker."""

import numpy as np

from vnl_mjx.keypoints.marked_body import MarkedBody

_FAR = 5.0  # distance of both points from their markers in units of the noise, at least
_BETTER = 0.25  # share of the squared distance that is left after an exchange, at most


def find_swaps(
    body: MarkedBody, points: np.ndarray, markers: np.ndarray, weights: np.ndarray, noise: float
) -> np.ndarray:
    """Returns bool [frame, marker]: both points of a pair are far from their markers, and near each other's.

    Args:
        body: whose marker names tell left from right.
        points: [frame, marker, 3], key points.
        markers: [frame, marker, 3], of the fitted body, which trusts no outlier.
        weights: [frame, marker], 0 where a point was not found.
        noise: standard deviation of a point's coordinate, in the unit of the points.
    """
    swapped = np.zeros(weights.shape, bool)
    for marker, partner in enumerate(body.mirror()):
        if partner <= marker:
            continue
        pair, other = [marker, partner], [partner, marker]
        own = np.square(points[:, pair] - markers[:, pair]).sum(axis=-1)
        across = np.square(points[:, pair] - markers[:, other]).sum(axis=-1)
        seen = (weights[:, pair] > 0).all(axis=1)
        far = (own > (_FAR * noise) ** 2).all(axis=1)
        better = across.sum(axis=1) < _BETTER * own.sum(axis=1)
        swapped[:, pair] = (seen & far & better)[:, None]
    return swapped


def exchanged(body: MarkedBody, values: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """Returns values [frame, marker, ...] with those of swapped pairs exchanged."""
    chosen = swapped.reshape(*swapped.shape, *[1] * (values.ndim - 2))
    return np.where(chosen, values[:, body.mirror()], values)
