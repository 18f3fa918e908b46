"""Poses parts without markers: carries the tail above the floor and holds joints at an angle."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import uniform_filter1d

from vnl_mjx.clips.conditioning.smoothing import smooth_step
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.config.walker import rodent_body
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import matrix
from vnl_mjx.walkers.chains import Chain, Pose
from vnl_mjx.walkers.inverse_kinematics import PointTask, Problem
from vnl_mjx.walkers.walker import Walker

# Metres above the floor at which a rat carries points of its tail, by their share of its length: held
# up when it moves, lower when it stands (chosen by eye, docs/gait.md). A rat of another size: in proportion.
_MOVING = {8 / 30: 0.033, 16 / 30: 0.026, 23 / 30: 0.024, 1.0: 0.024}
_STILL = {8 / 30: 0.026, 16 / 30: 0.019, 23 / 30: 0.017, 1.0: 0.017}
_LIFT = 150.0  # weight of the heights, 1/m
_TO_THE_SIDE, _UP = 8.0, 1.0  # weights of the posture, 1/rad; sideways it stays as it is
_SMOOTHNESS, _SMOOTHNESS_HZ = 10.0, 50.0  # weight of the second difference, 1/rad
MOVING_SPEED = 0.12  # m/s, from which on the tail is held as a moving animal's
_SMOOTHING_S = 0.2  # time over which a recording's speed is measured
_BLOCK_FRAMES, _OVERLAP = 1000, 50  # overlapping, so that no border shows


def tail_chain(walker: Walker) -> Chain:
    """Returns the chain of a walker's tail; UserError if its file names none."""
    named = _tail_bodies(walker)
    if not set(named) <= set(walker.body_names):
        raise UserError(
            "conditioning_config.tail: expected a body whose YAML file says `tail: [body that it "
            f"hangs on, its last body]`, found none for {walker.config.source!r}; add it there, or "
            "leave the tail as recorded"
        )
    return Chain(walker.model, *named)


def carried_tail(
    walker: Walker,
    chain: Chain,
    base: Pose,
    posture: np.ndarray,
    moving: np.ndarray,
    height: float = 1.0,
) -> Problem:
    """Returns the problem of a tail carried above the floor, for `Problem.solve_smooth`.

    Args:
        walker: the walker.
        chain: the tail.
        base: pose of the body that the tail hangs on, [frame].
        posture: [frame, joint] angles to stay near, radians.
        moving: [frame] 0 while the animal stands, 1 while it moves.
        height: factor of the tail's height while the animal moves.
    """
    tasks = []
    for share, high in _MOVING.items():
        target = np.zeros((len(moving), 3))
        low = _STILL[share]
        target[:, 2] = walker.floor_height + low + moving * (height * high - low)
        body = max(round(share * len(chain.bodies)) - 1, 0)
        tasks.append(PointTask(body, np.zeros(3), target, np.array([0, 0, _LIFT])))
    names = [walker.joint_names[column] for column in chain.columns]
    weight = np.where([name.endswith("bend") for name in names], _TO_THE_SIDE, _UP)
    return Problem(chain, base, tasks, posture, weight)


class UnmarkedParts:
    """Poses the parts of a walker that carry no markers."""

    def __init__(
        self, walker: Walker, kinematics: Kinematics, tail: bool, angles: Mapping[str, float]
    ):
        """Prepares for one walker.

        Args:
            walker: of the poses.
            kinematics: of its model.
            tail: whether the tail is carried; else it stays as it is.
            angles: of joints by name, which are held there, radians.

        Raises:
            UserError: a joint is not the walker's, or it has no tail.
        """
        self._walker, self._kinematics = walker, kinematics
        self._chain = tail_chain(walker) if tail else None
        self._base = walker.model.body(_tail_bodies(walker)[0]).id if tail else 0
        if unknown := sorted(set(angles) - set(walker.joint_names)):
            raise UserError(
                f"conditioning_config.joint_angles: expected joints of the walker, found {unknown[0]!r}"
            )
        self._held = {walker.joint_names.index(name): angle for name, angle in angles.items()}

    def apply(self, qpos: np.ndarray, rate_hz: float) -> None:
        """Changes qpos [frame, nq], a stretch without a gap, in place."""
        joints = qpos[:, self._walker.layout.joint_qpos]
        for column, angle in self._held.items():
            joints[:, column] = angle
        if self._chain is None:
            return
        recorded = joints[:, self._chain.columns]
        for start in range(0, len(qpos), _BLOCK_FRAMES):
            first, stop = max(start - _OVERLAP, 0), start + _BLOCK_FRAMES
            rows = slice(first, stop + _OVERLAP)
            angles = self._carried(qpos[rows], recorded[rows], rate_hz)
            joints[start:stop, self._chain.columns] = angles[start - first : stop - first]

    def _carried(self, qpos: np.ndarray, recorded: np.ndarray, rate_hz: float) -> np.ndarray:
        """Returns angles [frame, joint] of the carried tail; `recorded` are its recorded angles."""
        poses, row = self._kinematics(qpos), self._base
        base = Pose(poses.positions[:, row].astype(float), matrix(poses.quaternions[:, row]))
        steps = np.linalg.norm(np.diff(base.position[:, :2], axis=0), axis=1)
        speed = np.append(steps, steps[-1:]) * rate_hz if len(steps) else np.zeros(1)
        speed = uniform_filter1d(speed, max(round(_SMOOTHING_S * rate_hz), 1), mode="nearest")
        moving = smooth_step(speed / MOVING_SPEED)
        height = self._walker.config.rescale_factor / rodent_body().rescale_factor
        problem = carried_tail(self._walker, self._chain, base, recorded, moving, height)
        return problem.solve_smooth(_SMOOTHNESS * (rate_hz / _SMOOTHNESS_HZ) ** 2)


def _tail_bodies(walker: Walker) -> tuple[str, ...]:
    return walker.config.tail or rodent_body().tail
