"""Translates the configuration in a track-mjx checkpoint.

Sources: track-mjx `config/rodent-full-clips.yaml`, `environment/task/single_clip_tracking.py` and
`environment/task/reward.py`, and their history where a date is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.compat.track_mjx_network import TEACHER, observation_sizes, read_network
from vnl_mjx.compat.vnl_playground_config import is_of_vnl_playground, playground_task
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
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.layers import ACTIVATIONS

# Section in which our own teachers store settings without a key in track-mjx.
OWN_KEY = "vnl_mjx"
ACTIVATION_OPTION = "teacher_config.activation"

SILU_SINCE = date(2025, 5, 16)
FLOOR_BODY_SINCE = date(2025, 5, 20)
# The start frame is drawn from a constant range; `random_init_range` only shortens episodes
# (track-mjx: environment/task/multi_clip_tracking.py, `reset`).
START_FRAME_RANGE = 44

# track-mjx's keys by ours, for reading and writing: kind (`json_reader`), key, and a default if older
# generations lack it.
_TERMS = ("pos", "quat", "joint", "angvel", "bodypos", "endeff")
REWARD_KEYS = {
    **{f"{term}_weight": ("number", f"{term}_reward_weight") for term in _TERMS},
    **{f"{term}_exp_scale": ("number", f"{term}_reward_exp_scale") for term in _TERMS},
    "ctrl_cost_weight": ("number", "ctrl_cost_weight"),
    "ctrl_diff_cost_weight": ("number", "ctrl_diff_cost_weight"),
    "energy_cost_weight": ("number", "energy_cost_weight", 0.0),
    "action_window": ("size", "var_window_size", 50),
    "action_variance_weight": ("number", "var_coeff", 0.0),
    "action_jerk_weight": ("number", "jerk_coeff", 0.0),
}
TERMINATION_KEYS = {
    "healthy_z_range": ("2 numbers", "healthy_z_range"),
    "max_pos_error": ("number", "too_far_dist"),
    "pos_axis_scale": ("3 numbers", "penalty_pos_distance_scale"),
    "max_joint_error": ("number", "bad_pose_dist"),
    "max_quat_error": ("number", "bad_quat_dist"),
}
PHYSICS_KEYS = {
    "timestep": ("positive", "mj_model_timestep"),
    "num_substeps": ("size", "physics_steps_per_control_step"),
    "iterations": ("size", "iterations"),
    "ls_iterations": ("size", "ls_iterations"),
}
WALKER_KEYS = {
    "joint_names": ("names", "joint_names"),
    "body_names": ("names", "body_names"),
    "end_effector_names": ("names", "end_eff_names"),
    "torque_actuators": ("flag", "torque_actuators"),
    "rescale_factor": ("positive", "rescale_factor"),
}
SUPPORTED_LAYOUTS = (
    "470 + 226 (track-mjx since 2025-09-23), 470 + 231 (since 2025-06-13), "
    "470 + 147 (since 2025-02-18)"
)


@dataclass(frozen=True)
class Translation:
    """Holds a checkpoint's configuration in this package's terms."""

    network: IntentionConfig
    task: ImitationConfig
    normalize_observations: bool
    warnings: tuple[str, ...]


def translate(
    raw: Mapping[str, Any],
    source: str,
    *,
    kind: str = TEACHER,
    activation: str | None = None,
    written_on: date | None = None,
) -> Translation:
    """Returns network sizes and imitation task of a checkpoint.

    Args:
        raw: the parsed `config/metadata`.
        source: name of the checkpoint in messages.
        kind: kind in `track_mjx_network.KINDS`.
        activation: overrides the assumed activation; track-mjx does not record it.
        written_on: day the checkpoint was written. The code is no newer than that day, but may be older.

    Raises:
        UserError: a key is missing or wrong, or the layout of the observation is not known.
    """
    reader = JsonReader(raw, source)
    if activation is not None:
        check_activation(activation, ACTIVATION_OPTION)
    if reader.has(OWN_KEY):
        recorded = reader("text", f"{OWN_KEY}.activation")
        usual = check_activation(recorded, f"{source}: {OWN_KEY}.activation")
        task = from_dict(ImitationConfig, raw[OWN_KEY].get("task"), f"{source}: {OWN_KEY}.task: ")
        warnings = []
    elif is_of_vnl_playground(reader):
        usual = "silu"
        task, warnings = playground_task(reader)
    else:
        task, usual, warnings = _upstream_task(reader, activation, written_on)
    if activation not in (None, usual):
        warnings.append(
            f"{ACTIVATION_OPTION}={activation} replaces {usual}, the activation of a teacher of "
            f"generation {task.generation}"
        )
    return Translation(
        network=read_network(
            reader,
            kind,
            activation or usual,
            observation_clip=reader("positive", f"{OWN_KEY}.observation_clip", None),
        ),
        task=task,
        normalize_observations=reader("flag", "network_config.normalize_observations", True),
        warnings=tuple(warnings),
    )


def check_activation(name: str, where: str) -> str:
    """Returns the name, or raises UserError if it is unknown."""
    if name in ACTIVATIONS:
        return name
    near = nearest(name, ACTIVATIONS, 0.0)
    raise UserError(
        f"{where} must be one of {', '.join(ACTIVATIONS)}, found {name!r}; did you mean {near!r}?"
    )


def _upstream_task(
    reader: JsonReader, activation: str | None, written_on: date | None
) -> tuple[ImitationConfig, str, list[str]]:
    """Returns task, usual activation and warnings of a checkpoint that track-mjx wrote."""
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
    weights = "env_config.reward_weights"
    task = ImitationConfig(
        generation=generation,
        walker=_walker(reader),
        physics=_physics(reader, sensors="kinematic_sensors" in proprioception),
        reward=RewardConfig(**reader.section(weights, REWARD_KEYS)),
        termination=TerminationConfig(**reader.section(weights, TERMINATION_KEYS)),
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
    """Recognises generation and parts of proprioception by the sizes of the observation."""
    reference_size, proprioception_size = observation_sizes(reader)
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
    return WalkerConfig(**reader.section("walker_config", WALKER_KEYS))


def _physics(reader: JsonReader, sensors: bool) -> PhysicsConfig:
    section = "env_config.env_args"
    solver = reader("text", f"{section}.solver").lower()
    if solver not in ("cg", "newton"):
        raise reader.error(f"{section}.solver", "'cg' or 'newton'", solver)
    return PhysicsConfig(solver=solver, sensors=sensors, **reader.section(section, PHYSICS_KEYS))
