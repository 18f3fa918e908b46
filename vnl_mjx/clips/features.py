"""Computes every feature of a reference clip from its poses."""

from collections.abc import Sequence

import numpy as np

from vnl_mjx.clips.body_size import for_body
from vnl_mjx.clips.columns import (
    difference_qvel,
    neighbours,
    seconds_between,
    split_qpos,
    split_qvel,
)
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.kinematics import Kinematics, for_blocks
from vnl_mjx.config.preprocessing import ContactSection
from vnl_mjx.quaternions import points_in_frame
from vnl_mjx.walkers.walker import Walker


class FeatureComputer:
    """Computes features of one walker; build it once and call it many times."""

    def __init__(
        self, walker: Walker, *, contacts: ContactSection | None = None, num_threads: int = 0
    ):
        """Prepares the simulations of all threads; 0 threads: one per core."""
        self.walker = walker
        self.contact_rule = for_body(contacts or ContactSection(), walker)
        self.kinematics = Kinematics(walker.model, num_threads)
        self.foot_heights = FootHeights(walker)

    def __call__(
        self,
        qpos: np.ndarray,
        lengths: Sequence[int] | np.ndarray,
        rate_hz: float,
        qvel: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns all features of `ReferenceFrames` by name, float32 [frame, ...].

        `qpos` [frame, nq] is in the walker's order with unit quaternions, and holds the clips, of `lengths`
        frames, one after another. `qvel` [frame, nv] defaults to finite differences within each clip.
        """
        before, after = neighbours(np.asarray(lengths))
        seconds = seconds_between(before, after, rate_hz)
        layout = self.walker.layout
        bodies = self.kinematics.empty(len(qpos))
        features = self._empty(len(qpos))

        def block(rows: slice) -> None:
            # one frame more at either end, where the differences of the block's ends are taken
            first = max(rows.start - 1, 0)
            local = qpos[first : rows.stop + 1]
            with self.kinematics.block(local) as poses:
                for whole, values in zip(bodies, poses, strict=True):
                    whole[rows] = values[rows.start - first : rows.stop - first]
                feet = poses.positions[:, self.walker.feet]
            ends = before[rows] - first, after[rows] - first
            if qvel is None:
                moved = difference_qvel(local[ends[0]], local[ends[1]], layout, seconds[rows])
            else:
                moved = qvel[rows]
            own = split_qpos(qpos[rows], layout) | split_qvel(moved, layout)
            if not layout.free_root:
                own |= root_features(self.walker, bodies.positions[rows], bodies.quaternions[rows])
            speeds = _speeds(feet[ends[0]], feet[ends[1]], seconds[rows])
            own |= self._derive(bodies.positions[rows], bodies.quaternions[rows], speeds)
            for name, values in own.items():
                features[name][rows] = values

        for_blocks(block, len(qpos), self.kinematics.num_threads)
        return features | {
            "body_positions": bodies.positions,
            "body_quaternions": bodies.quaternions,
            "center_of_mass": bodies.center_of_mass,
        }

    def derived(
        self,
        body_positions: np.ndarray,
        body_quaternions: np.ndarray,
        lengths: np.ndarray,
        rate_hz: float,
    ) -> dict[str, np.ndarray]:
        """Computes the features that follow from body poses alone: end effectors, appendages, contacts.

        `body_positions` [frame, nbody, 3] and `body_quaternions` are in the world, float32; `lengths` [clip]
        in frames.
        """
        before, after = neighbours(np.asarray(lengths))
        feet = body_positions[:, self.walker.feet]
        speeds = _speeds(feet[before], feet[after], seconds_between(before, after, rate_hz))
        derived = self._derive(body_positions, body_quaternions, speeds)
        return {name: values.astype(np.float32) for name, values in derived.items()}

    def _empty(self, num_frames: int) -> dict[str, np.ndarray]:
        walker = self.walker
        joints = walker.layout.num_joints
        shapes = {
            **{"position": (3,), "quaternion": (4,), "joints": (joints,)},
            **{"velocity": (3,), "angular_velocity": (3,), "joints_velocity": (joints,)},
            "end_effectors": (len(walker.end_effectors), 3),
            "appendages": (len(walker.appendages), 3),
            "contacts": (len(walker.feet),),
        }
        return {name: np.empty((num_frames, *s), np.float32) for name, s in shapes.items()}

    def _derive(
        self, positions: np.ndarray, quaternions: np.ndarray, speeds: np.ndarray
    ) -> dict[str, np.ndarray]:
        walker, num = self.walker, len(self.walker.end_effectors)
        limbs = np.concatenate([walker.end_effectors, walker.appendages])
        root = positions[:, walker.root_body], quaternions[:, walker.root_body]
        limbs_b = points_in_frame(*root, positions[:, limbs])
        return {
            "end_effectors": limbs_b[:, :num],
            "appendages": limbs_b[:, num:],
            "contacts": self.standing(positions, quaternions, speeds),
        }

    def standing(
        self, positions: np.ndarray, quaternions: np.ndarray, speeds: np.ndarray
    ) -> np.ndarray:
        """Returns whether each foot stands, bool [frame, foot].

        Poses are of all bodies, [frame, nbody, ...], in the world; `speeds` [frame, foot] of the feet, m/s.
        """
        low = self.foot_heights(positions, quaternions) <= self.contact_rule.height_m
        return low & (speeds <= self.contact_rule.speed)


def root_features(
    walker: Walker, body_positions: np.ndarray, body_quaternions: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns root features of a walker without a free root: its root body's pose and zero velocity."""
    position = body_positions[:, walker.root_body]
    still = np.zeros_like(position)
    return {
        "position": position,
        "quaternion": body_quaternions[:, walker.root_body],
        "velocity": still,
        "angular_velocity": still,
    }


def _speeds(before: np.ndarray, after: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns speeds [frame, point] from movements [frame, point, 3] and their durations [frame], s."""
    moved = after - before
    squared = moved[..., 0] ** 2 + moved[..., 1] ** 2 + moved[..., 2] ** 2
    return np.sqrt(squared) / seconds[:, None]
