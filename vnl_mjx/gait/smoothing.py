"""Inverse kinematics of a whole motion at once: the tasks of every frame, and smooth joint angles.

The unknowns are all angles of all frames. To the tasks and the posture of `inverse_kinematics` comes
the squared second difference over time, as in trajectory optimisation (Witkin, Kass 1988, "Spacetime
constraints"). Neighbouring frames couple only over two frames, so a Gauss-Newton step is one solution
of a banded system and takes time in proportion to the frames.
"""

import numpy as np
from scipy.linalg import solveh_banded

from vnl_mjx.gait.chains import Chain, Pose
from vnl_mjx.gait.inverse_kinematics import Task, held_by_limits, linearise

_CONVERGED = 1e-5  # radians


def solve_smooth(
    chain: Chain,
    base: Pose,
    tasks: list[Task],
    posture: np.ndarray,
    posture_weight: np.ndarray | float,
    start: np.ndarray,
    smoothness: float,
    iterations: int = 40,
) -> np.ndarray:
    """Joint angles [frame, joint], within the limits, that also change smoothly.

    Args:
        chain: what is solved for.
        base: pose of the body that the chain hangs on.
        tasks: what is wanted, each with its weights.
        posture: [frame, joint] or [joint] angles to stay near, radians.
        posture_weight: 1/rad, one number or one per joint.
        start: [frame, joint], a solution frame by frame.
        smoothness: weight of the second difference of the angles, 1/rad.
        iterations: at most.
    """
    posture = np.broadcast_to(posture, start.shape)
    weight = np.broadcast_to(np.asarray(posture_weight, float), start.shape[1:]) ** 2
    if len(start) < 3:
        return start
    bands = smoothness**2 * _second_difference_bands(len(start))

    def evaluate(angles: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        cost, gradient, hessian = linearise(chain, base, tasks, angles, posture, weight)
        bending = _banded_product(bands, angles)
        return float(cost.sum() + 0.5 * (angles * bending).sum()), gradient + bending, hessian

    angles, damping = start, 1e-3
    cost, gradient, hessian = evaluate(angles)
    for _ in range(iterations):
        free = ~held_by_limits(chain, angles, gradient)
        step = _step(gradient, hessian, bands, free, damping)
        trial = np.clip(angles + step, chain.lower, chain.upper)
        new_cost, new_gradient, new_hessian = evaluate(trial)
        if new_cost >= cost:
            damping *= 8.0
            if damping > 1e8:
                break
            continue
        moved = np.abs(trial - angles).max()
        angles, cost, gradient, hessian = trial, new_cost, new_gradient, new_hessian
        damping = max(0.3 * damping, 1e-9)
        if moved < _CONVERGED:
            break
    return angles


def _second_difference_bands(frames: int) -> np.ndarray:
    """Lower bands [3, frame] of D^T D, where D takes second differences."""
    bands = np.zeros((3, frames))
    for column, size in enumerate((1.0, -2.0, 1.0)):
        bands[0, column : frames - 2 + column] += size**2
    bands[1, : frames - 2] += -2.0
    bands[1, 1 : frames - 1] += -2.0
    bands[2, : frames - 2] += 1.0
    return bands


def _banded_product(bands: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The symmetric matrix that `bands` [3, frame] are of, times angles [frame, joint]."""
    product = bands[0][:, None] * angles
    for offset in (1, 2):
        band = bands[offset, :-offset, None]
        product[offset:] += band * angles[:-offset]
        product[:-offset] += band * angles[offset:]
    return product


def _step(
    gradient: np.ndarray,
    hessian: np.ndarray,
    bands: np.ndarray,
    free: np.ndarray,
    damping: float,
) -> np.ndarray:
    """Damped Gauss-Newton step [frame, joint]; joints that are not `free` stay where they are."""
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
