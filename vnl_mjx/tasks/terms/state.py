"""Defines the input of terms: one simulation, its actions and, if it follows a clip, its errors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import FEATURES, ReferenceFrames
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.extensions import is_path, load_object
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.quaternions import matrix_quaternion
from vnl_mjx.walkers.walker import Walker


class BodyPose(NamedTuple):
    """Holds the pose of root and joints.

    Attributes:
        root_position: [3] in the world, metres.
        root_quaternion: [4] in the world, unit, w x y z.
        joints: [num_joints] radians, or metres of a slide.
    """

    root_position: jax.Array
    root_quaternion: jax.Array
    joints: jax.Array


@flax.struct.dataclass
class TermState:
    """Holds one simulation in the form that terms read.

    Attributes:
        physics: the simulation.
        pose: current pose of root and joints. Without a free root, the root is the walker's root body.
        root_velocity: [3] in the world, m/s; zero without a free root.
        root_angular_velocity: [3] in the root's own frame, rad/s; zero without a free root.
        joint_velocities: [num_joints] rad/s, or m/s of a slide.
        previous: the pose one control step ago; after a reset the pose now.
        action: [nu] control of the last step, zeros after a reset.
        previous_action: [nu] control before it.
        actions: [window, nu] the last controls, oldest first, zeros before the episode.
        errors: `TrackingErrors` to the reference frame now; None in observations and in a task that
            follows nothing.
        distances: named distances that built-in terminations bound; empty if `errors` is None.
        control_timestep: static; seconds per control step.
    """

    physics: PhysicsState
    pose: BodyPose
    root_velocity: jax.Array
    root_angular_velocity: jax.Array
    joint_velocities: jax.Array
    previous: BodyPose
    action: jax.Array
    previous_action: jax.Array
    actions: jax.Array
    errors: Any
    distances: dict[str, jax.Array]
    control_timestep: float = flax.struct.field(pytree_node=False)

    @property
    def root_height(self) -> jax.Array:
        """The height [] of the root in the world, metres."""
        return self.pose.root_position[2]


Term = Callable[..., jax.Array]  # of (TermState, ReferenceFrames or None, Walker)


def term_state(
    physics: PhysicsState,
    walker: Walker,
    control_timestep: float,
    *,
    previous_qpos: jax.Array | None = None,
    action: jax.Array | None = None,
    previous_action: jax.Array | None = None,
    actions: jax.Array | None = None,
    root_lags: bool = False,
) -> TermState:
    """Returns the input of terms; arguments that are not given take their values after a reset.

    Args:
        physics: the simulation.
        walker: the walker.
        control_timestep: seconds per control step.
        previous_qpos: [nq] pose one control step ago.
        action: [nu] control of the last step.
        previous_action: [nu] control before it.
        actions: [window, nu] the last controls, oldest first.
        root_lags: `UpstreamQuirks.root_lags`.
    """
    root, still = walker.root, jnp.zeros(3)
    none = jnp.zeros(walker.model.nu)
    action = none if action is None else action
    return TermState(
        physics=physics,
        pose=_pose(physics, physics.qpos, walker, root_lags),
        root_velocity=physics.qvel[root.velocity] if root else still,
        root_angular_velocity=physics.qvel[root.angular_velocity] if root else still,
        joint_velocities=physics.qvel[walker.layout.joint_qvel],
        previous=_pose(physics, physics.qpos if previous_qpos is None else previous_qpos, walker),
        action=action,
        previous_action=none if previous_action is None else previous_action,
        actions=action[None] if actions is None else actions,
        errors=None,
        distances={},
        control_timestep=control_timestep,
    )


def _pose(
    physics: PhysicsState, qpos: jax.Array, walker: Walker, root_lags: bool = False
) -> BodyPose:
    root, joints = walker.root, qpos[walker.layout.joint_qpos]
    if root and not root_lags:
        return BodyPose(qpos[root.position], qpos[root.quaternion], joints)
    body = int(walker.model.jnt_bodyid[0]) if root else walker.root_body
    quaternion = matrix_quaternion(physics.xmat[body])
    if root:  # chooses between q and -q like MuJoCo
        quaternion *= jnp.where(jnp.dot(quaternion, qpos[root.quaternion]) < 0, -1.0, 1.0)
    return BodyPose(physics.xpos[body], quaternion, joints)


def find_terms(key: str, names: Sequence[str], known: dict[str, Term]) -> dict[str, Term]:
    """Finds terms by their names or paths, in their order.

    Args:
        key: key of the configuration, for messages.
        names: as configured.
        known: the built-in terms.

    Raises:
        UserError: a term is unknown, cannot be imported, or is listed twice.
    """
    known_names = sorted(known)
    own = [name for name in names if not is_path(name)]
    for place, name in enumerate(own):
        if name not in known:
            near = nearest(name, known_names, 0.0)
            raise UserError(
                f"{key}: unknown part {name!r}; the nearest name is {near!r}, known are {known_names}"
            )
        if name in own[:place]:
            raise UserError(f"{key}: {name!r} is listed twice, expected each part once")
    return {name: load_object(name, key) if is_path(name) else known[name] for name in names}


def shifted_rows(rows: np.ndarray, shift: int, num_rows: int) -> np.ndarray:
    """Shifts rows as an upstream generation did (`config.imitation.UpstreamQuirks`), clamped like JAX."""
    return np.minimum(rows + shift, num_rows - 1)


def frames_ahead(walker: Walker, num_frames: int) -> ReferenceFrames:
    """Returns the shapes of `num_frames` reference frames of `walker`, without values."""
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
        **{name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()},
        free_root=walker.layout.free_root,
    )


def into_body(vector_w: jax.Array, body: int, state: PhysicsState) -> jax.Array:
    """Rotates world vectors [..., 3] into the frame of a body."""
    # otherwise a GPU may multiply with 10 bits of mantissa
    return jnp.matmul(vector_w, state.xmat[body], precision=jax.lax.Precision.HIGHEST)


def bodies_in_root_frame(bodies: np.ndarray, root: int, state: PhysicsState) -> jax.Array:
    """Returns positions [body, 3] of bodies relative to the root body, in its frame, metres."""
    return into_body(state.xpos[bodies] - state.xpos[root], root, state)


def center_of_mass_w(state: PhysicsState, walker: Walker) -> jax.Array:
    """Returns the walker's centre of mass [3] in the world, metres."""
    highest = jax.lax.Precision.HIGHEST
    offsets_w = jnp.einsum("bij,bj->bi", state.xmat, walker.mass_centers, precision=highest)
    return jnp.sum(walker.mass_share[:, None] * (state.xpos + offsets_w), axis=0)
