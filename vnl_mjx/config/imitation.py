"""Defines the configuration of an imitation task: walker, physics, observations, reward, terminations.

A teacher checkpoint carries these values (`utils.track_mjx_loader` translates them), so a student is
trained in the environment that its teacher was trained in. Defaults are those of track-mjx's
`config/rodent-full-clips.yaml` of September 2025.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.config.rewards import RewardConfig, TerminationConfig
from vnl_mjx.config.validation import number
from vnl_mjx.config.walker import RODENT_SOURCE as RODENT_SOURCE
from vnl_mjx.config.walker import WalkerConfig


@dataclass(frozen=True)
class PhysicsConfig:
    """Solver and time step of one control step.

    Attributes:
        timestep: physics step in seconds.
        num_substeps: physics steps per control step.
        solver: "cg" or "newton".
        iterations: largest number of solver iterations per physics step.
        ls_iterations: largest number of line-search iterations per solver iteration.
        sensors: compute sensor values, which changes nothing else and costs the rodent 6 % of a step.
    """

    timestep: float = number(0.002, gt=0)
    num_substeps: int = number(10, gt=0)
    solver: Literal["cg", "newton"] = "cg"
    iterations: int = 5
    ls_iterations: int = 5
    sensors: bool = False

    @property
    def control_timestep(self) -> float:
        """Seconds per control step."""
        return self.timestep * self.num_substeps


@dataclass(frozen=True)
class UpstreamQuirks:
    """Deviations of a track-mjx generation that a teacher of that generation was trained with.

    Attributes:
        body_row_shift: tracked bodies (not the proprioceptive end effectors) read this many rows after
            the named one, clamped to the last row. 1 while the model has a floor body: ids of that
            model index `xpos[1:]` (track-mjx: `environment/task/single_clip_tracking.py`, `_get_obs`).
        reward_body_row_shift: the same for the simulated side of the end-effector and body reward; its
            reference side always has `body_row_shift`. 0 from 2025-05-20 to 2025-09-08: the reward then
            compared each body with the reference of the body after it (track-mjx commit 0c895bb).
        joint_row_shift: tracked joints read this many joints after the named one, clamped. 1 before
            2025-09-23: joint ids that count the free joint index `qpos[7:]`
            (track-mjx: `environment/walker/base.py`, `compute_local_joint_distances`).
        ctrl_diff_is_zero: the previous action is overwritten before the difference is taken.
        frame_lags: the reference frame is the floor of a float32 time, which falls one frame behind
            on most later steps of an episode (track-mjx: `environment/task/single_clip_tracking.py`,
            `_get_cur_frame`).
        root_lags: the root is read from its body's pose, which is one substep older than qpos
            (vnl-playground: `tasks/rodent/imitation.py`, `root_body`).
        late_end: an episode is truncated one frame later, and a window of frames ahead that would reach
            beyond the clip is moved back whole (same file, `step` and `_get_imitation_reference`).
    """

    body_row_shift: int = 1
    reward_body_row_shift: int = 1
    joint_row_shift: int = 0
    ctrl_diff_is_zero: bool = True
    frame_lags: bool = True
    root_lags: bool = False
    late_end: bool = False


# Terms of the reference ahead, in the order of each source (`docs/observations.md`).
REFERENCE_TRACK_MJX = (
    "reference_root_position",
    "reference_root_quaternion",
    "reference_joints",
    "reference_bodies",
)
REFERENCE_VNL_PLAYGROUND = (  # with `quirks.body_row_shift` 0
    "reference_root_position",
    "reference_root_quaternion",
    "reference_all_joints",
    "reference_bodies_by_body",
)
REFERENCE_DM_CONTROL = (
    "reference_rel_bodies_pos_local",
    "reference_rel_joints",
    "reference_rel_bodies_pos_global",
    "reference_ego_bodies_quats",
    "reference_rel_root_quat",
    "reference_rel_bodies_quats",
    "reference_rel_root_pos_local",
    "reference_appendages_pos",
)
# Parts of proprioception, in the order of one track-mjx generation each.
PROPRIOCEPTION_2025_09 = (
    "joint_angles",
    "joint_velocities",
    "actuator_forces",
    "root_height",
    "root_z_axis",
    "end_effectors",
)
PROPRIOCEPTION_2025_06 = (
    "joint_angles",
    "joint_velocities",
    "actuator_forces",
    "end_effectors",
    "kinematic_sensors",
)
PROPRIOCEPTION_2025_02 = ("qpos", "qvel")
PROPRIOCEPTION_VNL_PLAYGROUND = (
    "joint_angles",
    "joint_velocities",
    "actuator_forces",
    "root_height",
    "root_z_axis",
    "appendages",
    "previous_action",
)
# The Warp configuration of 2026.
PROPRIOCEPTION_VNL_PLAYGROUND_SENSORS = (
    *PROPRIOCEPTION_VNL_PLAYGROUND[:-1],
    "kinematic_sensors",
    "touch_sensors",
    "previous_action",
)


@dataclass(frozen=True)
class ImitationConfig:
    """The imitation task of one teacher.

    Attributes:
        generation: label of the upstream generation, for tables and messages.
        reference: names of the terms of the reference ahead, in the teacher's order.
        proprioception: names of the proprioceptive parts, in the teacher's order.
        mocap_hz: frame rate of the reference, Hz.
        traj_length: future reference frames in the observation.
        start_frame_range: a reset draws its frame from 0 ... start_frame_range - 1 (fewer in a short clip).
        episode_frames: an episode is truncated after this many reference frames.
        reset_noise_scale: half width of the uniform noise on qpos and qvel at reset.
        initial_velocity: a reset starts at rest ("zero", as track-mjx does) or with the velocity of
            the reference frame.
        randomization: properties of the body that differ between episodes; none by default.
    """

    generation: str = "2025-09"
    walker: WalkerConfig = field(default_factory=WalkerConfig)
    physics: PhysicsConfig = field(default_factory=PhysicsConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    termination: TerminationConfig = field(default_factory=TerminationConfig)
    quirks: UpstreamQuirks = field(default_factory=UpstreamQuirks)
    reference: tuple[str, ...] = REFERENCE_TRACK_MJX
    proprioception: tuple[str, ...] = PROPRIOCEPTION_2025_09
    mocap_hz: float = number(50.0, gt=0)
    traj_length: int = number(5, gt=0)
    start_frame_range: int = number(44, gt=0)
    episode_frames: int = number(195, gt=0)
    reset_noise_scale: float = 1e-3
    initial_velocity: Literal["zero", "reference"] = "zero"
    initial_activation: Literal["zero", "pose"] = "zero"
    randomization: DomainRandomizationConfig = field(default_factory=DomainRandomizationConfig)
