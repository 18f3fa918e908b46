"""Computes the motion of the trunk: the root's pose and the spine's angles, frame by frame."""

from typing import NamedTuple

import numpy as np

from vnl_mjx.gait import parameters
from vnl_mjx.gait.profile import Path
from vnl_mjx.gait.rearing import Rearing
from vnl_mjx.gait.style import TrunkStyle
from vnl_mjx.walkers.chains import Chain, Pose, euler_rotation
from vnl_mjx.walkers.walker import Walker

_BREATHING_HZ, _BREATHING_RISE = 1.6, 0.0004  # assumed: about 95 breaths a minute, at rest
_REARING_EXTENSION = 0.25  # of the spine when fully raised, radians
# A trot whose duty factor is below one half flies: the trunk then falls and rises more.
_RUNNING_BOB = 0.8


class Trunk(NamedTuple):
    """Holds the trunk's motion."""

    root: Pose  # pose of the free root joint
    torso: Pose  # poses of these bodies
    pelvis: Pose  # likewise
    spine: np.ndarray  # [frame, joint] angles of the chain from torso to pelvis, radians


class TrunkBuilder:
    """Computes the trunk's motion for one walker in one style."""

    def __init__(self, walker: Walker, style: TrunkStyle, angles: np.ndarray):
        """Prepares for one rodent; `angles` [joint] are its posture, radians."""
        model = walker.model
        self.spine = Chain(model, "torso", "pelvis")
        self._style = style
        self._floor = walker.floor_height
        self._posture = style.arch * angles[self.spine.columns]
        self._torso = model.body("torso").pos.copy()
        self._names = [walker.joint_names[column] for column in self.spine.columns]
        self._hips = 0.5 * (model.body("upper_leg_L").pos + model.body("upper_leg_R").pos)
        shoulder = model.body("scapula_L").pos + model.body("upper_arm_L").pos
        self._shoulders = self._torso + shoulder * [1.0, 0.0, 1.0]

    @property
    def length(self) -> float:
        """The distance from shoulders to hips when the spine is straight, metres."""
        still = Pose(self._torso[None], np.eye(3)[None])
        pelvis = self.spine.forward(still, np.zeros((1, len(self._names)))).poses[-1]
        return float(self._shoulders[0] - self._hip_point(pelvis)[0, 0])

    def walking(
        self, path: Path, time: np.ndarray, rng: np.random.Generator, variation: float
    ) -> Trunk:
        """Returns the trunk at `time` [frame] of an animal that follows a path, or stands where it stops.

        `variation` is the size of the irregular part, 1 usual.
        """
        style = self._style
        pace, phase = path.at(path.pace, time), path.at(path.phase, time)
        heading, bend = path.at(path.heading, time), path.at(path.bend, time)
        moving = parameters.smooth_step(pace / 0.1)
        slow = moving * (1 - parameters.trotting(pace))
        duty = parameters.duty_factor(path.at(path.frequency, time))
        middle = 0.5 * duty  # of the left hindlimb's stance
        bob = moving * (1 + _RUNNING_BOB * parameters.smooth_step((0.5 - duty) / 0.12))
        reach = moving * np.cos(2 * np.pi * phase)  # 1 when the left hindlimb is put down
        lean = slow * np.cos(2 * np.pi * (phase - middle))
        drift = variation * parameters.wander(rng, time, 0.15, 0.6, 4) * (1 - 0.7 * moving)[:, None]
        first_breath = min(variation, 1.0) * rng.uniform()
        breath = np.sin(2 * np.pi * (_BREATHING_HZ * time + first_breath))

        # positive turns the pelvis left
        lateral = -bend - (style.pelvis_yaw + style.chest_yaw) * reach
        spine = self._spine(lateral, np.zeros(len(time)))
        pitch, height = self._level(spine)
        left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
        forward = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        aside = style.sway * lean + 0.001 * drift[:, 2]
        place = (
            path.at(path.position, time) + aside[:, None] * left + 0.001 * drift[:, 3:] * forward
        )
        rise = (1 - moving) * _BREATHING_RISE * breath + 0.0007 * drift[:, 1]
        rise = rise - style.bob * bob * np.cos(4 * np.pi * (phase - middle))
        yaw = heading + 0.5 * bend + style.chest_yaw * reach + 0.02 * drift[:, 0]
        rotation = euler_rotation(yaw, pitch, style.roll * lean)
        return self._assemble(Pose(np.column_stack([place, height + rise]), rotation), spine)

    def rearing(self, standing: Trunk, path: Path, time: np.ndarray, rearing: Rearing) -> Trunk:
        """Returns the standing trunk, raised about the hips in the path's heading."""
        raised = rearing.raised
        lateral = np.zeros(len(time))
        spine = standing.spine + self._spine(lateral, _REARING_EXTENSION * raised) - self._posture
        spine = np.clip(spine, self.spine.lower, self.spine.upper)
        forward = standing.root.rotation[:, :, 0]
        yaw = np.arctan2(forward[:, 1], forward[:, 0])
        level = -np.arcsin(forward[:, 2])
        pitch = level + raised * (-rearing.pitch - level)
        rotation = euler_rotation(yaw, pitch, np.zeros(len(time)))
        heading = path.at(path.heading, time)
        hips = self._hip_point(standing.pelvis)
        hips[:, 0] -= rearing.back * np.cos(heading)
        hips[:, 1] -= rearing.back * np.sin(heading)
        trial = self._assemble(Pose(standing.root.position, rotation), spine)
        shift = hips - self._hip_point(trial.pelvis)
        return self._assemble(Pose(standing.root.position + shift, rotation), spine)

    def _spine(self, lateral: np.ndarray, extension: np.ndarray) -> np.ndarray:
        """Returns spine angles [frame, joint]: posture, plus a share of bend and extension per joint."""
        angles = np.tile(self._posture, (len(lateral), 1))
        for kind, total in (("bend", lateral), ("extend", extension)):
            columns = [i for i, name in enumerate(self._names) if name.endswith(kind)]
            angles[:, columns] += total[:, None] / len(columns)
        return np.clip(angles, self.spine.lower, self.spine.upper)

    def _level(self, spine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns pitch and height of the root [frame] that give hips and shoulders the style's heights."""
        style, frames = self._style, len(spine)
        level = Pose(np.tile(self._torso, (frames, 1)), np.tile(np.eye(3), (frames, 1, 1)))
        hips = self._hip_point(self.spine.forward(level, spine).poses[-1])
        along, up = self._shoulders[0] - hips[:, 0], self._shoulders[2] - hips[:, 2]
        # The girdles' difference in height is up * cos(pitch) - along * sin(pitch).
        wanted = (style.shoulder_height - style.hip_height) / np.hypot(along, up)
        pitch = np.arctan2(up, along) - np.arcsin(np.clip(wanted, -1, 1))
        hip_height = np.cos(pitch) * hips[:, 2] - np.sin(pitch) * hips[:, 0]
        return pitch, style.hip_height + self._floor - hip_height

    def _hip_point(self, pelvis: Pose) -> np.ndarray:
        """Returns the middle between the hip joints [frame, 3], world."""
        return pelvis.position + pelvis.rotation @ self._hips

    def _assemble(self, root: Pose, spine: np.ndarray) -> Trunk:
        torso = Pose(root.position + root.rotation @ self._torso, root.rotation)
        return Trunk(root, torso, self.spine.forward(torso, spine).poses[-1], spine)
