"""Reads statistics and parameters of a policy from a track-mjx checkpoint of any generation.

Generations differ in the place of the statistics and the names of layers, not in values.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from vnl_mjx.checkpoints.arrays import check_sha256, read_arrays
from vnl_mjx.compat.track_mjx_network import PARTS_OF
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig, IntentionNetwork

POLICY_SHA256 = "policy_sha256"  # in the configuration, beside track-mjx's keys
MOMENTS = ("mean", "std", "summed_variance")


@dataclass(frozen=True)
class StoredPolicy:
    """Holds a checkpoint's `policy` in NumPy, float32.

    Attributes:
        network: sizes of the network; a student's encoder may also read proprioception.
        statistics: mean and std [observation], count (a float) and, if stored, summed_variance
            [observation].
        params: variables of `IntentionNetwork`, {"params": ...}.
        prior: layers of a prior over the latent; None without one.
    """

    network: IntentionConfig
    statistics: dict[str, Any]
    params: dict[str, Any]
    prior: dict[str, Any] | None


def read_policy(
    path: Path, network: IntentionConfig, normalize: bool, raw_config: Mapping[str, Any]
) -> StoredPolicy:
    """Reads the folder `policy` of a checkpoint; without `normalize` it returns neutral statistics.

    Raises:
        UserError: the folder is missing or damaged, or does not fit `network`.
    """
    if not path.is_dir():
        raise UserError(f"{path} is missing; a track-mjx checkpoint holds config and policy")
    tree = read_arrays(path)
    check_policy(tree, raw_config, path)
    statistics, params = tree.get("0"), tree.get("1")
    if not (isinstance(statistics, dict) and isinstance(params, dict) and "params" in params):
        raise UserError(f"{path} must hold observation statistics and network parameters")
    layers = dict(params["params"])
    prior = layers.pop("prior", None)
    network = replace(network, encoder_reads_body=_reads_body(layers, network))
    named = {"params": _own_names(layers, network)}
    _check_tree(named, _expected_params(network), path)
    if prior is not None:
        _check_tree({"prior": prior}, {"prior": _expected_prior(prior, network)}, path)
    found = flat_statistics(statistics)
    if normalize:
        moments = {name: found[name] for name in ("mean", "std") if name in found}
        sizes = dict.fromkeys(("mean", "std"), (network.observation_size,))
        _check_tree(moments, sizes, path)
    else:
        ones = np.ones(network.observation_size, np.float32)
        found |= {"mean": np.zeros_like(ones), "std": ones}
    count = found.pop("count")
    statistics = to_float32(found) | {"count": count}
    return StoredPolicy(network, statistics, to_float32(named), prior and to_float32(prior))


def check_policy(tree: Mapping[str, Any], raw_config: Mapping[str, Any], path: Path) -> None:
    """Raises DamagedCheckpoint if arrays are not those whose hash we recorded; others record none."""
    check_sha256(tree, raw_config.get(POLICY_SHA256), path)


def _reads_body(layers: Mapping[str, Any], network: IntentionConfig) -> bool:
    """Returns whether the encoder reads the whole observation, which no configuration records."""
    try:
        return len(layers["encoder"]["hidden_0"]["kernel"]) == network.observation_size
    except (KeyError, TypeError):
        return False


def flat_statistics(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns flat statistics from one array (to 2025), one set per part, or nested sets.

    `count` becomes a number in each case.
    """
    for parts in PARTS_OF.values():
        if set(parts) <= stored.keys():  # a set for each part
            sets = [stored[part] for part in parts]
            found = {
                name: np.concatenate([np.asarray(one[name]) for one in sets])
                for name in MOMENTS
                if all(name in one for one in sets)
            }
            return found | {"count": _count(sets[0])}
    found = {name: _flat(stored[name]) for name in MOMENTS if name in stored}
    return found | {"count": _count(stored)}


def _flat(values: Any) -> Any:
    """Returns the policy's entries; "privileged_state" is for the value network."""
    if isinstance(values, Mapping):
        seen = values.get("state", values)
        for parts in PARTS_OF.values():
            if set(parts) <= seen.keys():
                return np.concatenate([np.asarray(seen[part]) for part in parts])
    return values


def _count(statistics: Mapping[str, Any]) -> float:
    """Returns the number of observations in the statistics, which newer brax splits into two words."""
    count = statistics.get("count", 0)
    if isinstance(count, dict):
        return float(count.get("hi", 0)) * 2.0**32 + float(count.get("lo", 0))
    return float(np.asarray(count).sum())


def _own_names(layers: dict[str, Any], network: IntentionConfig) -> dict[str, Any]:
    """Renames the layers of a recurrent decoder and of a student's encoder from their newer names."""
    renamed = dict(layers)
    decoder = renamed.get("decoder", {})
    if network.is_recurrent and isinstance(decoder, dict) and "final" in decoder:
        names = {"final": network.last_layer_name}
        renamed[network.decoder_name] = {
            names.get(name) or re.sub(r"^rnn_cells_", f"{network.cell}_", name): layer
            for name, layer in renamed.pop("decoder").items()
        }
    encoder = renamed.get("encoder", {})
    if isinstance(encoder, dict) and "expansion" in encoder:
        last = f"hidden_{len(network.encoder_hidden_sizes) - 1}"
        renamed["encoder"] = {last if n == "expansion" else n: x for n, x in encoder.items()}
    return renamed


def _expected_params(network: IntentionConfig) -> dict[str, Any]:
    """Returns the shapes of the network's variables."""
    obs = jnp.zeros(network.observation_size)
    init = IntentionNetwork(network).init
    shapes = jax.eval_shape(init, jax.random.key(0), obs, network.initial_memory())
    return jax.tree.map(lambda leaf: leaf.shape, shapes)


def _expected_prior(layers: Mapping[str, Any], network: IntentionConfig) -> dict[str, Any]:
    """Returns the shapes of a prior p(latent given proprioception) with the stored hidden layers."""
    width, expected = network.proprioception_size, {}
    for number, size in enumerate(hidden_sizes(layers)):
        expected[f"hidden_{number}"] = {"kernel": (width, size), "bias": (size,)}
        expected[f"LayerNorm_{number}"] = {"scale": (size,), "bias": (size,)}
        width = size
    head = {"kernel": (width, network.latent_dim), "bias": (network.latent_dim,)}
    return expected | {"fc2_mean": head, "fc2_logvar": head}


def hidden_sizes(layers: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the widths of the layers hidden_0, hidden_1, ..."""
    sizes = []
    while f"hidden_{len(sizes)}" in layers:
        sizes.append(len(layers[f"hidden_{len(sizes)}"]["bias"]))
    return tuple(sizes)


def _check_tree(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Raises UserError, by name, for a parameter that does not fit the configuration or is not finite."""
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
        # JAX's test, because bfloat16 is no NumPy float.
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{where}: {name} must hold floats, found {array.dtype}")
        if not np.isfinite(array.astype(np.float32)).all():
            raise UserError(f"{where}: {name} holds NaN or infinite values; take another step")


def to_float32(tree: Any) -> Any:
    """Returns the tree with NumPy leaves of float32."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float32), tree)
