"""Mirrors motion: exchanges left and right.

The mirror is the world's x-z plane (y -> -y). In its reference pose (joints at qpos0, sides along +y and
-y) the model must equal its mirror image. Names give the sides (`partners`), the geometry gives the signs,
and both are checked.
"""

import re
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import conjugate, multiply, rotate
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker

_MAX_MISMATCH_M = 1e-3
_MAX_AXIS_MISMATCH = 0.02  # difference of unit vectors, about a degree
_MAX_RANGE_MISMATCH = 0.01  # radians, or metres of a slide joint
_MAX_MASS_MISMATCH = 0.02  # share
# difference of unit quaternions below which frames are mirror images
_SAME_FRAME = 1e-3

# y -> -y of vectors; of axes of rotation and of the imaginary part of quaternions
REFLECT = np.array([1.0, -1.0, 1.0])
_REFLECT_ROTATION = np.array([1.0, -1.0, 1.0, -1.0])

_OTHER = {"l": "r", "L": "R", "left": "right", "Left": "Right", "LEFT": "RIGHT"}
_OTHER |= {right: left for left, right in _OTHER.items()}
# Tried in this order; all matches in a name are exchanged, and the result must be a name.
_RULES = (
    re.compile(
        r"(?<![A-Za-z])(left|right|Left|Right|LEFT|RIGHT|[LRlr])(?![A-Za-z])"
    ),  # hip_L_abduct
    re.compile(r"(Left|Right|LEFT|RIGHT)"),  # LeftFoot, footLeft
    re.compile(r"^(left|right)|(left|right)$"),  # leftFoot, footleft
    re.compile(r"(?<=[a-z0-9])([LR])$"),  # KneeL
    re.compile(r"^([lrLR])(?=[a-zA-Z])"),  # lfemur, LFoot
)


class Mirror:
    """Mirrors poses and features of one walker.

    Attributes:
        bodies: int [nbody], the partner of each body.
        joints: int [joint], the partner of each joint.
        joint_signs: float64 [joint], factor of the partner's angle.
        worst_mismatch_m: largest distance of a body or joint from its partner's mirror image, metres.
    """

    def __init__(self, walker: Walker):
        """Finds partners and signs.

        Raises:
            UserError: the model is not symmetric in its reference pose.
        """
        model, layout = walker.model, walker.layout
        self.walker, self._layout = walker, layout
        pairs = walker.config.mirror_pairs
        known = {*walker.body_names, *walker.joint_names}
        if unknown := [name for pair in pairs for name in pair if name not in known]:
            raise UserError(
                f"walker.mirror_pairs: found {unknown[0]!r}, which is no joint or body of "
                f"{walker.config.source!r}; correct the name"
            )
        self.bodies = np.array(partners(walker.body_names, pairs))
        self.joints = np.array(partners(walker.joint_names, pairs), int)
        data = _reference_pose(model, layout, self.bodies)
        self._moving = model.body_weldid != 0
        self.bodies[~self._moving] = np.flatnonzero(~self._moving)
        self._check_bodies(data)
        hinge = model.jnt_type[layout.joint_ids] == mujoco.mjtJoint.mjJNT_HINGE
        along = data.xaxis[layout.joint_ids][self.joints] * REFLECT
        # a reflected rotation about an axis turns the other way about the reflected axis
        along = np.where(hinge[:, None], -along, along)
        dots = np.sum(data.xaxis[layout.joint_ids] * along, axis=1)
        self.joint_signs = np.where(dots < 0.0, -1.0, 1.0)
        qpos0 = model.qpos0[layout.joint_qpos]
        offsets = qpos0 - self.joint_signs * qpos0[self.joints]
        self._joint_offsets = np.where(np.abs(offsets) < 1e-9, 0.0, offsets)
        self._check_joints(data, along)
        self._frames = self._frame_corrections(data)
        self._root_frame = self._frames[model.jnt_bodyid[0]]
        self._egocentric_frame = self._frames[walker.root_body]

    def qpos(self, qpos: np.ndarray) -> np.ndarray:
        """Mirrors poses [..., nq]; mirroring twice gives the same poses."""
        result = np.array(qpos, np.float64)
        joints = self._layout.joint_qpos
        if root := self._layout.root:
            result[..., root.position] *= REFLECT
            reflected = result[..., root.quaternion] * _REFLECT_ROTATION
            result[..., root.quaternion] = _turn(reflected, self._root_frame)
        result[..., joints] = self.joint_signs * result[..., joints][..., self.joints]
        if self._joint_offsets.any():  # else -0.0 would not come back
            result[..., joints] += self._joint_offsets
        return result

    def qvel(self, qvel: np.ndarray) -> np.ndarray:
        """Mirrors velocities [..., nv]; the angular velocity is in the root's frame."""
        result = np.array(qvel, np.float64)
        joints = self._layout.joint_qvel
        if root := self._layout.root:
            result[..., root.velocity] *= REFLECT
            reflected = -REFLECT * result[..., root.angular_velocity]
            result[..., root.angular_velocity] = _into(reflected, self._root_frame)
        result[..., joints] = self.joint_signs * result[..., joints][..., self.joints]
        return result

    def body_positions(self, positions: np.ndarray) -> np.ndarray:
        """Mirrors positions of all bodies [..., nbody, 3]; fixed bodies stay."""
        mirrored = positions[..., self.bodies, :] * REFLECT.astype(positions.dtype)
        return np.where(self._moving[:, None], mirrored, positions)

    def body_quaternions(self, quaternions: np.ndarray) -> np.ndarray:
        """Mirrors orientations of all bodies [..., nbody, 4]; fixed bodies stay."""
        reflected = quaternions[..., self.bodies, :] * _REFLECT_ROTATION
        mirrored = _turn(reflected, self._frames)
        return np.where(self._moving[:, None], mirrored, quaternions).astype(quaternions.dtype)

    def egocentric(self, points_b: np.ndarray, bodies: np.ndarray) -> np.ndarray:
        """Mirrors points [..., row, 3] in the root body's frame, one for each of `bodies`."""
        mirrored = _into(REFLECT * points_b[..., self.rows(bodies), :], self._egocentric_frame)
        return mirrored.astype(points_b.dtype)

    def rows(self, bodies: np.ndarray) -> np.ndarray:
        """Returns the place of each body's partner in `bodies` [row] (ids); UserError if one is missing."""
        places = {int(body): place for place, body in enumerate(bodies)}
        for body in bodies:
            if int(self.bodies[body]) not in places:
                names = self.walker.body_names
                raise UserError(
                    f"mirror: {names[body]!r} is among {[names[b] for b in bodies]} but not its "
                    f"partner {names[self.bodies[body]]!r}; add it to the walker's configuration"
                )
        return np.array([places[int(self.bodies[body])] for body in bodies], int)

    def _frame_corrections(self, data: mujoco.MjData) -> np.ndarray:
        """Returns the rotation from the partner's reflected frame to each body's own frame [nbody, 4]."""
        reflected = data.xquat[self.bodies] * _REFLECT_ROTATION
        turns = multiply(conjugate(reflected), data.xquat)
        turns *= np.where(turns[:, :1] < 0.0, -1.0, 1.0)
        same = np.linalg.norm(turns[:, 1:], axis=1) < _SAME_FRAME
        turns[same] = [1.0, 0.0, 0.0, 0.0]
        return turns

    def _check_bodies(self, data: mujoco.MjData) -> None:
        model, names = self.walker.model, self.walker.body_names
        parents, masses = model.body_parentid, model.body_mass
        moved = np.linalg.norm(data.xpos - data.xpos[self.bodies] * REFLECT, axis=1)
        moved[~self._moving] = 0.0
        other_tree = (parents[self.bodies] != self.bodies[parents]).astype(float)
        ratio = np.abs(masses - masses[self.bodies]) / np.maximum(masses, 1e-12)
        for measure, limit, what in (
            (moved, _MAX_MISMATCH_M, "m away"),
            (other_tree, 0.5, "on another parent"),
            (ratio, _MAX_MASS_MISMATCH, "of its mass different"),
        ):
            _refuse_worst("body", names, self.bodies, measure, limit, what)
        self.worst_mismatch_m = float(moved.max())

    def _check_joints(self, data: mujoco.MjData, along: np.ndarray) -> None:
        model, names, signs = self.walker.model, self.walker.joint_names, self.joint_signs
        if not names:
            return
        own = self._layout.joint_ids
        kinds = model.jnt_type[own]
        other = (kinds != kinds[self.joints]).astype(float)
        anchors = data.xanchor[own]
        moved = np.linalg.norm(anchors - anchors[self.joints] * REFLECT, axis=1)
        turned = np.linalg.norm(data.xaxis[own] - signs[:, None] * along, axis=1)
        partner = np.sort(signs[:, None] * model.jnt_range[own][self.joints], axis=1)
        partner += self._joint_offsets[:, None]
        limited = model.jnt_limited[own].astype(bool)
        both = (limited & limited[self.joints])[:, None]
        apart = np.max(np.abs(model.jnt_range[own] - partner) * both, axis=1)
        apart[limited != limited[self.joints]] = np.inf
        for measure, limit, what in (
            (other, 0.5, "of another type"),
            (moved, _MAX_MISMATCH_M, "m away"),
            (turned, _MAX_AXIS_MISMATCH, "off its axis"),
            (apart, _MAX_RANGE_MISMATCH, "rad or m off its range"),
        ):
            _refuse_worst("joint", names, self.joints, measure, limit, what)
        self.worst_mismatch_m = max(self.worst_mismatch_m, float(moved.max()))


def _reference_pose(model: mujoco.MjModel, layout: Layout, partner: np.ndarray) -> mujoco.MjData:
    """Returns the model above the origin, turned if its left and right are not along y at qpos0.

    Without a free root it stays where it stands.
    """
    data = mujoco.MjData(model)
    if (root := layout.root) is None:
        mujoco.mj_kinematics(model, data)
        return data
    data.qpos[root.position][:2] = 0.0
    mujoco.mj_kinematics(model, data)
    apart = data.xpos[partner] - data.xpos
    apart *= np.where(np.arange(model.nbody) < partner, 1.0, -1.0)[:, None]
    _, lengths, axes = np.linalg.svd(apart)
    side = axes[0]  # that most pairs are apart along
    if lengths[0] > 0.0 and np.linalg.norm(side[[0, 2]]) > _SAME_FRAME:
        between = np.array(
            [1.0 + abs(side[1]), *np.cross(side, [0.0, np.sign(side[1]) or 1.0, 0.0])]
        )
        between /= np.linalg.norm(between)
        data.qpos[root.quaternion] = multiply(between, data.qpos[root.quaternion])
        mujoco.mj_kinematics(model, data)
    return data


def _turn(quaternion: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Multiplies by frames [..., 4]; if all are the identity, returns exactly the same numbers."""
    if np.all(frame[..., 0] == 1.0):
        return quaternion
    return multiply(quaternion, frame)


def _into(vector: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] seen from a frame [4] that is turned against theirs."""
    return vector if frame[0] == 1.0 else rotate(vector, conjugate(frame))


def _refuse_worst(
    kind: str,
    names: tuple[str, ...],
    rows: np.ndarray,
    measure: np.ndarray,
    limit: float,
    what: str,
) -> None:
    worst = int(np.argmax(measure))
    if measure[worst] <= limit:
        return
    name, partner = names[worst], names[rows[worst]]
    expected = next(other_side(name), None)
    if rows[worst] != worst:
        found = f"the mirror image of {partner!r}"
    else:
        found = "its own mirror image" + (f" (there is no {expected!r})" if expected else "")
    raise UserError(
        f"mirror: expected a walker that is symmetric about the x-z plane, found {kind} {name!r} "
        f"{measure[worst]:.3g} {what} from {found}; switch mirroring off or correct the model"
    )


def other_side(name: str) -> Iterator[str]:
    """Yields possible names of `name`'s partner, likeliest first; nothing for a name without a side."""
    for rule in _RULES:
        other = rule.sub(lambda found: _OTHER[found.group()], name)
        if other != name:
            yield other


def partners(names: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> list[int]:
    """Returns the row of each name's partner on the other side, or its own row if it has none.

    A name that looks sided but has no partner ("root" is no left "loot") is its own. `pairs` are partners
    whatever their names; pairs that are not among `names` are ignored.
    """
    rows = {name: row for row, name in enumerate(names)}
    found = list(range(len(names)))
    for row, name in enumerate(names):
        other = next((rows[other] for other in other_side(name) if other in rows), None)
        back = other is not None and next((n for n in other_side(names[other]) if n in rows), None)
        if other is not None and back == name:
            found[row] = other
    for left, right in pairs:
        if left in rows and right in rows:
            found[rows[left]], found[rows[right]] = rows[right], rows[left]
    return found
