"""Configures rewards and terminations of an imitation task, one section per family.

`family` selects the section in force; the others stay at their defaults. `docs/rewards.md` has the formulas.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from vnl_mjx.config.validation import number

# "none": only the user's own terms.
Family = Literal["track_mjx", "vnl_playground", "mimic", "none"]


@dataclass(frozen=True)
class RewardTermSection:
    """A further term of the reward.

    Attributes:
        function: name of a built-in term (`tasks/terms/rewards.py`), or the path of a function of the
            user's own, "my_lab.terms:whisking" or "folder/file.py:whisking"; empty: the term's own name.
        weight: factor; negative for a cost.
        arguments: keyword arguments of the function.
    """

    function: str = ""
    weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TerminationTermSection:
    """A further reason to end an episode as failed.

    Attributes:
        function: name of a built-in term (`tasks/terms/terminations.py`) or path, as of a reward term.
        arguments: keyword arguments of the function.
    """

    function: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VnlPlaygroundReward:
    """Terms of vnl-playground (`tasks/rodent/imitation.py`).

    A tracking term is `weight * exp(-(error / scale)^2 / 2)` of a Euclidean distance; a cost is subtracted.

    Attributes:
        root_pos_weight: of the root's position.
        root_pos_scale: metres.
        root_quat_weight: of the root's orientation.
        root_quat_scale: degrees of half the rotation angle.
        joints_weight: of all joint angles.
        joints_scale: radians.
        joints_vel_weight: of all joint velocities.
        joints_vel_scale: rad/s.
        bodies_pos_weight: of `walker.body_names` in the world.
        bodies_pos_scale: metres.
        end_eff_weight: of `walker.end_effector_names` in the world.
        end_eff_scale: metres.
        torso_z_range_weight: earned while the root body is within `healthy_z_range`.
        healthy_z_range: height of the root body, metres.
        control_cost_weight: of the summed squared control.
        control_diff_cost_weight: of its summed squared change.
        energy_cost_weight: of the power at the joints.
        energy_cost_max: limit of that power, W.
    """

    root_pos_weight: float = number(1.0, ge=0)
    root_pos_scale: float = number(0.035, gt=0)
    root_quat_weight: float = number(1.0, ge=0)
    root_quat_scale: float = number(20.0, gt=0)
    joints_weight: float = number(1.0, ge=0)
    joints_scale: float = number(1.4, gt=0)
    joints_vel_weight: float = number(1.0, ge=0)
    joints_vel_scale: float = number(1.0, gt=0)
    bodies_pos_weight: float = number(1.0, ge=0)
    bodies_pos_scale: float = number(0.25, gt=0)
    end_eff_weight: float = number(1.0, ge=0)
    end_eff_scale: float = number(0.032, gt=0)
    torso_z_range_weight: float = number(1.0, ge=0)
    healthy_z_range: tuple[float, float] = (0.0325, 0.5)
    control_cost_weight: float = number(0.02, ge=0)
    control_diff_cost_weight: float = number(0.02, ge=0)
    energy_cost_weight: float = number(0.01, ge=0)
    energy_cost_max: float = number(50.0, ge=0)


@dataclass(frozen=True)
class MimicReward:
    """Terms of dm_control's tracking of poses (`locomotion/tasks/reference_pose/rewards.py`).

    `pose_weight` and `termination_weight` are (0.5, 0.5) for its reward "comic" (Hasenclever et al. 2020,
    "CoMic"), (1, 0) for "multi_term_pose_reward" and (0, 1) for "termination_reward".

    A pose term is `pose_weight * weight * exp(-exp_scale * squared error)`. The scales are for a humanoid.

    Attributes:
        termination_weight: of 1 - error / `termination.mimic.max_error`.
        pose_weight: of the sum of the four pose terms.
        center_of_mass_weight: of the centre of mass in the world.
        center_of_mass_exp_scale: per m^2.
        joints_velocity_weight: of all joint velocities.
        joints_velocity_exp_scale: per (rad/s)^2.
        appendages_weight: of the appendages, each in its own root body's frame.
        appendages_exp_scale: per m^2.
        body_quaternions_weight: of half the rotation angles of `walker.body_names`.
        body_quaternions_exp_scale: per rad^2.
    """

    termination_weight: float = number(0.5, ge=0)
    pose_weight: float = number(0.5, ge=0)
    center_of_mass_weight: float = number(0.1, ge=0)
    center_of_mass_exp_scale: float = number(10.0, ge=0)
    joints_velocity_weight: float = number(1.0, ge=0)
    joints_velocity_exp_scale: float = number(0.1, ge=0)
    appendages_weight: float = number(0.15, ge=0)
    appendages_exp_scale: float = number(40.0, ge=0)
    body_quaternions_weight: float = number(0.65, ge=0)
    body_quaternions_exp_scale: float = number(2.0, ge=0)


@dataclass(frozen=True)
class RewardConfig:
    """Weights and scales of the reward terms.

    The fields besides the sections are those of the family "track_mjx" (`environment/task/reward.py`): a
    tracking term is `weight * exp(-exp_scale * squared error)`; a cost is subtracted.

    Attributes:
        family: family of terms.
        vnl_playground: weights of that family.
        mimic: weights of that family.
        terms: further terms by name.
    """

    family: Family = "track_mjx"
    pos_weight: float = 1.0
    pos_exp_scale: float = 400.0
    quat_weight: float = 1.0
    quat_exp_scale: float = 4.0
    joint_weight: float = 1.0
    joint_exp_scale: float = 0.25
    angvel_weight: float = 0.0
    angvel_exp_scale: float = 0.5
    bodypos_weight: float = 0.0
    bodypos_exp_scale: float = 8.0
    endeff_weight: float = 1.0
    endeff_exp_scale: float = 500.0
    ctrl_cost_weight: float = 0.02
    ctrl_diff_cost_weight: float = 0.02
    energy_cost_weight: float = 0.01
    energy_cost_max: float = 50.0
    action_window: int = 50
    action_variance_weight: float = 0.005
    action_jerk_weight: float = 0.0005
    vnl_playground: VnlPlaygroundReward = field(default_factory=VnlPlaygroundReward)
    mimic: MimicReward = field(default_factory=MimicReward)
    terms: dict[str, RewardTermSection] = field(default_factory=dict)

    @property
    def num_actions_read(self) -> int:
        """Number of past controls that the terms read, besides this step's and the previous one."""
        reads = self.action_variance_weight != 0 or self.action_jerk_weight != 0
        return self.action_window if self.family == "track_mjx" and reads else 0


@dataclass(frozen=True)
class VnlPlaygroundTermination:
    """Thresholds of vnl-playground (`tasks/rodent/imitation.py`).

    Attributes:
        max_root_distance: of the root's position, metres.
        max_root_angle_deg: of half the rotation angle of the root, degrees.
        max_joint_distance: Euclidean distance of all joint angles, radians.
    """

    max_root_distance: float = number(0.1, gt=0)
    max_root_angle_deg: float = number(60.0, gt=0)
    max_joint_distance: float = number(4.5, gt=0)


@dataclass(frozen=True)
class MimicTermination:
    """Threshold of dm_control (`locomotion/tasks/reference_pose/tracking.py`).

    The error is half the mean absolute difference of all joint angles (rad) plus half that of all
    coordinates of `walker.body_names` in the world (m).

    Attributes:
        max_error: of that sum.
        body_error_multiplier: of the part of the bodies.
    """

    max_error: float = number(0.3, gt=0)
    body_error_multiplier: float = number(1.0, ge=0)


@dataclass(frozen=True)
class TerminationConfig:
    """Thresholds beyond which an episode fails.

    The fields besides the sections are those of the family "track_mjx" (`environment/task/reward.py`).

    Attributes:
        family: family of thresholds in force.
        healthy_z_range: allowed height of the root body, metres.
        max_pos_error: of the squared, axis-weighted root position error, m^2.
        pos_axis_scale: weight of each world axis in that error.
        max_joint_error: of the summed squared joint error, rad^2.
        max_quat_error: of the squared half angle between the root orientations, rad^2.
        vnl_playground: thresholds of that family.
        mimic: threshold of that family.
        terms: further terminations by name.
    """

    family: Family = "track_mjx"
    healthy_z_range: tuple[float, float] = (0.0325, 0.5)
    max_pos_error: float = 0.01
    pos_axis_scale: tuple[float, float, float] = (1.0, 1.0, 0.5)
    max_joint_error: float = 20.0
    max_quat_error: float = 1.0
    vnl_playground: VnlPlaygroundTermination = field(default_factory=VnlPlaygroundTermination)
    mimic: MimicTermination = field(default_factory=MimicTermination)
    terms: dict[str, TerminationTermSection] = field(default_factory=dict)
