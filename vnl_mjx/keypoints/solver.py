"""Finds the poses of a body whose markers lie on key points: Levenberg-Marquardt over frames in batches.

Each frame is a problem of its own: robust distances of markers from points (Geman, McClure 1985, by
iteratively reweighted least squares) and a weak pull of the joints towards a mean posture, which decides what
the points leave open. Joints stay within their limits (see `walkers.inverse_kinematics`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

from vnl_mjx.clips.kinematics import num_cores
from vnl_mjx.keypoints.marked_body import MarkedBody, MarkerState
from vnl_mjx.walkers.inverse_kinematics import damped_step

BLOCK_FRAMES = 128  # whose matrices fit the processor's cache
_CONVERGED = 1e-3  # share of the cost by which a step lowers it
_FIRST_DAMPING = 1e-2
_MOST_DAMPING = 1e6


class Linearised(NamedTuple):
    """Holds the cost of poses, and its expansion to second order in the coordinates."""

    cost: np.ndarray  # [frame], half the squared error in units of the noise
    gradient: np.ndarray  # [frame, coordinate]
    hessian: np.ndarray  # [frame, coordinate, coordinate], Gauss-Newton


@dataclass(frozen=True, eq=False)
class PoseProblem:
    """Defines what poses of a marked body are wanted.

    Attributes:
        body: with its markers and coordinates.
        offsets: [marker, 3], places of the markers in their bodies' frames, metres.
        noise: standard deviation of a key point's coordinate, metres.
        posture: [joint], mean angles.
        spread: [joint], standard deviations of the angles about their means.
        outlier: distance in units of the noise from which on a point counts as wrong; infinite: never.
    """

    body: MarkedBody
    offsets: np.ndarray
    noise: float
    posture: np.ndarray
    spread: np.ndarray
    outlier: float = np.inf

    @property
    def precision(self) -> np.ndarray:
        """Of each coordinate about its mean, [coordinate]; the root's is 0."""
        return np.concatenate([np.zeros(self.body.num_root), self.spread**-2.0])

    def away(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the distance of the coordinates from their mean, [frame, coordinate]."""
        angles = qpos[:, self.body.qpos_columns] - self.posture
        return np.hstack([np.zeros((len(qpos), self.body.num_root)), angles])

    def robust(self, errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cost [frame, marker] of errors [frame, marker, 3], and the points' weights in it."""
        squares = np.square(errors).sum(axis=-1) / self.noise**2
        if np.isinf(self.outlier):
            return 0.5 * weights * squares, weights / self.noise**2
        kept = self.outlier**2 / (self.outlier**2 + squares)
        return 0.5 * weights * squares * kept, weights * kept**2 / self.noise**2

    def cost(
        self, state: MarkerState, qpos: np.ndarray, points: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Returns the cost [frame]."""
        costs = self.robust(state.points - points, weights)[0]
        return costs.sum(axis=1) + 0.5 * (self.precision * self.away(qpos) ** 2).sum(axis=1)

    def linearised(
        self, state: MarkerState, qpos: np.ndarray, points: np.ndarray, weights: np.ndarray
    ) -> Linearised:
        """Expands the cost of poses [frame, nq] about them; arguments as in `solve`."""
        errors = state.points - points
        costs, kept = self.robust(errors, weights)
        away, precision = self.away(qpos), self.precision
        frames, coordinates = away.shape
        jacobian = self.body.jacobian(state).reshape(frames, -1, coordinates)
        weighted = np.repeat(kept, 3, axis=1)[..., None] * jacobian
        transposed = np.swapaxes(weighted, 1, 2)
        gradient = (transposed @ errors.reshape(frames, -1, 1))[..., 0] + precision * away
        hessian = transposed @ jacobian
        np.einsum("fii->fi", hessian)[:] += precision
        cost = costs.sum(axis=1) + 0.5 * (precision * away**2).sum(axis=1)
        return Linearised(cost, gradient, hessian)

    def free(self, qpos: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Returns bool [frame, coordinate]: not a joint at a limit that the descent pushes against."""
        angles, (lower, upper) = qpos[:, self.body.qpos_columns], self.body.limits
        own = gradient[:, self.body.num_root :]
        result = np.ones(gradient.shape, bool)
        result[:, self.body.num_root :] = ~(
            ((angles <= lower) & (own > 0)) | ((angles >= upper) & (own < 0))
        )
        return result

    def solve(
        self, qpos: np.ndarray, points: np.ndarray, weights: np.ndarray, iterations: int = 30
    ) -> np.ndarray:
        """Returns poses [frame, nq] of frames in one block, from those given.

        Args:
            qpos: [frame, nq], where to start.
            points: [frame, marker, 3], world, metres; finite where the weight is not zero.
            weights: [frame, marker].
            iterations: steps at most.
        """
        data = mujoco.MjData(self.body.walker.model)
        solved = qpos.copy()
        rows, points = np.arange(len(qpos)), np.where(weights[..., None] > 0, points, 0.0)
        damping = np.full(len(rows), _FIRST_DAMPING)
        state = self.body.state(solved, self.offsets, data)
        now = self.linearised(state, solved, points, weights)
        for _ in range(iterations):
            poses = solved[rows]
            step = damped_step(now.gradient, now.hessian, self.free(poses, now.gradient), damping)
            trial = self.body.moved(poses, step)
            state = self.body.state(trial, self.offsets, data)
            new = self.linearised(state, trial, points[rows], weights[rows])
            better = new.cost < now.cost
            solved[rows[better]] = trial[better]
            done = better & (now.cost - new.cost < _CONVERGED * now.cost)
            damping = np.where(better, 0.2 * damping, 8.0 * damping)
            kept = ~done & (damping < _MOST_DAMPING)
            if not kept.any():
                break
            mixed = [
                np.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a)[kept]
                for a, b in zip(now, new, strict=True)
            ]
            now, rows, damping = Linearised(*mixed), rows[kept], damping[kept].clip(1e-7)
        return solved


def placed_markers(problem: PoseProblem, qpos: np.ndarray) -> np.ndarray:
    """Returns places of the markers, [frame, marker, 3], in poses [frame, nq]; NaN in poses with NaN."""
    places = np.empty((len(qpos), len(problem.body.names), 3))

    def block(rows: slice) -> int:
        places[rows] = problem.body.state(np.nan_to_num(qpos[rows]), problem.offsets).points
        return 0

    _for_blocks(block, len(qpos))
    places[np.isnan(qpos).any(axis=1)] = np.nan
    return places


def solve_blocks(
    problem: PoseProblem,
    qpos: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
    iterations: int = 30,
    progress: Callable[[int], None] = lambda frames: None,
) -> np.ndarray:
    """Returns poses like `PoseProblem.solve` for any number of frames, on every core."""
    solved = np.empty_like(qpos)

    def block(rows: slice) -> int:
        solved[rows] = problem.solve(qpos[rows], points[rows], weights[rows], iterations)
        return len(solved[rows])

    _for_blocks(block, len(qpos), progress)
    return solved


def _for_blocks(
    function: Callable[[slice], int],
    num_frames: int,
    progress: Callable[[int], None] = lambda frames: None,
) -> None:
    """Calls a function for blocks of frames, from as many threads as there are cores."""
    blocks = [slice(first, first + BLOCK_FRAMES) for first in range(0, num_frames, BLOCK_FRAMES)]
    with ThreadPoolExecutor(num_cores()) as pool:
        for done in pool.map(function, blocks):
            progress(done)
