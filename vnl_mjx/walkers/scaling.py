"""Scales settings that suit a rat to a body of another size, weight and number of joints.

Lengths go with the body's length, and times with the square root of length over gravity (Froude scaling:
Alexander 1976, "Estimates of speeds of dinosaurs"), which is also the period of a pendulum of that length.
"""

import math
from typing import Any

from vnl_mjx.config.rewards import RewardConfig, TerminationConfig
from vnl_mjx.config.teacher import own_task

RODENT_LENGTH_M, RODENT_WEIGHT_N, RODENT_JOINTS, GRAVITY = 0.13, 2.6, 33, 9.81
_SERVO_PER_PENDULUM = (
    7.0  # natural frequency of a servo over that of a pendulum of the body's length
)
_DIGITS = 3


def servo_frequency(length: float, gravity: float) -> float:
    """Returns the natural frequency of servos, Hz, for a body of some length under some gravity."""
    return _SERVO_PER_PENDULUM * math.sqrt(gravity / length) / (2.0 * math.pi)


def scaled_task(
    *, length: float, weight: float, gravity: float, num_joints: int, is_free: bool
) -> dict[str, Any]:
    """Returns settings of `ImitationConfig` for a body, scaled from those of our rodent's teachers.

    Args:
        length: of the body, in the model's unit.
        weight: of the body, in the model's units.
        gravity: of the model, in its units.
        num_joints: tracked joints.
        is_free: whether the root is free.
    """
    ours = own_task()
    reward, termination = ours.reward, ours.termination
    longer = length / RODENT_LENGTH_M
    power = weight * math.sqrt(gravity * length)
    rats = RODENT_WEIGHT_N * math.sqrt(GRAVITY * RODENT_LENGTH_M)
    joints = num_joints / RODENT_JOINTS
    scaled: dict[str, Any] = {
        "physics": {"solver": "newton", "iterations": 10, "ls_iterations": 10},
        "reward": _reward(reward, longer, power / rats, joints),
        "termination": _termination(termination, longer, joints),
        "quirks": {"body_row_shift": 0, "reward_body_row_shift": 0},
    }
    if not is_free:
        scaled["reward"] |= {"pos_weight": 0.0, "quat_weight": 0.0}
    return scaled


def _reward(
    reward: RewardConfig, longer: float, stronger: float, joints: float
) -> dict[str, float]:
    per_area = {
        f"{name}_exp_scale": _rounded(getattr(reward, f"{name}_exp_scale") / longer**2)
        for name in ("pos", "bodypos", "endeff")
    }
    return per_area | {
        "joint_exp_scale": _rounded(reward.joint_exp_scale / joints),
        "energy_cost_weight": _rounded(reward.energy_cost_weight / stronger),
        "energy_cost_max": _rounded(reward.energy_cost_max * stronger),
    }


def _termination(limits: TerminationConfig, longer: float, joints: float) -> dict[str, Any]:
    low, high = limits.healthy_z_range
    return {
        "healthy_z_range": [_rounded(min(low * longer, -high * longer)), _rounded(high * longer)],
        "max_pos_error": _rounded(limits.max_pos_error * longer**2),
        "max_joint_error": _rounded(limits.max_joint_error * joints),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
