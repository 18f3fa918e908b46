"""Solves the poses of all frames of a recording: some from scratch, the others from between these."""

from collections.abc import Callable

import numpy as np

from vnl_mjx.keypoints.calibration import Calibration, pose_problem
from vnl_mjx.keypoints.marked_body import MarkedBody
from vnl_mjx.keypoints.placing import placed
from vnl_mjx.keypoints.solver import solve_blocks
from vnl_mjx.quaternions import continuous_signs
from vnl_mjx.walkers.walker import Walker

FEWEST_POINTS = 3  # without which a frame has no pose
_COARSE = 8  # every so many frames are solved first, and the others start between them

Progress = Callable[[str, int, int], None]  # what is done, how much of it, and of how much


def solve_frames(
    body: MarkedBody,
    now: Calibration,
    points: np.ndarray,
    weights: np.ndarray,
    progress: Progress = lambda what, done, total: None,
) -> np.ndarray:
    """Returns poses [frame, nq] for points [frame, marker, 3]; NaN in frames with too few weights above 0.

    Some of the frames are solved from the resting body, placed by the points alone; the others start between
    these.
    """
    rows = np.flatnonzero((weights > 0).sum(axis=1) >= FEWEST_POINTS)
    own, trust, robust = points[rows], weights[rows], pose_problem(body, now)
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        progress("poses", done, len(rows))

    coarse = np.unique(np.append(np.arange(0, len(rows), _COARSE), len(rows) - 1))
    between = np.setdiff1d(np.arange(len(rows)), coarse)
    start = placed(body, now.posture, now.offsets, own[coarse], trust[coarse])
    loose = pose_problem(body, now, robust=False)
    start = solve_blocks(loose, start, own[coarse], trust[coarse])
    solved = np.empty((len(rows), start.shape[1]))
    solved[coarse] = solve_blocks(robust, start, own[coarse], trust[coarse], progress=advance)
    start = _interpolated(body.walker, solved[coarse], coarse, between)
    solved[between] = solve_blocks(robust, start, own[between], trust[between], progress=advance)
    qpos = np.full((len(points), start.shape[1]), np.nan)
    qpos[rows] = solved
    return qpos


def _interpolated(
    walker: Walker, qpos: np.ndarray, known: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Returns poses [wanted, nq] between those of neighbouring known frames, int [known]."""
    qpos = qpos.copy()
    if root := walker.root:
        qpos[:, root.quaternion] = continuous_signs(qpos[:, root.quaternion])
    after = np.searchsorted(known, wanted).clip(1, max(len(known) - 1, 1))
    if len(known) < 2:
        return np.repeat(qpos, len(wanted), axis=0)
    before = after - 1
    share = ((wanted - known[before]) / (known[after] - known[before]))[:, None]
    result = (1.0 - share) * qpos[before] + share * qpos[after]
    if root := walker.root:
        norms = np.linalg.norm(result[:, root.quaternion], axis=1, keepdims=True)
        result[:, root.quaternion] /= np.maximum(norms, 1e-9)
    return result
