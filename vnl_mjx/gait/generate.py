"""Makes synthetic motion without physics: walking, trotting, standing and rearing of the rodent."""

from dataclasses import dataclass

import mujoco
import numpy as np

from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.gait import pattern, rearing
from vnl_mjx.gait.head_and_tail import neck_problem, tail_problem
from vnl_mjx.gait.limbs import Limb, PawMotion, limb_problem, paw_motion, rodent_limbs
from vnl_mjx.gait.parameters import smooth_step, wander
from vnl_mjx.gait.posture import posture
from vnl_mjx.gait.profile import GaitConfig, make_path
from vnl_mjx.gait.style import GaitStyle, scaled, varied
from vnl_mjx.gait.trunk import Trunk, TrunkBuilder
from vnl_mjx.walkers.inverse_kinematics import Problem
from vnl_mjx.walkers.layout import FreeRoot
from vnl_mjx.walkers.walker import Walker

MADE_BY = "vnl_mjx kinematic gait generator (synthetic)"

# Weight of the second difference of the joint angles at 50 Hz, see `smoothing`.
_SMOOTHNESS, _SMOOTHNESS_HZ = 10.0, 50.0
_SPARE = 0.3  # seconds
_STYLE_SCALE = 0.9  # rescale factor of the walker that the default style is for


@dataclass(frozen=True)
class GaitMotion:
    """Holds a made motion. It is synthetic: show `made_by` wherever you show the motion."""

    config: GaitConfig  # what it was made from
    qpos: np.ndarray  # float64 [frame, nq]
    contacts: np.ndarray  # bool [frame, foot], planned stance of each of `Walker.feet`
    # [frame, foot, 3] metres, world, planned place of the planted point of each foot (in
    # rearing: where the forepaws come down again)
    treads: np.ndarray
    phase: np.ndarray  # [frame] strides of the left hindlimb, which touches down at whole numbers
    speed: np.ndarray  # [frame] of the root as commanded, m/s and rad/s
    turn: np.ndarray  # likewise
    made_by: str = MADE_BY  # how


def make_gait(walker: Walker, config: GaitConfig) -> GaitMotion:
    """Makes one motion of dm_control's rodent; the same configuration gives the same motion.

    Raises:
        UserError: a value of the configuration is out of range, or the walker is no rodent.
    """
    config.check()
    return _Maker(walker, config).make()


class _Maker:
    """Builds the parts of one motion; takes every random draw here, in a fixed order."""

    def __init__(self, walker: Walker, config: GaitConfig):
        rng = np.random.default_rng(config.seed)
        size = config.variation
        self.walker, self.config = walker, config
        self.limbs = rodent_limbs(walker)
        self.angles = posture(walker)
        style = scaled(GaitStyle(), walker.config.rescale_factor / _STYLE_SCALE)
        self.style = varied(style, rng, size)
        self.builder = TrunkBuilder(walker, self.style.trunk, self.angles)
        first_phase = min(size, 1.0) * rng.uniform()
        self.path = make_path(config, self.builder.length, first_phase, self.style.frequency)
        # Adds frames before and after, which are cut off later, so that the motion is smooth to its ends.
        frames, spare = round(config.seconds * config.rate_hz), round(_SPARE * config.rate_hz)
        self.time = np.arange(-spare, frames + spare) / config.rate_hz
        self.kept = slice(spare, spare + frames)
        self.smoothness = _SMOOTHNESS * (config.rate_hz / _SMOOTHNESS_HZ) ** 2
        self.trunk = self.builder.walking(self.path, self.time, rng, size)
        self.rearing = None
        if config.behaviour == "rear":
            self.rearing = rearing.schedule(self.time, config.seconds, config.rear_pitch, rng, size)
        self.paws = [self._paw(limb, rng) for limb in self.limbs]
        self.gaze = self._gaze(rng, size)
        self.tail_bend = 0.25 * size * wander(rng, self.time, 0.1, 0.5, 2)

    def make(self) -> GaitMotion:
        trunk = self.trunk
        if self.rearing is not None:
            raised = self.builder.rearing(trunk, self.path, self.time, self.rearing)
            mass = Kinematics(self.walker.model)(self._pose(raised)).center_of_mass
            toes = np.mean([paw.position for paw in self.paws[:2]], axis=0)
            heading = self.path.at(self.path.heading, self.time)
            self.rearing = rearing.over_the_feet(self.rearing, mass, toes, heading)
            trunk = self.builder.rearing(trunk, self.path, self.time, self.rearing)
        qpos = self._pose(trunk)
        order = np.argsort([limb.foot for limb in self.limbs])
        contacts = np.stack([self.paws[i].contact for i in order], axis=1)
        if self.rearing is not None:
            fore = [limb.foot for limb in self.limbs if limb.is_fore]
            contacts[:, fore] &= self.rearing.released[:, None] == 0
        time = self.time[self.kept]
        return GaitMotion(
            config=self.config,
            qpos=qpos[self.kept],
            contacts=contacts[self.kept],
            treads=np.stack([self.paws[i].position for i in order], axis=1)[self.kept],
            phase=self.path.at(self.path.phase, time),
            speed=self.path.at(self.path.speed, time),
            turn=self.path.at(self.path.turn, time),
        )

    def _paw(self, limb: Limb, rng: np.random.Generator) -> PawMotion:
        style, path = self.style, self.path
        foothold = style.fore if limb.is_fore else style.hind
        scatter = style.scatter * rng.normal(size=(64, 2))
        phase = pattern.limb_phase(path, limb.is_fore, limb.side, self.config.behaviour == "trot")
        falls = pattern.footfalls(path, phase, foothold, limb.side, scatter)
        paw = style.fore_paw if limb.is_fore else style.hind_paw
        return paw_motion(falls, paw, self.time, self.walker.floor_height + limb.tread_radius)

    def _gaze(self, rng: np.random.Generator, size: float) -> np.ndarray:
        """Returns the direction of gaze [frame, 2]: it wanders more in standing, and points up in rearing."""
        still = 1 - smooth_step(self.path.at(self.path.pace, self.time) / 0.1)
        sizes = np.stack([0.10 + 0.25 * still, 0.04 + 0.08 * still], axis=1)
        gaze = size * sizes * wander(rng, self.time, 0.1, 0.6, 2)
        gaze[:, 1] += self.style.head_pitch
        if self.rearing is not None:
            gaze[:, 1] -= 0.6 * self.rearing.raised
        return gaze

    def _pose(self, trunk: Trunk) -> np.ndarray:
        """Solves limbs, neck and tail for a given trunk by inverse kinematics: qpos [frame, nq]."""
        root = FreeRoot
        qpos = np.zeros((len(self.time), self.walker.nq))
        qpos[:, root.position] = trunk.root.position
        for row, rotation in zip(qpos, trunk.root.rotation, strict=True):
            mujoco.mju_mat2Quat(row[root.quaternion], rotation.ravel())
        joints = qpos[:, self.walker.layout.joint_qpos]
        joints[:] = self.angles
        joints[:, self.builder.spine.columns] = trunk.spine
        path, time = self.path, self.time
        for problem in (
            neck_problem(self.walker, self.angles, trunk.torso, path, time, self.gaze),
            tail_problem(self.walker, trunk.pelvis, path, time, self.style, self.tail_bend),
            *(
                self._limb(limb, paw, trunk)
                for limb, paw in zip(self.limbs, self.paws, strict=True)
            ),
        ):
            joints[:, problem.chain.columns] = problem.solve_smooth(self.smoothness)
        return qpos

    def _limb(self, limb: Limb, paw: PawMotion, trunk: Trunk) -> Problem:
        angles = self.angles[limb.chain.columns]
        base = trunk.torso if limb.is_fore else trunk.pelvis
        if limb.is_fore and self.rearing is not None:
            paw = rearing.hanging_paw(limb, trunk.torso, paw, self.rearing)
            released = self.rearing.released[:, None]
            angles = angles + released * (rearing.hanging_angles(limb) - angles)
        return limb_problem(limb, base, paw, angles)
