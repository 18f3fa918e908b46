"""Reads and checks the parameters in a track-mjx checkpoint, whatever machine wrote them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.compat.track_mjx_config import Translation
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig, IntentionNetwork


def read_policy(path: Path, translation: Translation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the `policy` item.

    Args:
        path: folder of the item.
        translation: of the configuration beside it, which the parameters must fit.

    Returns:
        The observation statistics, and the network's variables {"params": ...}; NumPy, float32.

    Raises:
        UserError: the item is missing or damaged, does not fit, or holds what is not finite.
    """
    if not path.is_dir():
        raise UserError(f"{path} is missing; a track-mjx checkpoint holds config and policy")
    tree = read_arrays(path)
    statistics, params = tree.get("0"), tree.get("1")
    if not isinstance(statistics, dict) or not isinstance(params, dict):
        raise UserError(f"{path} must hold observation statistics and network parameters")
    network = translation.network
    _check_tree(params, _expected_params(network), path)
    if not translation.normalize_observations:
        ones = np.ones(network.observation_size, np.float32)
        return {**statistics, "mean": np.zeros_like(ones), "std": ones}, _to_float32(params)
    moments = {key: statistics[key] for key in ("mean", "std") if key in statistics}
    _check_tree(moments, dict.fromkeys(("mean", "std"), (network.observation_size,)), path)
    return {**statistics, **_to_float32(moments)}, _to_float32(params)


def _expected_params(network: IntentionConfig) -> dict[str, Any]:
    """Shapes of the network's variables."""
    obs = jnp.zeros(network.observation_size)
    init = IntentionNetwork(network).init
    shapes = jax.eval_shape(init, jax.random.key(0), obs, network.initial_memory())
    return jax.tree.map(lambda leaf: leaf.shape, shapes)


def _check_tree(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Refuses what does not fit the configuration, or is not finite, by name."""
    where = f"{path.parent.name}/{path.name}"
    arrays = traverse_util.flatten_dict(found, sep="/")
    shapes = traverse_util.flatten_dict(expected, sep="/")

    # Kernels first: their shapes tell most about which size is wrong.
    def by_telling(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (not name.endswith("kernel"), name))

    for name in by_telling(set(arrays) - set(shapes)):
        raise UserError(f"{where}: {name} is there, but network_config has no such layer")
    for name in by_telling(set(shapes) - set(arrays)):
        raise UserError(f"{where}: {name} {shapes[name]} is missing; network_config asks for it")
    for name in by_telling(shapes):
        array = np.asarray(arrays[name])
        if array.shape != shapes[name]:
            raise UserError(
                f"{where}: {name} has shape {array.shape}, network_config asks for {shapes[name]}"
            )
        # bfloat16 is no NumPy float, hence JAX's test.
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{where}: {name} must hold floats, found {array.dtype}")
        if not np.isfinite(array.astype(np.float32)).all():
            raise UserError(f"{where}: {name} holds NaN or infinite values; take another step")


def _to_float32(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float32), tree)


def count_observations(statistics: dict[str, Any]) -> float:
    """Observations behind the statistics. Newer versions of brax split the number in two words."""
    count = statistics.get("count", 0)
    if isinstance(count, dict):
        return float(count.get("hi", 0)) * 2.0**32 + float(count.get("lo", 0))
    return float(np.asarray(count).sum())
