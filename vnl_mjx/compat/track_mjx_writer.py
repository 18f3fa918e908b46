"""Writes a teacher in track-mjx's layout, so that track-mjx and `track_mjx_loader` can read it.

`<run>/checkpoints/<environment steps>` holds the whole training state (`checkpoints.run`), and
`<run>/teacher/PPONetwork_<environment steps>` the same teacher for track-mjx, `track_mjx_loader` and
`vnl-mjx distill`. Both keep the same steps.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from vnl_mjx.checkpoints.arrays import tree_sha256
from vnl_mjx.checkpoints.run import Export, RunCheckpointer
from vnl_mjx.checkpoints.writing import open_manager
from vnl_mjx.compat.track_mjx_config import (
    OWN_KEY,
    PHYSICS_KEYS,
    REWARD_KEYS,
    TERMINATION_KEYS,
    WALKER_KEYS,
)
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX
from vnl_mjx.compat.track_mjx_network import DECODER_KEYS, LSTM_KEYS, NETWORK_KEYS
from vnl_mjx.compat.track_mjx_policy import POLICY_SHA256
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import without_folders
from vnl_mjx.models.intention import IntentionConfig

TEACHER_FOLDER = "teacher"
NORMALIZER_KEYS = ("count", "mean", "std", "summed_variance")
_ITEMS = ("policy", "train_state", "config")
# Keys that track-mjx's programs read besides the network and the task.
TRAIN_SETUP: dict[str, Any] = {
    "agent_name": "rodent",
    "run_name": "vnl_mjx",
    "checkpoint_to_restore": None,
    "restore_from_run_state": None,
    "checkpoint_max_to_keep": None,
    "checkpoint_keep_period": None,
    "train_test_split_info": None,
    "train_subset_ratio": None,
    "eval_every": 1,
    "reset_every": 1,
}
RENDERING = {"render_camera_name": "close_profile", "render_fps": 50, "render_interval": 1}


def open_teacher_checkpointer(
    run_dir: Path, config: Mapping[str, Any], keep_last: int = 3, keep_best: int = 1
) -> RunCheckpointer:
    """Opens (and creates) both folders; the best checkpoints have the highest metric.

    Raises:
        UserError: a folder cannot be written.
    """

    def items(state: Mapping[str, Any]) -> ocp.args.Composite:
        statistics = _flat_statistics(state["normalizer_params"])
        return checkpoint_items(state["params"]["policy"], statistics, config, state)

    export = Export(run_dir.resolve() / TEACHER_FOLDER, _ITEMS, STEP_PREFIX, items)
    return RunCheckpointer(run_dir, (), keep_last, keep_best, "highest", export)


def save_track_mjx(
    path: str | Path,
    step: int,
    params: Mapping[str, Any],
    normalizer: Mapping[str, Any],
    config: Mapping[str, Any],
    train_state: Any = None,
) -> Path:
    """Writes a teacher in the layout of 2025; see `save_checkpoint`.

    Args:
        path: folder of the checkpoints, created if missing.
        step: a new step.
        params: variables of `IntentionNetwork`, {"params": ...}.
        normalizer: running statistics: count [], mean, std and summed_variance [observation].
        config: result of `track_mjx_config`, JSON-able.
        train_state: state for resuming (track-mjx: optimizer_state, params, normalizer_params, env_steps).
            Without it, the statistics and the policy are stored in its place, which cannot be resumed.

    Raises:
        UserError: the step is there already.
    """
    items = checkpoint_items(params, _flat_statistics(normalizer), config, train_state)
    return save_checkpoint(path, step, items)


def save_checkpoint(
    path: str | Path, step: int, items: ocp.args.Composite, kind: str = STEP_PREFIX
) -> Path:
    """Writes `<path>/<kind>_<step>`, complete or not at all, and returns its path.

    Raises:
        UserError: the step is there already.
    """
    folder = Path(path).expanduser().resolve()
    step_folder = folder / f"{kind}_{step}"
    if step_folder.exists():
        raise UserError(f"{step_folder} exists already; choose another step or another folder")
    with contextlib.closing(open_manager(folder, _ITEMS, step_prefix=kind)) as manager:
        # Forced, because Orbax silently skips a step that is lower than the latest.
        manager.save(step, force=True, args=items)
        manager.wait_until_finished()
    return step_folder


def _flat_statistics(normalizer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if set(normalizer) != set(NORMALIZER_KEYS):
        raise ValueError(f"{sorted(normalizer)=} must be {sorted(NORMALIZER_KEYS)}")
    return {key: np.asarray(normalizer[key], np.float32) for key in NORMALIZER_KEYS}


def checkpoint_items(
    params: Mapping[str, Any],
    statistics: Mapping[str, Any],
    config: Mapping[str, Any],
    train_state: Any = None,
) -> ocp.args.Composite:
    """Returns the items of one checkpoint, for an Orbax manager.

    See `save_track_mjx` for the arguments; `statistics` may have any layout.
    """
    if train_state is None:
        train_state = {
            "env_steps": np.zeros((), np.int32),
            "normalizer_params": statistics,
            "params": {"policy": params},
        }
    sha256 = tree_sha256({"0": statistics, "1": params})
    return ocp.args.Composite(
        policy=ocp.args.StandardSave((statistics, params)),
        train_state=ocp.args.StandardSave(train_state),
        config=ocp.args.JsonSave(json.loads(json.dumps({**config, POLICY_SHA256: sha256}))),
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
    """Returns the configuration of a teacher in track-mjx's keys.

    A section of our own holds settings without such a key. Our loader reads the task from it, and track-mjx
    ignores it.

    `clip_length`, frames per reference clip, bounds the episode. track-mjx builds a value network of
    `critic_hidden_sizes` when it loads a policy. `train_config` has further entries of
    `train_setup.train_config`.
    """
    random_init_range = clip_length - task.traj_length - task.episode_frames
    if random_init_range < 0:
        raise ValueError(f"{clip_length=} is too short for {task.episode_frames=} frames")
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
            "critic_layer_sizes": critic_hidden_sizes,
            "kl_schedule": True,
            "kl_weight": kl_weight,
            "observation_size": network.observation_size,
            "normalize_observations": True,
            "reference_obs_size": network.reference_size,
            "proprioceptive_obs_size": network.proprioception_size,
            **_written(network, NETWORK_KEYS | DECODER_KEYS),
            **_memory(network),
        },
        "train_setup": {
            **TRAIN_SETUP,
            "episode_length": round(
                task.episode_frames / (task.mocap_hz * task.physics.control_timestep)
            ),
            "train_config": {
                "normalize_observations": True,
                "get_activation": False,
                "use_lstm": network.is_recurrent,
                "deterministic_eval": True,
                **(train_config or {}),
            },
        },
        "logging_config": {"project_name": "vnl_mjx"},
        "walker_config": _written(task.walker, WALKER_KEYS),
        OWN_KEY: {
            "activation": network.activation,
            "observation_clip": network.observation_clip,
            "task": dataclasses.asdict(task),
        },
    }
    # Through JSON, so that tuples become lists as in a file that is read back.
    return without_folders(json.loads(json.dumps(config)))


def _memory(network: IntentionConfig) -> dict[str, Any]:
    if not network.is_recurrent:
        return {}
    return dict(zip(LSTM_KEYS, (network.memory_sizes[0], len(network.memory_sizes)), strict=True))


def _env_config(task: ImitationConfig) -> dict[str, Any]:
    return RENDERING | {
        "env_name": "rodent_multi_clip",
        "task_name": "imitation",
        "walker_name": "rodent",
        "env_args": {
            "solver": task.physics.solver,
            **_written(task.physics, PHYSICS_KEYS),
            "reset_noise_scale": task.reset_noise_scale,
            "mocap_hz": task.mocap_hz,
        },
        "reward_weights": _written(task.reward, REWARD_KEYS)
        | _written(task.termination, TERMINATION_KEYS),
    }


def _written(config: Any, keys: Mapping[str, tuple]) -> dict[str, Any]:
    return {key: getattr(config, name) for name, (_, key, *_) in keys.items()}
