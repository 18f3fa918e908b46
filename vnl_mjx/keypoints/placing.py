"""Places the body's root by the points alone, without a start: rigid alignment of markers at rest."""

import numpy as np

from vnl_mjx.keypoints.marked_body import MarkedBody
from vnl_mjx.quaternions import matrix_quaternion


def placed(
    body: MarkedBody,
    posture: np.ndarray,
    offsets: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Returns poses [frame, nq] with the joints at `posture` [joint] and the root where the markers fit best.

    The rotation is that of least squared distance (Kabsch 1976, "A solution for the best rotation to relate
    two sets of vectors").
    """
    walker = body.walker
    qpos = np.tile(walker.model.qpos0, (len(points), 1))
    qpos[:, body.qpos_columns] = posture
    root = walker.root
    if root is None:
        return qpos
    qpos[:, root.position], qpos[:, root.quaternion] = 0.0, [1.0, 0.0, 0.0, 0.0]
    shape = body.state(qpos[:1], offsets).points[0]
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    points = np.where(weights[..., None] > 0, points, 0.0)
    middle = (share[..., None] * points).sum(axis=1)
    own = share @ shape
    spread = np.swapaxes(points - middle[:, None], 1, 2) @ (
        share[..., None] * (shape - own[:, None])
    )
    left, _, right = np.linalg.svd(spread)
    right_handed = np.ones((len(points), 1, 3))
    right_handed[:, 0, 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * right_handed) @ right
    qpos[:, root.quaternion] = matrix_quaternion(rotation)
    qpos[:, root.position] = middle - (rotation @ own[..., None])[..., 0]
    return qpos


def apparent_scale(body: MarkedBody, points: np.ndarray, weights: np.ndarray) -> float:
    """Returns the size of the animal over that of the body, by distances of neighbouring markers."""
    qpos = body.walker.model.qpos0[None].copy()
    qpos[:, body.qpos_columns] = body.rest
    shape = body.state(qpos, body.offsets).points[0]
    own = np.linalg.norm(shape[:, None] - shape, axis=-1)
    np.fill_diagonal(own, np.inf)
    ratios = []
    for marker, other in enumerate(own.argmin(axis=1)):
        seen = (weights[:, marker] > 0) & (weights[:, other] > 0)
        if seen.any():
            apart = np.linalg.norm(points[seen, marker] - points[seen, other], axis=-1)
            ratios.append(np.median(apart) / own[marker, other])
    return float(np.median(ratios)) if ratios else 1.0
