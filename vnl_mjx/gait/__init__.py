"""Makes synthetic motion: kinematic gaits of the rodent, from published facts and inverse kinematics."""

from vnl_mjx.gait.generate import GaitMotion, make_gait
from vnl_mjx.gait.options import add_arguments, configs_from, gait_suite
from vnl_mjx.gait.profile import BEHAVIOURS, GaitConfig

__all__ = [
    "BEHAVIOURS",
    "GaitConfig",
    "GaitMotion",
    "add_arguments",
    "configs_from",
    "gait_suite",
    "make_gait",
]
