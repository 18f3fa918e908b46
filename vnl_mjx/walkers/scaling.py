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
CONTACT_S = 0.02  # MuJoCo's default, which suits a rat
_CONTROL_HZ = (50.0, 100.0, 200.0, 400.0)
_DIGITS = 3


def servo_frequency(length: float, gravity: float) -> float:
    """Returns the natural frequency of servos, Hz, for a body of some length under some gravity."""
    return _SERVO_PER_PENDULUM * math.sqrt(gravity / length) / (2.0 * math.pi)


def contact_time(length: float, gravity: float) -> float:
    """Returns the time constant of contacts, s, for a body of some length under some gravity."""
    return CONTACT_S * math.sqrt(length / gravity / (RODENT_LENGTH_M / GRAVITY))


def control_rate(length: float, gravity: float, recorded: float | None) -> float:
    """Returns control steps per second: our rodent's, or more for a smaller body recorded so.

    Args:
        length: of the body, in the model's unit.
        gravity: of the model, in its unit.
        recorded: frames per second of a motion; None: unknown.
    """
    rats = math.sqrt(RODENT_LENGTH_M / GRAVITY)
    wanted = _CONTROL_HZ[0] * rats / math.sqrt(length / gravity)
    known = min(wanted, recorded or _CONTROL_HZ[0])
    return max((rate for rate in _CONTROL_HZ if rate <= known), default=_CONTROL_HZ[0])


def scaled_task(
    *, length: float, weight: float, gravity: float, num_joints: int, is_free: bool, rate_hz: float
) -> dict[str, Any]:
    """Returns settings of `ImitationConfig` for a body, scaled from those of our rodent's teachers.

    Args:
        length: of the body, in the model's unit.
        weight: of the body, in the model's units.
        gravity: of the model, in its units.
        num_joints: tracked joints.
        is_free: whether the root is free.
        rate_hz: control steps, and frames of the clips, per second.
    """
    ours = own_task()
    reward, termination = ours.reward, ours.termination
    longer = length / RODENT_LENGTH_M
    power = weight * math.sqrt(gravity * length)
    rats = RODENT_WEIGHT_N * math.sqrt(GRAVITY * RODENT_LENGTH_M)
    joints = num_joints / RODENT_JOINTS
    scaled: dict[str, Any] = {
        "mocap_hz": rate_hz,
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
