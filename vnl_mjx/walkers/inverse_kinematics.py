"""Solves inverse kinematics of a chain for all frames at once: damped least squares in joint limits.

Levenberg-Marquardt (Marquardt 1963, "An algorithm for least-squares estimation of nonlinear parameters")
with the joints that sit at a limit and would be pushed through it held (projected Newton: Bertsekas 1982,
"Projected Newton methods for optimization problems with simple constraints"). A posture term chooses among
the many solutions of a redundant chain.

`solve_smooth` solves a whole motion at once, with the squared second difference over time (Witkin, Kass 1988,
"Spacetime constraints"). Neighbouring frames couple only over two frames, so a Gauss-Newton step is one
solution of a banded system.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from vnl_mjx.quaternions import matrix_quaternion, rotation_vector
from vnl_mjx.walkers.chains import Chain, ChainState, Pose, point

_MAX_STEP = 0.35  # radians per joint and iteration
_CONVERGED = 1e-7  # radians
_SMOOTH_CONVERGED = 1e-5  # radians


@dataclass(frozen=True)
class PointTask:
    """Defines a target position for a point of a body."""

    body: int  # place in the chain's bodies
    local: np.ndarray  # [3] the point in the body's frame
    target: np.ndarray  # [frame, 3] world
    weight: np.ndarray  # [3] or [frame, 3], per world axis, 1/m

    def linearise(self, state: ChainState) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weighted error [frame, 3] and its Jacobian [frame, 3, joint]."""
        where = point(state.poses[self.body], self.local)
        jacobian = np.cross(state.axes, where[:, None] - state.anchors)
        jacobian = jacobian * _moves(state, self.body)[:, None]
        weight = np.broadcast_to(self.weight, where.shape)
        return weight * (where - self.target), weight[..., None] * np.moveaxis(jacobian, 1, 2)


@dataclass(frozen=True)
class OrientationTask:
    """Defines a target orientation of a body."""

    body: int  # place in the chain's bodies
    target: np.ndarray  # [frame, 3, 3], body frame to world
    # [3] or [frame, 3], per axis of the target's frame (roll, pitch, yaw), 1/rad
    weight: np.ndarray

    def linearise(self, state: ChainState) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weighted error [frame, 3] and its first-order Jacobian [frame, 3, joint]."""
        to_target = np.swapaxes(self.target, 1, 2)
        error = rotation_vector(matrix_quaternion(to_target @ state.poses[self.body].rotation))
        axes = state.axes * _moves(state, self.body)[:, None]
        weight = np.broadcast_to(self.weight, error.shape)
        return weight * error, weight[..., None] * (to_target @ np.swapaxes(axes, 1, 2))


@dataclass(frozen=True)
class FloorTask:
    """Keeps spheres of the chain from sinking into the floor; above it they are free."""

    bodies: tuple[int, ...]  # place of each sphere's body in the chain's bodies
    centers: np.ndarray  # [sphere, 3] in the bodies' frames
    heights: np.ndarray  # [frame, sphere] least z of the centres, world
    weight: float  # 1/m

    def linearise(self, state: ChainState) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weighted error [frame, sphere] and its Jacobian [frame, sphere, joint]."""
        errors, rows = [], []
        for body, center, height in zip(self.bodies, self.centers, self.heights.T, strict=True):
            where = point(state.poses[body], center)
            below = np.minimum(where[:, 2] - height, 0.0)
            arms = where[:, None] - state.anchors
            rise = state.axes[..., 0] * arms[..., 1] - state.axes[..., 1] * arms[..., 0]
            errors.append(self.weight * below)
            rows.append(self.weight * (below < 0)[:, None] * rise * _moves(state, body))
        return np.stack(errors, axis=1), np.stack(rows, axis=1)


Task = PointTask | OrientationTask | FloorTask


@dataclass(frozen=True)
class Problem:
    """Defines and solves for a chain's joint angles [frame, joint], within their limits."""

    chain: Chain  # what is solved for
    base: Pose  # pose of the body that the chain hangs on
    tasks: Sequence[Task]  # what is wanted, each with its weights
    posture: np.ndarray  # [frame, joint] or [joint] angles to stay near, radians
    posture_weight: np.ndarray | float  # 1/rad, one number or one per joint

    def linearise(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns half the squared weighted error [frame], its gradient, and the Gauss-Newton Hessian."""
        state = self.chain.forward(self.base, angles)
        parts = [task.linearise(state) for task in self.tasks]
        error = np.concatenate([part[0] for part in parts], axis=1)
        jacobian = np.concatenate([part[1] for part in parts], axis=1)
        weight = np.broadcast_to(np.asarray(self.posture_weight, float), angles.shape[1:]) ** 2
        away = angles - self.posture
        cost = 0.5 * (error**2).sum(axis=1) + 0.5 * (weight * away**2).sum(axis=1)
        transposed = np.swapaxes(jacobian, 1, 2)
        gradient = (transposed @ error[..., None])[..., 0] + weight * away
        return cost, gradient, transposed @ jacobian + np.diag(weight)

    def clipped(self, angles: np.ndarray) -> np.ndarray:
        """Clips the angles to the joints' limits."""
        return np.clip(angles, self.chain.lower, self.chain.upper)

    def free(self, angles: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Returns bool [frame, joint]: the joint is not at a limit that the descent pushes against."""
        low = (angles <= self.chain.lower) & (gradient > 0)
        return ~(low | ((angles >= self.chain.upper) & (gradient < 0)))

    def solve(self, iterations: int = 60) -> np.ndarray:
        """Solves for the angles of each frame separately."""
        shape = len(self.base.position), len(self.chain.columns)
        angles = self.clipped(np.broadcast_to(self.posture, shape))
        damping = np.full(shape[0], 1e-2)
        now = self.linearise(angles)
        for _ in range(iterations):
            step = damped_step(now[1], now[2], self.free(angles, now[1]), damping)
            trial = self.clipped(angles + step)
            new = self.linearise(trial)
            better = new[0] < now[0]
            damping = np.where(better, 0.3 * damping, 8.0 * damping).clip(1e-9, 1e9)
            moved = np.abs(trial - angles).max(axis=1)
            angles = np.where(better[:, None], trial, angles)
            now = tuple(
                np.where(better.reshape(-1, *[1] * (b.ndim - 1)), b, a)
                for a, b in zip(now, new, strict=True)
            )
            if (moved < _CONVERGED).all():
                break
        return angles

    def solve_smooth(self, smoothness: float, iterations: int = 40) -> np.ndarray:
        """Solves for smooth angles of all frames, starting from those of separate frames.

        `smoothness` is the weight of the second difference of the angles, 1/rad.
        """
        angles, damping = self.solve(), 1e-3
        if len(angles) < 3:
            return angles
        bands = smoothness**2 * _second_difference_bands(len(angles))

        def evaluate(angles: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            cost, gradient, hessian = self.linearise(angles)
            bending = _banded_product(bands, angles)
            return float(cost.sum() + 0.5 * (angles * bending).sum()), gradient + bending, hessian

        cost, gradient, hessian = evaluate(angles)
        for _ in range(iterations):
            step = _smooth_step(gradient, hessian, bands, self.free(angles, gradient), damping)
            trial = self.clipped(angles + step)
            new = evaluate(trial)
            if new[0] >= cost:
                damping *= 8.0
                if damping > 1e8:
                    break
                continue
            moved = np.abs(trial - angles).max()
            angles, (cost, gradient, hessian) = trial, new
            damping = max(0.3 * damping, 1e-9)
            if moved < _SMOOTH_CONVERGED:
                break
        return angles


def damped_step(
    gradient: np.ndarray, hessian: np.ndarray, free: np.ndarray, damping: np.ndarray
) -> np.ndarray:
    """Returns the damped Newton step [frame, joint]; joints that are not `free` stay."""
    system = hessian * free[:, :, None] * free[:, None, :]
    diagonal = np.einsum("fii->fi", system)
    diagonal += damping[:, None] * (1.0 + diagonal) + ~free
    step = -np.linalg.solve(system, (gradient * free)[..., None])[..., 0]
    longest = np.abs(step).max(axis=1, keepdims=True)
    return step * np.minimum(1.0, _MAX_STEP / np.maximum(longest, 1e-12))


def _moves(state: ChainState, body: int) -> np.ndarray:
    """Returns 1 for joints above `body`, which move it, and 0 for those below it: [joint]."""
    return (state.joint_body <= body).astype(float)


def _second_difference_bands(frames: int) -> np.ndarray:
    """Returns the lower bands [3, frame] of D^T D, where D takes second differences."""
    bands = np.zeros((3, frames))
    for column, size in enumerate((1.0, -2.0, 1.0)):
        bands[0, column : frames - 2 + column] += size**2
    bands[1, : frames - 2] += -2.0
    bands[1, 1 : frames - 1] += -2.0
    bands[2, : frames - 2] += 1.0
    return bands


def _banded_product(bands: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Multiplies the symmetric matrix with `bands` [3, frame] by angles [frame, joint]."""
    product = bands[0][:, None] * angles
    for offset in (1, 2):
        band = bands[offset, :-offset, None]
        product[offset:] += band * angles[:-offset]
        product[:-offset] += band * angles[offset:]
    return product


def _smooth_step(
    gradient: np.ndarray, hessian: np.ndarray, bands: np.ndarray, free: np.ndarray, damping: float
) -> np.ndarray:
    """Returns the damped Gauss-Newton step [frame, joint]; joints that are not `free` stay."""
    frames, joints = gradient.shape
    matrix = np.zeros((2 * joints + 1, frames, joints))  # lower bands, column (frame, joint)
    for offset in range(joints):
        for joint in range(joints - offset):
            matrix[offset, :, joint] = hessian[:, joint + offset, joint]
    for offset in range(3):
        matrix[offset * joints] += bands[offset][:, None]
    matrix[0] += damping * (1.0 + matrix[0])
    matrix = matrix.reshape(2 * joints + 1, -1)
    kept = free.ravel()
    for offset in range(1, 2 * joints + 1):
        matrix[offset, :-offset] *= kept[offset:]
    matrix *= kept
    matrix[0] += ~kept
    solution = solveh_banded(matrix, -(gradient * free).ravel(), lower=True, check_finite=False)
    return solution.reshape(frames, joints)
