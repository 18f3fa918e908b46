"""Reads the start of a training: networks and observation statistics of an existing teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.compat.track_mjx_loader import (
    LoadedTeacher,
    find_step,
    load_teacher,
)
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig

_SIZES = ("latent_dim", "encoder_hidden_sizes", "decoder_hidden_sizes", "activation")


@dataclass(frozen=True)
class TeacherStart:
    """Holds the start from a track-mjx checkpoint, in NumPy.

    Attributes:
        teacher: the policy and its task.
        statistics: count [], mean, std, summed_variance [observation], float32.
        value: variables of the value network; None if the checkpoint holds none that fits.
    """

    teacher: LoadedTeacher
    statistics: dict[str, np.ndarray]
    value: Any


def read_start(path: str, network: IntentionConfig, value_shapes: Any) -> TeacherStart:
    """Reads the checkpoint of `init_from`, whose policy must equal `network` in every size.

    `value_shapes` gives the shapes of the new value network's variables.

    Raises:
        UserError: no checkpoint, a damaged one, or one of another network.
    """
    folder, step = find_step(Path(path).expanduser())
    teacher = load_teacher(folder, step)
    _check_network(path, teacher.policy.config, network)
    if not teacher.raw_config["network_config"].get("normalize_observations", True):
        raise UserError(
            f"init_from: expected a teacher that normalises its observations, found {path}, which does "
            "not; start from another one"
        )
    found = teacher.statistics
    count, mean, std = (np.asarray(found[name], np.float32) for name in ("count", "mean", "std"))
    statistics = {
        "count": count,
        "mean": mean,
        "std": std,
        "summed_variance": np.asarray(found.get("summed_variance", count * std**2), np.float32),
    }
    return TeacherStart(teacher, statistics, _fitting_value(folder / "train_state", value_shapes))


def check_task(key: str, path: str, stored: IntentionConfig, wanted: Mapping[str, int]) -> None:
    """Compares a teacher, given by the key `key`, with the sizes of observation and action of a task.

    Raises:
        UserError: a size differs.
    """
    for name in ("reference_size", "proprioception_size", "action_size"):
        found, expected = getattr(stored, name), wanted[name]
        if found != expected:
            raise UserError(
                f"{key}: expected a {name.replace('_', ' ')} of {expected}, found {found} in {path}; "
                "give the task that the teacher was trained on (task.reference, task.proprioception, "
                "task.walker)"
            )


def _check_network(path: str, stored: IntentionConfig, wanted: IntentionConfig) -> None:
    check_task("init_from", path, stored, vars(wanted))
    for name in ("cell", "squash", "encoder_reads_body"):
        if (found := getattr(stored, name)) != getattr(wanted, name):
            raise UserError(
                f"init_from: expected a policy with {name} {getattr(wanted, name)}, found {found} in {path}; "
                "such a teacher can be evaluated and distilled, not trained on"
            )
    for name in _SIZES:
        found, expected = getattr(stored, name), getattr(wanted, name)
        if name == "decoder_hidden_sizes" and wanted.is_recurrent:
            continue
        if found != expected:
            shown = list(found) if isinstance(found, tuple) else found
            raise UserError(
                f"init_from: expected network.{name} = {expected}, found {shown} in {path}; give "
                f"network.{name}={shown}"
            )
    found, expected = stored.memory_sizes, wanted.memory_sizes
    if found != expected:
        size = found[0] if found else "128"
        raise UserError(
            f"init_from: expected recurrent layers of {list(expected)}, found {list(found)} in {path}; give "
            f"network.lstm_num_layers={len(found)} network.lstm_hidden_size={size}"
        )


def read_value(path: Path, activation: str) -> tuple[Any, ValueConfig] | None:
    """Returns the value network of a checkpoint's item `train_state`; None if it holds none.

    Its sizes follow from its parameters; the nonlinearity is the policy's.
    """
    try:
        variables = read_arrays(path)["params"]["value"]
        layers = variables["params"]
        kernels = [layers[f"hidden_{i}"]["kernel"] for i in range(_count(layers, "hidden"))]
    except (UserError, KeyError, TypeError):
        return None
    if not kernels:
        return None
    config = ValueConfig(
        observation_size=kernels[0].shape[0],
        hidden_sizes=tuple(kernel.shape[1] for kernel in kernels[:-1]),
        activation=activation,
        layer_norm=_count(layers, "LayerNorm") > 0,
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables), config


def _count(layers: Mapping[str, Any], prefix: str) -> int:
    return sum(name.startswith(f"{prefix}_") for name in layers)


def _fitting_value(path: Path, shapes: Any) -> Any:
    """Returns the value network of a training state; None if there is none of these shapes."""
    try:
        value = read_arrays(path)["params"]["value"]
    except (UserError, KeyError, TypeError):
        return None  # a checkpoint for acting, without a training state
    if jax.tree.structure(value) != jax.tree.structure(shapes):
        return None
    fits = jax.tree.map(lambda a, b: a.shape == b.shape, value, shapes)
    if not all(jax.tree.leaves(fits)):
        return None
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), value)
