"""Poses the neck and the tail, whose tips are steered in the world rather than relative to the trunk."""

import numpy as np

from vnl_mjx.clips.conditioning.smoothing import smooth_step
from vnl_mjx.clips.conditioning.tail import MOVING_SPEED, carried_tail, tail_chain
from vnl_mjx.gait.profile import Path
from vnl_mjx.gait.style import GaitStyle
from vnl_mjx.walkers.chains import Chain, Pose, euler_rotation
from vnl_mjx.walkers.inverse_kinematics import OrientationTask, Problem
from vnl_mjx.walkers.walker import Walker

_LOOK_AHEAD = 0.25  # seconds that the head's heading is ahead of the trunk's in a turn


def neck_problem(
    walker: Walker, angles: np.ndarray, torso: Pose, path: Path, time: np.ndarray, gaze: np.ndarray
) -> Problem:
    """Returns the problem of a neck that keeps the head level and turned along the path.

    `angles` [joint] are the walker's posture; `gaze` [frame, 2] is the head's further turn to the left, and
    down, radians.
    """
    chain = Chain(walker.model, "torso", "skull")
    heading = path.at(path.heading, time + _LOOK_AHEAD) + 0.5 * path.at(path.bend, time)
    target = euler_rotation(heading + gaze[:, 0], gaze[:, 1], np.zeros(len(time)))
    tasks = [OrientationTask(len(chain.bodies) - 1, target, np.full(3, 4.0))]
    return Problem(chain, torso, tasks, angles[chain.columns], 1.0)


def tail_problem(
    walker: Walker,
    pelvis: Pose,
    path: Path,
    time: np.ndarray,
    style: GaitStyle,
    irregular: np.ndarray,
) -> Problem:
    """Returns the problem of a tail that is carried above the floor and sways against the pelvis.

    The tail bends with the path's turns and sways with its phase. `irregular` [frame, 2] adds bends of its
    first and second half, radians to the left.
    """
    pace = path.at(path.pace, time)
    chain = tail_chain(walker)
    moving = smooth_step(pace / MOVING_SPEED)
    names = [walker.joint_names[column] for column in chain.columns]
    bends = [i for i, name in enumerate(names) if name.endswith("bend")]
    straight = Pose(np.zeros((1, 3)), np.eye(3)[None])
    to_left = np.sign(chain.forward(straight, np.zeros((1, len(names)))).axes[0, bends, 2])

    along = np.linspace(0, 1, len(bends))
    wave = np.cos(2 * np.pi * (path.at(path.phase, time)[:, None] - 0.1 - 0.35 * along))
    total = -0.8 * path.at(path.bend, time)[:, None] + style.tail_sway * moving[:, None] * wave
    total = total + (irregular[:, :1] * (1 - along) + irregular[:, 1:] * along)
    posture = np.zeros((len(time), len(names)))
    posture[:, bends] = to_left * total / len(bends)
    return carried_tail(walker, chain, pelvis, posture, moving, style.tail_height)
