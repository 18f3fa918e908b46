"""The posture that made motion is anchored to: median joint angles of the real clips, made symmetric.

`python -m vnl_mjx.gait.posture FILE` prints the table anew from a STAC file of the rodent.
"""

import sys

import h5py
import numpy as np

from vnl_mjx.errors import USER_ERROR_EXIT_STATUS, UserError
from vnl_mjx.walkers.walker import Walker

# Radians, of shared/data/reference/rodent_mocap_4x250.h5 (1000 frames of a rat that sits, looks about
# and turns on the spot); left and right averaged, lateral joints zero. Joints that the markers of
# that recording do not reach (tail, digits, jaw) are left out: they were never moved from zero.
REAL_POSTURE = {
    "vertebra_1_extend": -0.475,
    "vertebra_4_extend": 0.078,
    "hip_supinate": -0.107,
    "hip_abduct": -0.079,
    "hip_extend": -0.118,
    "knee": -0.098,
    "ankle": -0.004,
    "vertebra_cervical_5_extend": 0.174,
    "vertebra_cervical_2_extend": -0.258,
    "vertebra_atlant_extend": 0.255,
    "atlas": -0.087,
    "scapula_supinate": -0.010,
    "scapula_abduct": -0.210,
    "scapula_extend": -0.013,
    "shoulder": -0.105,
    "shoulder_sup": 0.108,
    "elbow": 0.199,
    "wrist": 0.158,
}
# What no marker reached: at 0 the mouth is open, here it is shut (its range ends at -0.297).
UNMEASURED_POSTURE = {"mandible": -0.28}


def posture(walker: Walker) -> np.ndarray:
    """Angles [joint] of both tables for the walker's joints, radians; 0 where they have none."""
    angles = REAL_POSTURE | UNMEASURED_POSTURE
    return np.array([angles.get(unsided(name), 0.0) for name in walker.joint_names])


def symmetric_medians(qpos: np.ndarray, joint_names: tuple[str, ...]) -> dict[str, float]:
    """Median angle of each joint over qpos [frame, 7 + joint], both sides together, by name without side."""
    groups: dict[str, list[np.ndarray]] = {}
    for name, angles in zip(joint_names, qpos[:, 7:].T, strict=True):
        if not name.endswith(("_bend", "_twist")):
            groups.setdefault(unsided(name), []).append(angles)
    return {name: float(np.median(np.stack(sides))) for name, sides in groups.items()}


def unsided(name: str) -> str:
    """A joint's name without its side: hip_L_extend -> hip_extend, knee_L -> knee."""
    return "_".join(part for part in name.split("_") if part not in ("L", "R"))


def main(arguments: list[str]) -> int:
    """Prints the table of one file; returns the exit status.

    Args:
        arguments: the file's path.
    """
    from vnl_mjx.config.imitation import WalkerConfig
    from vnl_mjx.walkers.walker import build_walker

    walker = build_walker(WalkerConfig())
    try:
        if len(arguments) != 1:
            raise UserError("expected one argument, a STAC file of the rodent with `qpos`")
        with h5py.File(arguments[0], "r") as file:
            qpos = np.asarray(file["qpos"], np.float64)
        if qpos.shape[1:] != (walker.model.nq,):
            raise UserError(
                f"{arguments[0]}: expected qpos of {walker.model.nq}, found {qpos.shape}"
            )
    except (UserError, OSError, KeyError) as error:
        print(f"posture: {error}", file=sys.stderr)
        return USER_ERROR_EXIT_STATUS
    for name, angle in symmetric_medians(qpos, walker.joint_names).items():
        if abs(angle) > 5e-4:
            print(f'    "{name}": {angle:.3f},')
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
