"""Defines published imitation tasks of other generations."""

from dataclasses import replace

from vnl_mjx.config.imitation import (
    PROPRIOCEPTION_VNL_PLAYGROUND,
    REFERENCE_DM_CONTROL,
    REFERENCE_VNL_PLAYGROUND,
    ImitationConfig,
    PhysicsConfig,
    UpstreamQuirks,
)
from vnl_mjx.config.rewards import RewardConfig, TerminationConfig
from vnl_mjx.config.walker import WalkerConfig, rodent_body

NO_QUIRKS = UpstreamQuirks(
    body_row_shift=0, reward_body_row_shift=0, joint_row_shift=0, ctrl_diff_is_zero=False
)

# vnl-playground `tasks/rodent/imitation.py`, `default_config`, with control at 100 Hz and Newton. Episodes
# are 400 control steps (its `train_imitation.py`).
VNL_PLAYGROUND_TASK = ImitationConfig(
    generation="vnl-playground",
    walker=WalkerConfig(end_effector_names=rodent_body().appendage_names),
    physics=PhysicsConfig(num_substeps=5, solver="newton"),
    reward=RewardConfig(family="vnl_playground"),
    termination=TerminationConfig(family="vnl_playground"),
    quirks=replace(NO_QUIRKS, root_lags=True, late_end=True),
    reference=REFERENCE_VNL_PLAYGROUND,
    proprioception=PROPRIOCEPTION_VNL_PLAYGROUND,
    episode_frames=200,
    reset_noise_scale=0.0,
)

# dm_control `locomotion/tasks/reference_pose/tracking.py` with the reward "comic", on position actuators as
# its Rat has them; proprioception and time steps are ours.
COMIC_TASK = ImitationConfig(
    generation="comic",
    walker=WalkerConfig(torque_actuators=False),
    reward=RewardConfig(family="mimic"),
    termination=TerminationConfig(family="mimic"),
    quirks=NO_QUIRKS,
    reference=REFERENCE_DM_CONTROL,
    reset_noise_scale=0.0,
    initial_velocity="reference",
)
