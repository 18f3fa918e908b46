"""Writes a teacher as track-mjx does, so that track-mjx and `track_mjx_loader` can read it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from vnl_mjx.checkpoints.temporary_path import PathFreeTemporaryPath
from vnl_mjx.compat.track_mjx_config import OWN_KEY
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig

NORMALIZER_KEYS = ("count", "mean", "std", "summed_variance")


def save_track_mjx(
    path: str | Path,
    step: int,
    params: Mapping[str, Any],
    normalizer: Mapping[str, Any],
    config: Mapping[str, Any],
    train_state: Any = None,
) -> Path:
    """Writes `<path>/PPONetwork_<step>`; either all of it is there afterwards, or nothing.

    Args:
        path: folder of the checkpoints, made where it is missing.
        step: not negative, and not there yet.
        params: variables of `IntentionNetwork`, {"params": ...}.
        normalizer: running statistics: count [], mean, std and summed_variance [observation].
        config: what `track_mjx_config` gives; JSON-able.
        train_state: pytree of what resuming needs (track-mjx: optimizer_state, params,
            normalizer_params, env_steps). Without it the statistics and the policy are stored
            there, which is enough to look at but not to resume.

    Returns:
        The folder written.

    Raises:
        UserError: the step is there already.
    """
    folder = Path(path).expanduser().resolve()
    step_folder = folder / f"{STEP_PREFIX}_{step}"
    if step_folder.exists():
        raise UserError(f"{step_folder} exists already; choose another step or another folder")
    options = ocp.CheckpointManagerOptions(
        step_prefix=STEP_PREFIX, create=True, temporary_path_class=PathFreeTemporaryPath
    )
    with ocp.CheckpointManager(folder, options=options) as manager:
        # Forced: Orbax would pass over a step that is lower than the latest, and say nothing.
        manager.save(
            step,
            force=True,
            args=track_mjx_items(params, normalizer, config, train_state),
        )
        manager.wait_until_finished()
    return step_folder


def track_mjx_items(
    params: Mapping[str, Any],
    normalizer: Mapping[str, Any],
    config: Mapping[str, Any],
    train_state: Any = None,
) -> ocp.args.Composite:
    """The items of one checkpoint, for an Orbax manager; arguments as for `save_track_mjx`."""
    if set(normalizer) != set(NORMALIZER_KEYS):
        raise ValueError(f"{sorted(normalizer)=} must be {sorted(NORMALIZER_KEYS)}")
    statistics = {key: np.asarray(normalizer[key], np.float32) for key in NORMALIZER_KEYS}
    if train_state is None:
        train_state = {
            "env_steps": np.zeros((), np.int32),
            "normalizer_params": statistics,
            "params": {"policy": params},
        }
    return ocp.args.Composite(
        policy=ocp.args.StandardSave((statistics, params)),
        train_state=ocp.args.StandardSave(train_state),
        config=ocp.args.JsonSave(json.loads(json.dumps(config))),
    )


def track_mjx_config(
    task: ImitationConfig,
    network: IntentionConfig,
    *,
    clip_length: int = 250,
    critic_hidden_sizes: tuple[int, ...] = (512, 512, 512, 512, 512, 256),
    kl_weight: float = 0.1,
    train_config: Mapping[str, Any] | None = None,
    reference_name: str = "",
) -> dict[str, Any]:
    """The configuration of a teacher, in track-mjx's keys.

    A section of our own holds what these keys cannot say, and is what our loader reads the task
    from; track-mjx ignores it.

    Args:
        task: what the teacher was trained on.
        network: its sizes.
        clip_length: frames per reference clip; it bounds the episode.
        critic_hidden_sizes: of the value network, which track-mjx builds when it loads a policy.
        kl_weight: of the latent KL term.
        train_config: further entries of `train_setup.train_config`.
        reference_name: name of the reference file.
    """
    random_init_range = clip_length - task.traj_length - task.episode_frames
    if random_init_range < 0:
        raise ValueError(f"{clip_length=} is too short for {task.episode_frames=} frames")
    lstm = {}
    if network.is_recurrent:
        lstm = {
            "hidden_state_size": network.lstm_hidden_size,
            "hidden_layer_num": network.lstm_num_layers,
        }
    config = {
        "data_path": reference_name,
        "env_config": _env_config(task),
        "reference_config": {
            "clip_length": clip_length,
            "random_init_range": random_init_range,
            "traj_length": task.traj_length,
        },
        "network_config": {
            "arch_name": "intention",
            "encoder_layer_sizes": network.encoder_hidden_sizes,
            "decoder_layer_sizes": network.decoder_hidden_sizes,
            "critic_layer_sizes": critic_hidden_sizes,
            "intention_size": network.latent_dim,
            "kl_schedule": True,
            "kl_weight": kl_weight,
            "observation_size": network.observation_size,
            "action_size": network.action_size,
            "normalize_observations": True,
            "reference_obs_size": network.reference_size,
            "proprioceptive_obs_size": network.proprioception_size,
            **lstm,
        },
        "train_setup": {
            "train_config": {
                "normalize_observations": True,
                "get_activation": False,
                "use_lstm": network.is_recurrent,
                "deterministic_eval": True,
                **(train_config or {}),
            }
        },
        "walker_config": {
            "torque_actuators": task.walker.torque_actuators,
            "rescale_factor": task.walker.rescale_factor,
            "joint_names": task.walker.joint_names,
            "body_names": task.walker.body_names,
            "end_eff_names": task.walker.end_effector_names,
        },
        OWN_KEY: {
            "activation": network.activation,
            "observation_clip": network.observation_clip,
            "task": dataclasses.asdict(task),
        },
    }
    # JSON makes the tuples lists, as they are when read back.
    return json.loads(json.dumps(config))


def _env_config(task: ImitationConfig) -> dict[str, Any]:
    physics, reward, termination = task.physics, task.reward, task.termination
    weights = {
        "too_far_dist": termination.max_pos_error,
        "bad_pose_dist": termination.max_joint_error,
        "bad_quat_dist": termination.max_quat_error,
        "healthy_z_range": termination.healthy_z_range,
        "penalty_pos_distance_scale": termination.pos_axis_scale,
        "ctrl_cost_weight": reward.ctrl_cost_weight,
        "ctrl_diff_cost_weight": reward.ctrl_diff_cost_weight,
        "energy_cost_weight": reward.energy_cost_weight,
        "var_window_size": reward.action_window,
        "var_coeff": reward.action_variance_weight,
        "jerk_coeff": reward.action_jerk_weight,
    }
    for term in ("pos", "quat", "joint", "angvel", "bodypos", "endeff"):
        weights[f"{term}_reward_weight"] = getattr(reward, f"{term}_weight")
        weights[f"{term}_reward_exp_scale"] = getattr(reward, f"{term}_exp_scale")
    return {
        "env_name": "rodent_multi_clip",
        "task_name": "imitation",
        "walker_name": "rodent",
        "env_args": {
            "solver": physics.solver,
            "iterations": physics.iterations,
            "ls_iterations": physics.ls_iterations,
            "physics_steps_per_control_step": physics.num_substeps,
            "reset_noise_scale": task.reset_noise_scale,
            "mj_model_timestep": physics.timestep,
            "mocap_hz": task.mocap_hz,
        },
        "reward_weights": weights,
    }
