"""Defines the columns of a walker's root and joints in qpos and qvel.

A free root joint, if any, is the model's first joint; every other joint is a hinge or a slide, with one
number in qpos and one in qvel.
"""

from dataclasses import dataclass


class FreeRoot:
    """Holds the columns of a free root joint."""

    position = slice(0, 3)  # of qpos, in the world, metres
    quaternion = slice(3, 7)  # of qpos, in the world, unit, w x y z
    velocity = slice(0, 3)  # of qvel, in the world, m/s
    angular_velocity = slice(3, 6)  # of qvel, in the root's own frame, rad/s


_FREE_ROOT = FreeRoot()


@dataclass(frozen=True)
class Layout:
    """Holds the columns of qpos and qvel. Hashable, so it can be a static part of a pytree."""

    num_joints: int  # joints besides the root joint
    free_root: bool = True  # whether a free joint moves the root

    @property
    def root(self) -> FreeRoot | None:
        """Columns of the root joint; None if the walker has no free root."""
        return _FREE_ROOT if self.free_root else None

    @property
    def joint_qpos(self) -> slice:
        """Columns of the joints in qpos."""
        return slice(7 if self.free_root else 0, None)

    @property
    def joint_qvel(self) -> slice:
        """Columns of the joints in qvel."""
        return slice(6 if self.free_root else 0, None)

    @property
    def joint_ids(self) -> slice:
        """Rows of the joints in the model's arrays of joints."""
        return slice(1 if self.free_root else 0, None)

    @property
    def nq(self) -> int:
        """Columns of qpos."""
        return self.joint_qpos.start + self.num_joints

    @property
    def nv(self) -> int:
        """Columns of qvel."""
        return self.joint_qvel.start + self.num_joints
