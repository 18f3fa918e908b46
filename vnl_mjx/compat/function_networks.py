"""Adds the layers of this package's networks to a list of `function_layers`.

Each function returns the names of the values that it writes, so that functions can be composed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.compat.function_layers import LayerList
from vnl_mjx.models.intention import MIN_OBSERVATION_STD, FrozenPolicy
from vnl_mjx.models.student import Student
from vnl_mjx.models.student_networks import trunk_of
from vnl_mjx.tasks.downstream.low_level import SATURATED, SIGMAS, LowLevel

_BODY = "proprioception"
_Limits = tuple[float | None, float | None] | None


def has_layers(student: Student) -> bool:
    """Returns whether the networks are of this package, and not the user's own."""
    config = student.networks.config
    return config.network in ("mlp", "teacher") and config.latent == "gaussian"


def normalised(layers: LayerList, value: str, policy: FrozenPolicy, part: str) -> str:
    """Adds the normalisation by `FrozenPolicy.normalize` of one part."""
    size = policy.config.reference_size
    rows = slice(size) if part == "reference" else slice(size, None)
    std = np.maximum(np.asarray(policy.obs_std[rows]), MIN_OBSERVATION_STD)
    value = layers.add("normalise", value, arrays={"mean": policy.obs_mean[rows], "std": std})
    clip = policy.config.observation_clip
    return value if clip is None else layers.clip(value, -clip, clip)


def intention_encoder(
    layers: LayerList,
    policy: FrozenPolicy,
    params: Mapping[str, Any],
    reference: str = "reference",
    body: str = _BODY,
) -> None:
    """Adds the encoder of an intention network, with parameters by its names; see `_gaussian`."""
    network = policy.config
    value = normalised(layers, reference, policy, "reference")
    if network.encoder_reads_body:
        value = layers.add("join", value, normalised(layers, body, policy, _BODY))
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
    body: str = _BODY,
) -> None:
    """Adds the decoder of an intention network, to the mode of its action."""
    network, trunk = policy.config, trunk_of(params["decoder"])
    last = trunk.pop(network.last_layer_name)
    last = {name: x[..., : network.action_size] for name, x in last.items()}
    value = layers.add("join", latent, normalised(layers, body, policy, _BODY))
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


def student_prior(layers: LayerList, student: Student, body: str = _BODY) -> None:
    """Adds the prior; see `_gaussian`."""
    config, network = student.networks.config, student.params["prior_network"]
    value = normalised(layers, body, student.teacher, _BODY)
    value = layers.mlp(value, network["trunk"], config.activation)
    limits = config.logvar_min, config.logvar_max
    _gaussian(layers, value, (network["mean"], network["logvar"]), limits)


def student_decoder(
    layers: LayerList, student: Student, latent: str = "latent", body: str = _BODY
) -> None:
    """Adds the decoder, which writes `control`."""
    config, params, teacher = student.networks.config, student.params, student.teacher
    if config.network == "teacher":
        return intention_decoder(layers, teacher, params["intention"], latent, body=body)
    value = layers.add("join", normalised(layers, body, teacher, _BODY), latent)
    value = layers.mlp(value, params["decoder"], config.activation)
    value = layers.add("dense", value, arrays=params["action_head"])
    layers.add("activation", value, function="tanh", writes="control")


def task_policy(layers: LayerList, policy: FrozenPolicy, low_level: LowLevel) -> None:
    """Adds a task's policy at its mode, from `goal` and `proprioception`; writes `action`."""
    body = _read(layers, low_level)
    intention_encoder(layers, policy, policy.params["params"], "goal", body)
    intention_decoder(layers, policy, policy.params["params"], "mean", "action", body)


def low_level_control(layers: LayerList, low_level: LowLevel) -> None:
    """Adds `LowLevel.control` of `proprioception` and `action`; writes `control`."""
    student, body, action = low_level.student, _read(layers, low_level), "action"
    if low_level.mode == "decoder_only":
        return student_decoder(layers, student, _unbounded(layers, action), body)
    student_prior(layers, student, body)
    if low_level.residual == "sigma_ball":
        steps = layers.add("scale", action, factor=SIGMAS)
        step = layers.add("multiply", layers.add("ball", steps, radius=low_level.radius), "std")
    else:
        step = action if low_level.residual == "tanh" else _unbounded(layers, action)
    student_decoder(layers, student, layers.add("add", "mean", step), body)


def _read(layers: LayerList, low_level: LowLevel) -> str:
    """Adds the bounds on the input of a low level."""
    if low_level.lowest is None or low_level.highest is None:
        return _BODY
    limits = low_level.lowest, low_level.highest
    low, high = (np.nan_to_num(np.asarray(x, np.float32)) for x in limits)
    return layers.add("within", _BODY, arrays={"low": low, "high": high})


def _unbounded(layers: LayerList, action: str) -> str:
    return layers.add("atanh", layers.clip(action, -SATURATED, SATURATED))


def _gaussian(
    layers: LayerList,
    features: str,
    heads: tuple[Mapping[str, Any], Mapping[str, Any]],
    limits: _Limits,
    added: str | None = None,
) -> None:
    """Adds the heads of mean and log-variance; writes `mean`, plus the value `added`, and `std`."""
    mean, logvar = heads
    if added is None:
        layers.add("dense", features, arrays=mean, writes="mean")
    else:
        layers.add("add", layers.add("dense", features, arrays=mean), added, writes="mean")
    value = layers.add("dense", features, arrays=logvar)
    if limits is not None:
        value = layers.clip(value, *limits)
    layers.add("half_exp", value, writes="std")
