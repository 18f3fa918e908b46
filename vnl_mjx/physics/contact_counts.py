"""Counts contacts and constraint rows: the maximum of a model, and the counts in given poses.

MuJoCo Warp needs both numbers in advance (`physics.warp`).
"""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.errors import UserError

_GEOM, _EQUALITY = mujoco.mjtGeom, mujoco.mjtEq
# Largest number of contact points per pair of geoms in MuJoCo Warp 3.17 (`collision_primitive_core.py`).
# Any pair with a sphere has one; pairs that are not listed have at most those of boxes.
_MANY_POINTS = 8
_POINTS = {
    (_GEOM.mjGEOM_PLANE, _GEOM.mjGEOM_ELLIPSOID): 1,
    (_GEOM.mjGEOM_PLANE, _GEOM.mjGEOM_CAPSULE): 2,
    (_GEOM.mjGEOM_PLANE, _GEOM.mjGEOM_CYLINDER): 4,
    (_GEOM.mjGEOM_CAPSULE, _GEOM.mjGEOM_CAPSULE): 2,
    (_GEOM.mjGEOM_CAPSULE, _GEOM.mjGEOM_BOX): 2,
}
_EQUALITY_ROWS = {
    _EQUALITY.mjEQ_CONNECT: 3,
    _EQUALITY.mjEQ_WELD: 6,
    _EQUALITY.mjEQ_JOINT: 1,
    _EQUALITY.mjEQ_TENDON: 1,
}


@dataclass(frozen=True)
class ContactCounts:
    """Holds the counts of one or of several simulations.

    Attributes:
        contacts: contact points.
        rows: rows of the constraint solver: equalities, friction losses, limits and contacts.
    """

    contacts: Any
    rows: Any


def largest_possible(model: mujoco.MjModel) -> ContactCounts:
    """Returns upper bounds over all poses of `model`: all pairs that may touch do, at all joint limits.

    Raises:
        UserError: the model has constraints without a known number of rows (height fields, flexes).
    """
    contacts, rows = 0, _rows_without_contacts(model)
    for geom_1, geom_2, dimensions in _touching(model):
        points = _points(model, geom_1, geom_2)
        contacts += points
        rows += points * _contact_rows(model, dimensions)
    return ContactCounts(contacts, rows)


def counted(model: mujoco.MjModel, qpos: np.ndarray) -> ContactCounts:
    """Returns the counts of MuJoCo C for each pose in `qpos` [pose, nq], int [pose]."""
    data = mujoco.MjData(model)
    contacts, rows = np.zeros((2, len(qpos)), int)
    for i, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_fwdPosition(model, data)
        contacts[i], rows[i] = data.ncon, data.nefc
    return ContactCounts(contacts, rows)


def _touching(model: mujoco.MjModel) -> list[tuple[int, int, int]]:
    """Yields pairs of geoms that may collide under MuJoCo's filters, with the contact's dimension."""
    body, type_bits, other_bits = model.geom_bodyid, model.geom_contype, model.geom_conaffinity
    welded = model.body_weldid
    parent = welded[model.body_parentid[welded]]
    families = not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT
    listed = set(zip(model.pair_geom1.tolist(), model.pair_geom2.tolist(), strict=True))
    pairs = [
        (int(a), int(b), int(dimensions))
        for a, b, dimensions in zip(model.pair_geom1, model.pair_geom2, model.pair_dim, strict=True)
    ]
    for a in range(model.ngeom):
        for b in range(a + 1, model.ngeom):
            body_a, body_b = body[a], body[b]
            root_a, root_b = welded[body_a], welded[body_b]
            if (
                not (type_bits[a] & other_bits[b] or type_bits[b] & other_bits[a])
                or root_a == root_b
                or (
                    families
                    and (root_a and root_b)
                    and (root_a == parent[body_b] or root_b == parent[body_a])
                )
                or (min(body_a, body_b) << 16) + max(body_a, body_b) in model.exclude_signature
                or {(a, b), (b, a)} & listed
            ):
                continue
            pairs.append((a, b, int(max(model.geom_condim[a], model.geom_condim[b]))))
    return pairs


def _points(model: mujoco.MjModel, geom_1: int, geom_2: int) -> int:
    kinds = [_GEOM(kind) for kind in sorted(model.geom_type[[geom_1, geom_2]])]
    if {_GEOM.mjGEOM_HFIELD, _GEOM.mjGEOM_SDF} & set(kinds):
        return mujoco.mjMAXCONPAIR
    return 1 if _GEOM.mjGEOM_SPHERE in kinds else _POINTS.get(tuple(kinds), _MANY_POINTS)


def _contact_rows(model: mujoco.MjModel, dimensions: int) -> int:
    pyramid = model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    return 2 * (dimensions - 1) if pyramid and dimensions > 1 else dimensions


def _rows_without_contacts(model: mujoco.MjModel) -> int:
    unknown = {int(kind) for kind in model.eq_type} - {int(kind) for kind in _EQUALITY_ROWS}
    if unknown or model.nflex:
        raise UserError(
            "physics_config.njmax: expected a model of rigid bodies, found flexes or their equalities; "
            "set naconmax_per_env and njmax to what the model needs"
        )
    equalities = sum(_EQUALITY_ROWS[_EQUALITY(kind)] for kind in model.eq_type)
    losses = np.sum(model.dof_frictionloss > 0) + np.sum(model.tendon_frictionloss > 0)
    limits = np.sum(model.jnt_limited) + np.sum(model.tendon_limited)
    return int(equalities + losses + limits)
