"""Defines the conventions in which a file may write poses, and converts poses to MuJoCo's."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vnl_mjx.clips.recording import ROOT_COLUMNS
from vnl_mjx.quaternions import multiply

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_Y_TO_Z = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])  # turns the y axis to the z axis


@dataclass(frozen=True)
class Conventions:
    """Holds the conventions of one file; the defaults are MuJoCo's."""

    quaternion_order: Literal["wxyz", "xyzw"] = "wxyz"
    length_unit: Literal["m", "cm", "mm"] = "m"  # of the root's position
    up_axis: Literal["z", "y"] = "z"  # of the world
    angle_unit: Literal["radians", "degrees"] = "radians"  # of the joints

    def converted(self, qpos: np.ndarray, has_root: bool) -> np.ndarray:
        """Returns poses [frame, column] in MuJoCo's conventions."""
        result = np.array(qpos, np.promote_types(qpos.dtype, np.float32))
        joints = result[:, ROOT_COLUMNS if has_root else 0 :]
        if self.angle_unit == "degrees":
            joints *= np.pi / 180.0
        if has_root:
            result[:, :3] = self._positions(result[:, :3])
            result[:, 3:ROOT_COLUMNS] = self.quaternions(result[:, 3:ROOT_COLUMNS])
        return result

    def _positions(self, position: np.ndarray) -> np.ndarray:
        scaled = position * METRES[self.length_unit]
        if self.up_axis == "z":
            return scaled
        return np.stack([scaled[:, 0], -scaled[:, 2], scaled[:, 1]], axis=1)

    def quaternions(self, quaternion: np.ndarray) -> np.ndarray:
        """Returns orientations [frame, 4] as w x y z in a world whose z axis points up."""
        ordered = quaternion[:, [3, 0, 1, 2]] if self.quaternion_order == "xyzw" else quaternion
        return ordered if self.up_axis == "z" else multiply(_Y_TO_Z, ordered)

    def changes(self) -> tuple[str, ...]:
        """Returns what `converted` does, in words."""
        words = {
            "quaternions read as x y z w": self.quaternion_order == "xyzw",
            f"root position converted from {self.length_unit}": self.length_unit != "m",
            "the world turned from y up to z up": self.up_axis == "y",
            "joints converted from degrees": self.angle_unit == "degrees",
        }
        return tuple(text for text, is_so in words.items() if is_so)
