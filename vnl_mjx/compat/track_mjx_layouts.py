"""Writes statistics, configuration and layer names in the layouts that track-mjx reads.

This inverts `track_mjx_policy` and `track_mjx_network`.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.compat.track_mjx_network import DISTILLED, PARTS_OF, TEACHER, WITH_PRIOR
from vnl_mjx.compat.track_mjx_policy import MOMENTS
from vnl_mjx.compat.track_mjx_writer import RENDERING, track_mjx_config
from vnl_mjx.compat.vnl_playground_config import is_playground, playground_env_config
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig

# For each layout: kind of the folder, and form of the observation and its statistics.
LAYOUTS = {
    "track-mjx": (TEACHER, "nested"),
    "track-mjx-2026": (TEACHER, "nested"),
    "track-mjx-2025": (TEACHER, "flat"),
    "vnl-playground": (TEACHER, "flat"),
    "prior-network": (WITH_PRIOR, "dict"),
    "distill-network": (DISTILLED, "dict"),
}
STUDENTS_ONLY = ("prior-network", "distill-network")


def newest_names(params: Mapping[str, Any], network: IntentionConfig) -> dict[str, Any]:
    """Renames the layers of a recurrent decoder as in track-mjx since 2026."""
    if not network.is_recurrent:
        return dict(params)
    decoder = {
        "final"
        if name == network.last_layer_name
        else re.sub(rf"^{network.cell}_", "rnn_cells_", name): layer
        for name, layer in params[network.decoder_name].items()
    }
    return {"encoder": params["encoder"], "decoder": decoder}


def laid_out_statistics(found: Mapping[str, Any], policy: FrozenPolicy, how: str) -> dict[str, Any]:
    """Returns observation statistics in a layout; a student's, known as mean and std alone, get count 1."""
    mean, std = np.asarray(policy.obs_mean), np.asarray(policy.obs_std)
    count = float(found.get("count") or 1.0)
    summed = found.get("summed_variance")
    values = {"mean": mean, "std": std}
    values["summed_variance"] = np.asarray(count * std**2 if summed is None else summed)
    values = {name: np.asarray(values[name], np.float32) for name in MOMENTS}
    if how == "flat":
        return {"count": np.float32(count), **values}
    high, low = divmod(int(count), 2**32)
    count_of = {
        "count": {"hi": np.uint32(high), "lo": np.uint32(low)},
        "std_eps": np.float64(0.0),
    }
    size = policy.config.reference_size
    slices = (slice(size), slice(size, None))
    if how == "dict":
        parts = PARTS_OF["imitation_target"]
        return {
            part: {name: value[rows] for name, value in values.items()} | count_of
            for part, rows in zip(parts, slices, strict=True)
        }
    parts = PARTS_OF["task_obs"]
    nested = {
        name: {"state": {part: value[rows] for part, rows in zip(parts, slices, strict=True)}}
        for name, value in values.items()
    }
    return nested | count_of


def laid_out_config(
    network: IntentionConfig,
    task: ImitationConfig,
    how: str,
    layout: str,
    critic: list[int],
    raw: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the configuration with the keys of the layout's generation."""
    clip_length = _clip_length(raw, task)
    config = track_mjx_config(
        task,
        dataclasses.replace(network, memory_sizes=(), cell="lstm") if how != "flat" else network,
        clip_length=clip_length,
        critic_hidden_sizes=tuple(critic),
        train_config=raw.get("train_setup", {}).get("train_config", {}),
        reference_name=str(raw.get("data_path", "")),
    )
    if is_playground(task):
        own = playground_env_config(task, clip_length, whole_angle=how != "flat")
        config["env_config"] = RENDERING | own
        config.pop("reference_config", None)
    elif layout == "vnl-playground":
        raise UserError(
            "--to vnl-playground: expected a policy of its imitation task, found one of "
            f"{task.generation}; train one with vnl-mjx train-teacher --preset vnl_playground, or give "
            "--to track-mjx-2025"
        )
    section = config["network_config"]
    section["action_distribution"] = network.squash
    if how != "flat":
        for key in ("observation_size", "reference_obs_size", "proprioceptive_obs_size"):
            section.pop(key)
        names = PARTS_OF["imitation_target" if how == "dict" else "task_obs"]
        sizes = (network.reference_size, network.proprioception_size)
        section["obs_sizes"] = dict(zip(names, sizes, strict=True))
        section["latent_kl_weight"] = section.pop("kl_weight")
        if network.is_recurrent:
            section.pop("decoder_layer_sizes", None)
            section |= {
                "arch_name": "recurrent_intention",
                "rnn_type": network.cell,
                "rnn_hidden_sizes": list(network.memory_sizes),
            }
    return json.loads(json.dumps(config))


def _clip_length(raw: Mapping[str, Any], task: ImitationConfig) -> int:
    for section in ("reference_config", "env_config"):
        if isinstance(found := raw.get(section, {}).get("clip_length"), int):
            return max(found, task.traj_length + task.episode_frames)
    return max(250, task.traj_length + task.episode_frames)
