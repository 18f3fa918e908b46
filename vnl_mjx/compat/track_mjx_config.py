"""Translates the configuration stored in a track-mjx checkpoint.

Sources: track-mjx `config/rodent-full-clips.yaml`, `environment/task/single_clip_tracking.py` and
`environment/task/reward.py`, and their history where a date is given.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import (
    PROPRIOCEPTION_2025_02,
    PROPRIOCEPTION_2025_06,
    PROPRIOCEPTION_2025_09,
    ImitationConfig,
    PhysicsConfig,
    RewardConfig,
    TerminationConfig,
    UpstreamQuirks,
    WalkerConfig,
)
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.layers import ACTIVATIONS

# Where this package's own teachers keep what track-mjx's keys cannot say.
OWN_KEY = "vnl_mjx"
ACTIVATION_OPTION = "teacher_config.activation"

SILU_SINCE = date(2025, 5, 16)
FLOOR_BODY_SINCE = date(2025, 5, 20)
# The start frame is drawn from a constant range; `random_init_range` only shortens episodes
# (track-mjx: environment/task/multi_clip_tracking.py, `reset`).
START_FRAME_RANGE = 44

# Keys of `env_config.reward_weights`, by the field of `RewardConfig` and of `TerminationConfig`.
_WEIGHTS = "env_config.reward_weights"
_TERMS = ("pos", "quat", "joint", "angvel", "bodypos", "endeff")
REWARD_KEYS = {
    **{f"{term}_weight": f"{term}_reward_weight" for term in _TERMS},
    **{f"{term}_exp_scale": f"{term}_reward_exp_scale" for term in _TERMS},
    "ctrl_cost_weight": "ctrl_cost_weight",
    "ctrl_diff_cost_weight": "ctrl_diff_cost_weight",
}
LATER_REWARD_KEYS = {  # which the older generations do not have
    "energy_cost_weight": "energy_cost_weight",
    "action_window": "var_window_size",
    "action_variance_weight": "var_coeff",
    "action_jerk_weight": "jerk_coeff",
}
TERMINATION_KEYS = {
    "max_pos_error": "too_far_dist",
    "max_joint_error": "bad_pose_dist",
    "max_quat_error": "bad_quat_dist",
}
RANGE_KEYS = {"healthy_z_range": "healthy_z_range", "pos_axis_scale": "penalty_pos_distance_scale"}

SUPPORTED_LAYOUTS = (
    "470 + 226 (track-mjx since 2025-09-23), 470 + 231 (since 2025-06-13), "
    "470 + 147 (since 2025-02-18)"
)


@dataclass(frozen=True)
class Translation:
    """What a checkpoint's configuration says, in this package's terms."""

    network: IntentionConfig
    task: ImitationConfig
    normalize_observations: bool
    warnings: tuple[str, ...]


def translate(
    raw: Mapping[str, Any],
    source: str,
    *,
    activation: str | None = None,
    written_on: date | None = None,
) -> Translation:
    """Network sizes and imitation task of a checkpoint.

    Args:
        raw: the parsed `config/metadata`.
        source: what to call it in messages.
        activation: overrides what is assumed; track-mjx does not record it.
        written_on: day the checkpoint was written. It bounds the age of the code that wrote it on
            one side only: old code can run late, new code cannot run early.

    Raises:
        UserError: a key is missing or wrong, or the layout of the observation is not known.
    """
    reader = JsonReader(raw, source)
    arch_name = reader("text", "network_config.arch_name", "intention")
    if arch_name != "intention":
        raise reader.error("network_config.arch_name", "'intention'", arch_name)
    if activation is not None:
        check_activation(activation, ACTIVATION_OPTION)
    if reader.has(OWN_KEY):
        recorded = reader("text", f"{OWN_KEY}.activation")
        usual = check_activation(recorded, f"{source}: {OWN_KEY}.activation")
        task = from_dict(ImitationConfig, raw[OWN_KEY].get("task"), f"{source}: {OWN_KEY}.task: ")
        warnings = []
    else:
        task, usual, warnings = _upstream_task(reader, activation, written_on)
    if activation not in (None, usual):
        warnings.append(
            f"{ACTIVATION_OPTION}={activation} replaces {usual}, the activation of a teacher of "
            f"generation {task.generation}"
        )
    return Translation(
        network=_network(reader, activation or usual),
        task=task,
        normalize_observations=reader("flag", "network_config.normalize_observations", True),
        warnings=tuple(warnings),
    )


def check_activation(name: str, where: str) -> str:
    """The name, where it is known."""
    if name in ACTIVATIONS:
        return name
    near = difflib.get_close_matches(name, ACTIVATIONS, n=1, cutoff=0.0)[0]
    raise UserError(
        f"{where} must be one of {', '.join(ACTIVATIONS)}, found {name!r}; did you mean {near!r}?"
    )


def _network(reader: JsonReader, activation: str) -> IntentionConfig:
    reference_size, proprioception_size = _observation_sizes(reader)
    lstm = {}
    if reader("flag", "train_setup.train_config.use_lstm", False):
        lstm = {
            "lstm_hidden_size": reader("size", "network_config.hidden_state_size"),
            "lstm_num_layers": reader("size", "network_config.hidden_layer_num"),
        }
    clip_key = f"{OWN_KEY}.observation_clip"
    return IntentionConfig(
        reference_size=reference_size,
        proprioception_size=proprioception_size,
        action_size=reader("size", "network_config.action_size"),
        latent_dim=reader("size", "network_config.intention_size"),
        encoder_hidden_sizes=reader("sizes", "network_config.encoder_layer_sizes"),
        decoder_hidden_sizes=reader("sizes", "network_config.decoder_layer_sizes"),
        activation=activation,
        observation_clip=reader("positive", clip_key) if reader.has(clip_key) else None,
        **lstm,
    )


def _observation_sizes(reader: JsonReader) -> tuple[int, int]:
    """Sizes of the reference and of proprioception; older configs lack the latter."""
    observation_size = reader("size", "network_config.observation_size")
    reference_size = reader("size", "network_config.reference_obs_size")
    if reference_size >= observation_size:
        expected = f"less than observation_size {observation_size}"
        raise reader.error("network_config.reference_obs_size", expected, reference_size)
    return reference_size, observation_size - reference_size


def _upstream_task(
    reader: JsonReader, activation: str | None, written_on: date | None
) -> tuple[ImitationConfig, str, list[str]]:
    """Task, usual activation and warnings of a checkpoint that track-mjx wrote."""
    generation, proprioception = _recognise(reader)
    usual, warnings = "silu", []
    has_floor = True
    if generation == "2025-02":
        # `use_lstm` entered the configuration on 2025-05-05, the floor body two weeks later.
        has_use_lstm = reader.has("train_setup.train_config.use_lstm")
        if not has_use_lstm or _is_before(written_on, SILU_SINCE):
            usual = "relu"
        if activation is None and not _is_before(written_on, SILU_SINCE):
            warnings.append(
                f"the checkpoint does not record its activation (track-mjx: relu before "
                f"{SILU_SINCE}, silu since): assumed {usual}; set {ACTIVATION_OPTION} to choose"
            )
        is_silu = (activation or usual) == "silu"
        has_floor = has_use_lstm and is_silu and not _is_before(written_on, FLOOR_BODY_SINCE)
        generation = "2025-05" if has_floor else "2025-02"
    if not has_floor:
        warnings.append(
            f"the teacher is older than {FLOOR_BODY_SINCE}: dm_control's rescaler made its body; "
            "ours is rescaled as track-mjx has done since, so sizes and masses differ a little"
        )
    elif generation != "2025-09":
        warnings.append(
            "reward: each end effector is compared with the reference of the body after it, as track-mjx "
            "did until 2025-09-08; a teacher of the two weeks after that saw the same body on both sides"
        )
    task = ImitationConfig(
        generation=generation,
        walker=_walker(reader),
        physics=_physics(reader, sensors="kinematic_sensors" in proprioception),
        reward=_reward(reader),
        termination=_termination(reader),
        quirks=UpstreamQuirks(
            body_row_shift=int(has_floor),
            reward_body_row_shift=int(generation == "2025-09"),
            joint_row_shift=int(generation != "2025-09"),
            ctrl_diff_is_zero=generation == "2025-09" or _has_action_window(reader),
        ),
        proprioception=proprioception,
        mocap_hz=reader("positive", "env_config.env_args.mocap_hz"),
        traj_length=reader("size", "reference_config.traj_length"),
        start_frame_range=START_FRAME_RANGE,
        episode_frames=_episode_frames(reader),
        reset_noise_scale=reader("number", "env_config.env_args.reset_noise_scale"),
    )
    return task, usual, warnings


def _recognise(reader: JsonReader) -> tuple[str, tuple[str, ...]]:
    """Generation and parts of proprioception, by the sizes of the observation."""
    reference_size, proprioception_size = _observation_sizes(reader)
    layouts = {
        226: ("2025-09", PROPRIOCEPTION_2025_09),
        231: ("2025-06", PROPRIOCEPTION_2025_06),
        147: ("2025-02", PROPRIOCEPTION_2025_02),
    }
    if proprioception_size not in layouts:
        raise reader.error(
            "network_config.observation_size",
            f"reference + proprioception of a supported layout: {SUPPORTED_LAYOUTS}",
            f"{reference_size} + {proprioception_size} = {reference_size + proprioception_size}",
        )
    num_joints = len(reader("names", "walker_config.joint_names"))
    num_bodies = len(reader("names", "walker_config.body_names"))
    traj_length = reader("size", "reference_config.traj_length")
    # Per frame: root position and quaternion, joints, body positions.
    expected = traj_length * (7 + num_joints + 3 * num_bodies)
    if reference_size != expected:
        raise reader.error(
            "network_config.reference_obs_size",
            f"{expected} ({traj_length} frames of {num_joints} joints and {num_bodies} bodies)",
            reference_size,
        )
    return layouts[proprioception_size]


def _is_before(day: date | None, limit: date) -> bool:
    return day is not None and day < limit


def _has_action_window(reader: JsonReader) -> bool:
    # The costs over past actions came with the overwritten `prev_ctrl` (track-mjx, 2025-08-13).
    keys = ("var_window_size", "var_coeff", "jerk_coeff")
    return any(reader.has(f"env_config.reward_weights.{key}") for key in keys)


def _episode_frames(reader: JsonReader) -> int:
    clip_length = reader("size", "reference_config.clip_length")
    lost = reader("number", "reference_config.random_init_range", 0)
    frames = clip_length - int(lost) - reader("size", "reference_config.traj_length")
    if frames < 1:
        expected = "more than random_init_range + traj_length"
        raise reader.error("reference_config.clip_length", expected, clip_length)
    return frames


def _walker(reader: JsonReader) -> WalkerConfig:
    name = reader("text", "env_config.walker_name", "rodent")
    if name != "rodent":
        raise reader.error("env_config.walker_name", "'rodent'", name)
    return WalkerConfig(
        joint_names=reader("names", "walker_config.joint_names"),
        body_names=reader("names", "walker_config.body_names"),
        end_effector_names=reader("names", "walker_config.end_eff_names"),
        torque_actuators=reader("flag", "walker_config.torque_actuators"),
        rescale_factor=reader("positive", "walker_config.rescale_factor"),
    )


def _physics(reader: JsonReader, sensors: bool) -> PhysicsConfig:
    section = "env_config.env_args"
    solver = reader("text", f"{section}.solver").lower()
    if solver not in ("cg", "newton"):
        raise reader.error(f"{section}.solver", "'cg' or 'newton'", solver)
    return PhysicsConfig(
        timestep=reader("positive", f"{section}.mj_model_timestep"),
        num_substeps=reader("size", f"{section}.physics_steps_per_control_step"),
        solver=solver,
        iterations=reader("size", f"{section}.iterations"),
        ls_iterations=reader("size", f"{section}.ls_iterations"),
        sensors=sensors,
    )


def _reward(reader: JsonReader) -> RewardConfig:
    values = {ours: reader("number", f"{_WEIGHTS}.{key}") for ours, key in REWARD_KEYS.items()}
    for ours, key in LATER_REWARD_KEYS.items():
        kind, default = ("size", 50) if ours == "action_window" else ("number", 0.0)
        values[ours] = reader(kind, f"{_WEIGHTS}.{key}", default)
    return RewardConfig(**values)


def _termination(reader: JsonReader) -> TerminationConfig:
    values = {ours: reader("number", f"{_WEIGHTS}.{key}") for ours, key in TERMINATION_KEYS.items()}
    for (ours, key), kind in zip(RANGE_KEYS.items(), ("2 numbers", "3 numbers"), strict=True):
        values[ours] = tuple(float(x) for x in reader(kind, f"{_WEIGHTS}.{key}"))
    return TerminationConfig(**values)
