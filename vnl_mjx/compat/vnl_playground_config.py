"""Translates `env_config` of a track-mjx checkpoint trained in vnl-playground's imitation task.

track-mjx has used that task since December 2025. Source: vnl-playground `tasks/rodent/imitation.py`,
`default_config`, and `tasks/math_utils.py` of 2026. `UpstreamQuirks` lists further deviations.
"""

from dataclasses import replace
from typing import Any

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.compat.track_mjx_network import observation_sizes
from vnl_mjx.config.imitation import (
    PROPRIOCEPTION_VNL_PLAYGROUND,
    PROPRIOCEPTION_VNL_PLAYGROUND_SENSORS,
    ImitationConfig,
    PhysicsConfig,
)
from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.config.rewards import (
    RewardConfig,
    TerminationConfig,
    VnlPlaygroundReward,
    VnlPlaygroundTermination,
)
from vnl_mjx.config.task_presets import VNL_PLAYGROUND_TASK

_SECTION = "env_config"
PROPRIOCEPTIONS = {
    264: PROPRIOCEPTION_VNL_PLAYGROUND,
    277: PROPRIOCEPTION_VNL_PLAYGROUND_SENSORS,
}
# Parameters of each reward term besides its weight: our field, and upstream's kind and key.
REWARD_TERMS: dict[str, dict[str, tuple[str, str]]] = {
    **{
        name: {f"{name}_scale": ("positive", "exp_scale")}
        for name in ("root_pos", "root_quat", "joints", "joints_vel", "bodies_pos", "end_eff")
    },
    "torso_z_range": {"healthy_z_range": ("2 numbers", "healthy_z_range")},
    "control_cost": {},
    "control_diff_cost": {},
    "energy_cost": {"energy_cost_max": ("number", "max_value")},
}
TERMINATIONS = {
    "root_too_far": ("max_root_distance", "max_distance"),
    "root_too_rotated": ("max_root_angle_deg", "max_degrees"),
    "pose_error": ("max_joint_distance", "max_l2_error"),
}
# Not the floor's friction, which has no effect: the paws' geoms have priority over it.
RANDOMIZATION = {
    "joint_friction": "static_friction_scale",
    "armature": "armature_scale",
    "com_offset": "com_jitter",
    "link_mass": "link_mass_scale",
    "root_mass_offset": "torso_mass_jitter",
    "joint_reference_offset": "qpos0_jitter",
}
# Largest half angle of a rotation; a larger limit is for the whole angle, as in 2026.
_MOST_HALF_ANGLE_DEG = 90.0
_NEVER = 1e6  # stands for a missing limit


def is_of_vnl_playground(reader: JsonReader) -> bool:
    """Returns whether a checkpoint's environment is vnl-playground's, and not track-mjx's own."""
    return reader.has(f"{_SECTION}.sim_dt")


def playground_task(reader: JsonReader) -> tuple[ImitationConfig, list[str]]:
    """Returns task and warnings of a checkpoint.

    Raises:
        UserError: a key is missing or wrong, or the layout of the observation is not known.
    """
    warnings: list[str] = []
    length = reader("size", f"{_SECTION}.reference_length")
    proprioception = _proprioception(reader, length)
    first, last = reader("2 numbers", f"{_SECTION}.start_frame_range")
    if first:
        warnings.append(f"start frames: upstream draws from {first:g} on, here from 0 on")
    is_nested = reader.has("network_config.obs_sizes.task_obs")
    termination, whole_angle = _termination(reader, is_nested, warnings)
    base = VNL_PLAYGROUND_TASK
    task = replace(
        base,
        generation=_generation(reader, is_nested),
        walker=replace(
            base.walker, touch_sensors="touch_sensors" in proprioception, **_walker(reader)
        ),
        physics=_physics(reader, sensors="kinematic_sensors" in proprioception),
        reward=_reward(reader, whole_angle, warnings),
        termination=termination,
        proprioception=proprioception,
        mocap_hz=reader("positive", f"{_SECTION}.mocap_hz"),
        traj_length=length,
        start_frame_range=int(last - first),
        episode_frames=_episode_frames(reader, int(last), length),
        initial_velocity=_initial_velocity(reader),
        randomization=_randomization(reader),
    )
    return task, warnings


def _generation(reader: JsonReader, is_nested: bool) -> str:
    if is_nested:
        return "2026"
    return "2026-01" if reader.has("network_config.obs_sizes") else "2025-12"


def _proprioception(reader: JsonReader, length: int) -> tuple[str, ...]:
    walker = VNL_PLAYGROUND_TASK.walker
    reference_size, own_size = observation_sizes(reader)
    num_joints = 67  # every joint of the rodent
    expected = length * (3 + 4 + num_joints + 3 * len(walker.body_names))
    if own_size not in PROPRIOCEPTIONS or reference_size != expected:
        known = " or ".join(f"{expected} + {size}" for size in PROPRIOCEPTIONS)
        found = f"{reference_size} + {own_size}"
        raise reader.error("network_config: the observation", f"{known} (vnl-playground)", found)
    return PROPRIOCEPTIONS[own_size]


def _walker(reader: JsonReader) -> dict[str, Any]:
    found = {}
    for field, kind, key in (
        ("torque_actuators", "flag", "torque_actuators"),
        ("rescale_factor", "positive", "rescale_factor"),
    ):
        section = _SECTION if reader.has(f"{_SECTION}.{key}") else "walker_config"
        found[field] = reader(kind, f"{section}.{key}")
    for section in (_SECTION, "walker_config"):
        name = reader("text", f"{section}.walker_name", "rodent")
        if name != "rodent":
            raise reader.error(f"{section}.walker_name", "'rodent'", name)
    return found


def _physics(reader: JsonReader, sensors: bool) -> PhysicsConfig:
    timestep, control = (reader("positive", f"{_SECTION}.{key}") for key in ("sim_dt", "ctrl_dt"))
    if control < timestep:
        raise reader.error(f"{_SECTION}.ctrl_dt", f"at least sim_dt {timestep:g}", control)
    solver = reader("text", f"{_SECTION}.solver").lower()
    if solver not in ("cg", "newton"):
        raise reader.error(f"{_SECTION}.solver", "'cg' or 'newton'", solver)
    return PhysicsConfig(
        timestep=timestep,
        num_substeps=int(control / timestep + 1e-6),
        solver=solver,
        iterations=reader("size", f"{_SECTION}.iterations"),
        ls_iterations=reader("size", f"{_SECTION}.ls_iterations"),
        sensors=sensors,
    )


def _reward(reader: JsonReader, whole_angle: bool, warnings: list[str]) -> RewardConfig:
    section = f"{_SECTION}.reward_terms"
    given: dict[str, Any] = {f"{name}_weight": 0.0 for name in REWARD_TERMS}
    for name in reader("object", section):
        if name not in REWARD_TERMS:
            warnings.append(f"reward term {name!r} is not known here and is left out of the reward")
            continue
        given[f"{name}_weight"] = reader("number", f"{section}.{name}.weight")
        for field, (kind, key) in REWARD_TERMS[name].items():
            given[field] = reader(kind, f"{section}.{name}.{key}")
    if whole_angle and "root_quat_scale" in given:
        given["root_quat_scale"] /= 2.0
    return RewardConfig(family="vnl_playground", vnl_playground=VnlPlaygroundReward(**given))


def _termination(
    reader: JsonReader, is_nested: bool, warnings: list[str]
) -> tuple[TerminationConfig, bool]:
    """Returns the limits, and whether upstream's angles are of the whole rotation; ours are half angles."""
    section = f"{_SECTION}.termination_criteria"
    limits = dict.fromkeys((field for field, _ in TERMINATIONS.values()), _NEVER)
    for name in reader("object", section):
        if name in TERMINATIONS:
            field, key = TERMINATIONS[name]
            limits[field] = reader("positive", f"{section}.{name}.{key}")
        elif name != "nan_termination":
            warnings.append(f"termination {name!r} is not known here and ends no episode")
    angle = limits["max_root_angle_deg"]
    whole_angle = is_nested or _MOST_HALF_ANGLE_DEG < angle < _NEVER
    if whole_angle:
        limits["max_root_angle_deg"] = angle / 2.0
    own = VnlPlaygroundTermination(**limits)
    return TerminationConfig(family="vnl_playground", vnl_playground=own), whole_angle


def _episode_frames(reader: JsonReader, last_start: int, length: int) -> int:
    """Returns the frames of an episode, whatever its start, as track-mjx's `train.py` computes them."""
    clip_length = reader("size", f"{_SECTION}.clip_length")
    if (frames := clip_length - last_start - length) < 1:
        expected = "more than start_frame_range + reference_length"
        raise reader.error(f"{_SECTION}.clip_length", expected, clip_length)
    return frames


def _initial_velocity(reader: JsonReader) -> str:
    name = reader("text", f"{_SECTION}.qvel_init", "zeros")
    known = {"zeros": "zero", "default": "zero", "reference": "reference"}
    if name not in known:
        raise reader.error(f"{_SECTION}.qvel_init", " or ".join(known), name)
    return known[name]


def _randomization(reader: JsonReader) -> DomainRandomizationConfig:
    section = f"{_SECTION}.domain_randomization"
    if not reader("flag", f"{section}.use_domain_randomization", False):
        return DomainRandomizationConfig()
    ranges = {
        field: reader("2 numbers", f"{section}.{key}", None) for field, key in RANDOMIZATION.items()
    }
    return DomainRandomizationConfig(**ranges)


def is_playground(task: ImitationConfig) -> bool:
    """Returns whether a task has the observation, reward and limits of vnl-playground's imitation task."""
    base = VNL_PLAYGROUND_TASK
    return (
        task.reference == base.reference
        and task.proprioception in PROPRIOCEPTIONS.values()
        and task.reward.family == task.termination.family == "vnl_playground"
    )


def playground_env_config(
    task: ImitationConfig, clip_length: int, whole_angle: bool
) -> dict[str, Any]:
    """Returns `env_config` of a task of vnl-playground, as `playground_task` reads it.

    Args:
        task: task for which `is_playground` holds.
        clip_length: frames of a clip.
        whole_angle: use angles of the whole rotation, as since 2026.
    """
    physics, own = task.physics, task.reward.vnl_playground
    factor = 2.0 if whole_angle else 1.0
    terms: dict[str, dict[str, Any]] = {}
    for name, keys in REWARD_TERMS.items():
        values = {key: getattr(own, field) for field, (_, key) in keys.items()}
        terms[name] = values | {"weight": getattr(own, f"{name}_weight")}
    terms["root_quat"]["exp_scale"] *= factor
    limits = task.termination.vnl_playground
    ends: dict[str, dict[str, float]] = {
        name: {key: getattr(limits, field)} for name, (field, key) in TERMINATIONS.items()
    }
    ends["root_too_rotated"]["max_degrees"] *= factor
    ranges = task.randomization.ranges()
    return {
        "env_name": "RodentImitation",
        "walker_name": "rodent",
        "torque_actuators": task.walker.torque_actuators,
        "rescale_factor": task.walker.rescale_factor,
        "walker_xml_path": "rodent.xml",
        "arena_xml_path": "arena.xml",
        "reference_data_path": "",
        "mujoco_impl": "jax",
        "solver": physics.solver,
        "iterations": physics.iterations,
        "ls_iterations": physics.ls_iterations,
        "noslip_iterations": 0,
        "nconmax": 256,
        "naconmax": 131_072,
        "njmax": 128,
        "sim_dt": physics.timestep,
        "ctrl_dt": physics.control_timestep,
        "mocap_hz": task.mocap_hz,
        "clip_length": clip_length,
        "clip_set": "all",
        "keep_clips_idx": None,
        "reference_length": task.traj_length,
        "start_frame_range": [0, task.start_frame_range],
        "qvel_init": "zeros" if task.initial_velocity == "zero" else "reference",
        "reward_terms": terms,
        "termination_criteria": ends | {"nan_termination": {}},
        "domain_randomization": {
            "use_domain_randomization": bool(ranges),
            "floor_friction": [1.0, 1.0],
            **{key: list(ranges[name]) for name, key in RANDOMIZATION.items() if name in ranges},
        },
    }
