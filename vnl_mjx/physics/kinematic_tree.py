"""Computes poses of all bodies at once: MJX's kinematics with less than a tenth of its code to compile.

`mjx.kinematics` unrolls every level of the tree, which the rodent's tail makes deep. These levels are three
quarters of the step, and XLA on a CPU fuses them into functions that take LLVM minutes.
"""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.mjx import Data, Model

from vnl_mjx import quaternions

_FREE, _BALL, _SLIDE, _HINGE = _KINDS = range(4)  # of `mujoco.mjtJoint`
_IDENTITY = (1.0, 0.0, 0.0, 0.0)


class KinematicTree:
    """Computes the position stage of a model without mocap bodies, in place of `mjx.kinematics`.

    Every body and every joint is a frame relative to another one: a body to its parent's last joint, a
    joint to the previous joint or to its body. Each round composes all frames with their reference frames,
    which doubles the length of the composed chains, so 2^k levels take k rounds (pointer jumping: Hillis
    and Steele, Data parallel algorithms, 1986).
    """

    def __init__(self, model: mujoco.MjModel):
        """Looks up the reference frame of each frame.

        Raises:
            ValueError: the model has mocap bodies.
        """
        if model.nmocap:
            raise ValueError(f"{model.nmocap=}, expected none")
        self._model = model
        self._joints = {kind: np.flatnonzero(model.jnt_type == kind) for kind in _KINDS}
        by_kind = np.concatenate([self._joints[kind] for kind in _KINDS])
        self._order = np.argsort(by_kind)
        self._within, self._last = _frames(model)
        self._rounds = []
        ancestors = self._within
        while ancestors.any():
            self._rounds.append(ancestors)
            ancestors = ancestors[ancestors]

    def __call__(self, model: Model, data: Data) -> Data:
        """Returns `data` with everything that `mjx.kinematics` computes from `qpos`.

        Args:
            model: the same model; positions of bodies, joints, geoms and sites may differ.
            data: data of one simulation.
        """
        host = self._model
        qpos = self._normalized(data.qpos)
        pos, quat = self._compose(model, qpos)
        before = self._within[host.nbody :]
        anchor = pos[before] + quaternions.rotate(model.jnt_pos, quat[before])
        axis = quaternions.rotate(model.jnt_axis, quat[before])
        free = self._joints[_FREE]
        xpos, xquat = pos[self._last], quat[self._last]

        def placed(body: np.ndarray, pos: jax.Array, quat: jax.Array):
            world_pos = xpos[body] + quaternions.rotate(pos, xquat[body])
            return world_pos, quaternions.matrix(quaternions.multiply(xquat[body], quat))

        xipos, ximat = placed(np.arange(host.nbody), model.body_ipos, model.body_iquat)
        geom_xpos, geom_xmat = placed(host.geom_bodyid, model.geom_pos, model.geom_quat)
        site_xpos, site_xmat = placed(host.site_bodyid, model.site_pos, model.site_quat)
        return data.replace(
            qpos=qpos,
            xanchor=anchor.at[free].set(pos[host.nbody + free]),
            xaxis=axis.at[free].set(jnp.array([0.0, 0.0, 1.0])),
            xpos=xpos,
            xquat=xquat,
            xmat=quaternions.matrix(xquat),
            xipos=xipos,
            ximat=ximat,
            geom_xpos=geom_xpos,
            geom_xmat=geom_xmat,
            site_xpos=site_xpos,
            site_xmat=site_xmat,
        )

    def _addresses(self, kind: int, start: int, width: int) -> np.ndarray:
        """Returns rows of qpos, [joint of this kind, width]."""
        return self._model.jnt_qposadr[self._joints[kind]][:, None] + start + np.arange(width)

    def _normalized(self, qpos: jax.Array) -> jax.Array:
        addresses = np.concatenate([self._addresses(_FREE, 3, 4), self._addresses(_BALL, 0, 4)])
        quat = qpos[addresses]
        norm = jnp.linalg.norm(quat, axis=-1, keepdims=True)
        # A diverged simulation has zero quaternions, which stay zero.
        return qpos.at[addresses].set(quat / jnp.where(norm == 0.0, 1.0, norm))

    def _joint_frames(self, model: Model, qpos: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns each joint's frame relative to its reference: position [njnt, 3], quaternion [njnt, 4]."""
        ball, slide, hinge = (self._joints[kind] for kind in (_BALL, _SLIDE, _HINGE))
        slid = (qpos - model.qpos0)[self._addresses(_SLIDE, 0, 1)]
        half = 0.5 * (qpos - model.qpos0)[self._addresses(_HINGE, 0, 1)]
        turns = [jnp.cos(half), jnp.sin(half) * model.jnt_axis[hinge]]
        turned = jnp.concatenate(
            [qpos[self._addresses(_BALL, 0, 4)], jnp.concatenate(turns, axis=-1)]
        )
        pivot = model.jnt_pos[np.concatenate([ball, hinge])]
        swung = pivot - quaternions.rotate(pivot, turned)
        num_ball = len(ball)
        pos = [
            qpos[self._addresses(_FREE, 0, 3)],
            swung[:num_ball],
            slid * model.jnt_axis[slide],
            swung[num_ball:],
        ]
        quat = [
            qpos[self._addresses(_FREE, 3, 4)],
            turned[:num_ball],
            jnp.tile(jnp.array(_IDENTITY), (len(slide), 1)),
            turned[num_ball:],
        ]
        return jnp.concatenate(pos)[self._order], jnp.concatenate(quat)[self._order]

    def _compose(self, model: Model, qpos: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns world position and quaternion of every frame, bodies first."""
        joint_pos, joint_quat = self._joint_frames(model, qpos)
        world_pos, world_quat = jnp.zeros((1, 3)), jnp.array([_IDENTITY])
        pos = jnp.concatenate([world_pos, model.body_pos[1:], joint_pos])
        quat = jnp.concatenate([world_quat, model.body_quat[1:], joint_quat])
        for within in self._rounds:
            pos = pos[within] + quaternions.rotate(pos, quat[within])
            quat = quaternions.multiply(quat[within], quat)
        return pos, quat


def _frames(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Returns the reference of each frame [nbody + njnt], and the last frame of each body [nbody].

    A free joint gives its body's world pose, so its reference is the world.
    """
    within = np.zeros(model.nbody + model.njnt, np.int64)
    last = np.arange(model.nbody)
    for body in range(1, model.nbody):
        within[body] = last[model.body_parentid[body]]
        first_joint = model.body_jntadr[body]
        for joint in range(first_joint, first_joint + model.body_jntnum[body]):
            frame = model.nbody + joint
            within[frame] = 0 if model.jnt_type[joint] == _FREE else last[body]
            last[body] = frame
    return within, last
