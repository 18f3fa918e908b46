"""Layers of the networks of this package, for `function_layers`; each function adds some to a list.

They return the names of the values that they write, so that they can be put together otherwise.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.compat.function_layers import LayerList
from vnl_mjx.models.intention import MIN_OBSERVATION_STD, FrozenPolicy
from vnl_mjx.models.student import Student
from vnl_mjx.models.student_networks import trunk_of

_BODY = "proprioception"
_Limits = tuple[float | None, float | None] | None


def has_layers(student: Student) -> bool:
    """Whether the networks are of this package, and not the user's own."""
    config = student.networks.config
    return config.network in ("mlp", "teacher") and config.latent == "gaussian"


def normalised(layers: LayerList, value: str, policy: FrozenPolicy, part: str) -> str:
    """Adds what `FrozenPolicy.normalize` does of a part."""
    size = policy.config.reference_size
    rows = slice(size) if part == "reference" else slice(size, None)
    std = np.maximum(np.asarray(policy.obs_std[rows]), MIN_OBSERVATION_STD)
    value = layers.add("normalise", value, arrays={"mean": policy.obs_mean[rows], "std": std})
    clip = policy.config.observation_clip
    return value if clip is None else layers.clip(value, -clip, clip)


def intention_encoder(
    layers: LayerList, policy: FrozenPolicy, params: Mapping[str, Any], reference: str = "reference"
) -> None:
    """Adds the encoder of an intention network, with parameters by its names; see `_gaussian`."""
    network = policy.config
    value = normalised(layers, reference, policy, "reference")
    if network.encoder_reads_body:
        value = layers.add("join", value, normalised(layers, _BODY, policy, _BODY))
    encoder = params["encoder"]
    value = layers.mlp(value, trunk_of(encoder), network.activation)
    heads = encoder["fc2_mean"], encoder["fc2_logvar"]
    _gaussian(layers, value, heads, network.logvar_range)


def intention_decoder(
    layers: LayerList,
    policy: FrozenPolicy,
    params: Mapping[str, Any],
    latent: str = "latent",
    writes: str = "control",
) -> None:
    """Adds the decoder of an intention network, to the mode of its action."""
    network, trunk = policy.config, trunk_of(params["decoder"])
    last = trunk.pop(network.last_layer_name)
    last = {name: x[..., : network.action_size] for name, x in last.items()}
    value = layers.add("join", latent, normalised(layers, _BODY, policy, _BODY))
    value = layers.mlp(value, trunk, network.activation)
    value = layers.add("dense", value, arrays=last)
    layers.add("activation", value, function=network.squash, writes=writes)


def student_encoder(layers: LayerList, student: Student) -> None:
    """Adds the posterior; see `_gaussian`."""
    config, params, teacher = student.networks.config, student.params, student.teacher
    if config.network == "teacher":
        return intention_encoder(layers, teacher, params["intention"])
    body, added = normalised(layers, _BODY, teacher, _BODY), None
    if config.posterior == "residual":
        prior = params["prior_network"]
        features = layers.mlp(body, prior["trunk"], config.activation)
        added = layers.add("dense", features, arrays=prior["mean"])
    value = layers.add("join", body, normalised(layers, "reference", teacher, "reference"))
    network, limits = params["encoder"], (config.logvar_min, config.logvar_max)
    value = layers.mlp(value, network["trunk"], config.activation)
    _gaussian(layers, value, (network["mean"], network["logvar"]), limits, added)


def student_prior(layers: LayerList, student: Student) -> None:
    """Adds the prior; see `_gaussian`."""
    config, network = student.networks.config, student.params["prior_network"]
    value = normalised(layers, _BODY, student.teacher, _BODY)
    value = layers.mlp(value, network["trunk"], config.activation)
    limits = config.logvar_min, config.logvar_max
    _gaussian(layers, value, (network["mean"], network["logvar"]), limits)


def student_decoder(layers: LayerList, student: Student, latent: str = "latent") -> None:
    """Adds the decoder, which writes `control`."""
    config, params, teacher = student.networks.config, student.params, student.teacher
    if config.network == "teacher":
        return intention_decoder(layers, teacher, params["intention"], latent)
    value = layers.add("join", normalised(layers, _BODY, teacher, _BODY), latent)
    value = layers.mlp(value, params["decoder"], config.activation)
    value = layers.add("dense", value, arrays=params["action_head"])
    layers.add("activation", value, function="tanh", writes="control")


def _gaussian(
    layers: LayerList,
    features: str,
    heads: tuple[Mapping[str, Any], Mapping[str, Any]],
    limits: _Limits,
    added: str | None = None,
) -> None:
    """Adds `mean`, with the value `added` in it, and `std`, of the heads of mean and log-variance."""
    mean, logvar = heads
    if added is None:
        layers.add("dense", features, arrays=mean, writes="mean")
    else:
        layers.add("add", layers.add("dense", features, arrays=mean), added, writes="mean")
    value = layers.add("dense", features, arrays=logvar)
    if limits is not None:
        value = layers.clip(value, *limits)
    layers.add("half_exp", value, writes="std")
