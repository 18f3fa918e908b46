"""Gives the base posture of made motion: median joint angles of the real clips, made symmetric."""

import numpy as np

from vnl_mjx.walkers.walker import Walker

# Radians, of shared/data/reference/rodent_mocap_4x250.h5 (1000 frames of a rat that sits, looks about
# and turns on the spot); left and right averaged, lateral joints zero. Joints without markers in that
# recording (tail, digits, jaw) are left out, because the fit left them at zero.
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
# A joint without markers: at 0 the mouth is open, here it is shut (its range ends at -0.297).
UNMEASURED_POSTURE = {"mandible": -0.28}


def posture(walker: Walker) -> np.ndarray:
    """Returns angles [joint] of both tables for the walker's joints, radians; 0 for other joints."""
    angles = REAL_POSTURE | UNMEASURED_POSTURE
    return np.array([angles.get(unsided(name), 0.0) for name in walker.joint_names])


def unsided(name: str) -> str:
    """Returns a joint's name without its side: hip_L_extend -> hip_extend, knee_L -> knee."""
    return "_".join(part for part in name.split("_") if part not in ("L", "R"))
