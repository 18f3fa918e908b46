"""What the terms of an observation read: rows found by name once, and poses in the body's frame."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import FEATURES, ReferenceFrames
from vnl_mjx.config.imitation import UpstreamQuirks
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True, eq=False)
class TermRows:
    """What terms read of a walker, looked up by name once.

    Attributes:
        joints: [tracked joint] rows into qpos[7:].
        bodies: [tracked body] body ids.
        track_mjx_joints: [tracked joint] the rows that a track-mjx generation read for them.
        track_mjx_bodies: [tracked body] likewise.
        root: id of the root body.
        end_effectors: [end effector] body ids.
        appendages: [appendage] body ids.
        mass_share: [nbody] mass of each body that moves over that of all.
        mass_centers: [nbody, 3] centre of mass of each body in its own frame, metres.
    """

    joints: np.ndarray
    bodies: np.ndarray
    track_mjx_joints: np.ndarray
    track_mjx_bodies: np.ndarray
    root: int
    end_effectors: np.ndarray
    appendages: np.ndarray
    mass_share: np.ndarray
    mass_centers: np.ndarray

    @classmethod
    def build(cls, walker: Walker, quirks: UpstreamQuirks) -> "TermRows":
        """The rows of `walker`; the two of track-mjx as `quirks` tells."""
        model = walker.model
        mass = np.where(model.body_weldid == 0, 0.0, model.body_mass)
        num_joints, num_bodies = len(walker.joint_names), len(walker.body_names)
        return cls(
            joints=walker.tracked_joints,
            bodies=walker.tracked_bodies,
            track_mjx_joints=shifted_rows(
                walker.tracked_joints, quirks.joint_row_shift, num_joints
            ),
            track_mjx_bodies=shifted_rows(walker.tracked_bodies, quirks.body_row_shift, num_bodies),
            root=walker.root_body,
            end_effectors=walker.end_effectors,
            appendages=walker.appendages,
            mass_share=(mass / mass.sum()).astype(np.float32),
            mass_centers=model.body_ipos.astype(np.float32),
        )


def shifted_rows(rows: np.ndarray, shift: int, num_rows: int) -> np.ndarray:
    """Rows as an upstream generation read them (`config.imitation.UpstreamQuirks`), clamped as JAX does."""
    return np.minimum(rows + shift, num_rows - 1)


def check_names(key: str, names: Sequence[str], known: Iterable[str]) -> None:
    """Raises UserError for a name that is unknown or listed twice.

    Args:
        key: of the configuration, for the message.
        names: as configured.
        known: every name that there is.
    """
    known = sorted(known)
    for place, name in enumerate(names):
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise UserError(
                f"{key}: unknown part {name!r}; the nearest name is {nearest!r}, known are {known}"
            )
        if name in names[:place]:
            raise UserError(f"{key}: {name!r} is listed twice, expected each part once")


def frames_ahead(walker: Walker, num_frames: int) -> ReferenceFrames:
    """Shapes of `num_frames` reference frames of `walker`, without values."""
    joints, bodies = len(walker.joint_names), len(walker.body_names)
    sizes = {
        "quaternion": (4,),
        "joints": (joints,),
        "joints_velocity": (joints,),
        "body_positions": (bodies, 3),
        "body_quaternions": (bodies, 4),
        "end_effectors": (len(walker.end_effectors), 3),
        "appendages": (len(walker.appendages), 3),
        "contacts": (len(walker.feet),),
    }
    shapes = {name: (num_frames, *sizes.get(name, (3,))) for name in FEATURES}
    return ReferenceFrames(
        **{name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    )


def into_body(vector_w: jax.Array, body: int, state: PhysicsState) -> jax.Array:
    """World vectors [..., 3] in the frame of a body."""
    # a GPU would otherwise be free to multiply with 10 bits of mantissa
    return jnp.matmul(vector_w, state.xmat[body], precision=jax.lax.Precision.HIGHEST)


def bodies_in_root_frame(bodies: np.ndarray, root: int, state: PhysicsState) -> jax.Array:
    """Positions [body, 3] of bodies relative to the root body, in its frame, metres."""
    return into_body(state.xpos[bodies] - state.xpos[root], root, state)


def center_of_mass_w(rows: TermRows, state: PhysicsState) -> jax.Array:
    """The walker's centre of mass [3] in the world, metres."""
    highest = jax.lax.Precision.HIGHEST
    offsets_w = jnp.einsum("bij,bj->bi", state.xmat, rows.mass_centers, precision=highest)
    return jnp.sum(rows.mass_share[:, None] * (state.xpos + offsets_w), axis=0)
