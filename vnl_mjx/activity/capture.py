"""Captures and replaces what a network's layers pass on, by interception; the models stay as they are.

Flax calls an interceptor around every method of every module while a function is traced, so capturing
costs nothing where nobody reads the values. A layer is named "network.layer", like "encoder.hidden_0".
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vnl_mjx.models.layers import ACTIVATIONS

# Parts of a module's path that are no network or layer of their own.
_LEFT_OUT = {"trunk", "intention"}
_NETWORKS = {"prior_network": "prior"}
_RECURRENT = re.compile(r"(lstm|gru|simple)_decoder")
_HIDDEN = re.compile(r"hidden_\d+")
_NORM = re.compile(r"(?:LayerNorm|norm)_(\d+)")
# Layers that give a distribution or an action, which are recorded as such.
_OUTPUTS = re.compile(r"fc2_\w+|mean|logvar|code|logits|action_head|\w+_projection")
_LEAVES = (nn.Dense, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.Conv)


class Captured:
    """Holds what the layers passed on in one traced call.

    Attributes:
        values: "network.layer" to [..., width]; of an LSTM ".cell" and ".hidden", of other cells ".hidden".
        outputs: what the modules of each layer returned, by layer and module, for `replaced`.
    """

    def __init__(self) -> None:
        """Begins empty."""
        self.values: dict[str, jax.Array] = {}
        self.outputs: dict[str, dict[str, Any]] = {}


@contextlib.contextmanager
def capture(
    replaced: Mapping[str, Mapping[str, Any]] | None = None, network: str = ""
) -> Iterator[Captured]:
    """Captures every layer that is applied in the block; a layer that is applied twice counts once, last.

    Args:
        replaced: layers whose modules return these values (`Captured.outputs` without leading axes)
            whatever they read.
        network: name of the network, where the module applied has no name of its own.
    """
    captured, replaced = Captured(), replaced or {}

    def around(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output, module = call(*args, **kwargs), context.module
        name = layer_name(module, network) if context.method_name == "__call__" else None
        if name is None:
            return output
        key = "/".join(module.path)
        if key in (values := replaced.get(name, {})):
            output = jax.tree.map(lambda v, y: jnp.broadcast_to(v, y.shape), values[key], output)
        captured.outputs.setdefault(name, {})[key] = output
        captured.values |= _passed_on(name, module, output)
        return output

    with nn.intercept_methods(around):
        yield captured


def layer_name(module: nn.Module, network: str = "") -> str | None:
    """Returns the layer that a bound module is a part of; None for a whole network, or its output."""
    if not isinstance(module, (*_LEAVES, nn.RNNCellBase)) or _in_a_cell(module):
        return None
    *parents, own = (part for part in module.path if part not in _LEFT_OUT)
    if _OUTPUTS.fullmatch(own) or _is_last(module):
        return None
    if norm := _NORM.fullmatch(own):
        own = f"hidden_{norm[1]}"
    parents = [_NETWORKS.get(part, _RECURRENT.sub("decoder", part)) for part in parents]
    return ".".join([*([network] if network else []), *parents, own])


def _in_a_cell(module: nn.Module) -> bool:
    parent = module.parent
    return isinstance(parent, nn.RNNCellBase)


def _is_last(module: nn.Module) -> bool:
    """Returns whether a dense layer is the last of a decoder or a value network, as brax names them."""
    config = getattr(module.parent, "config", None)
    sizes = getattr(config, "hidden_sizes", getattr(config, "decoder_hidden_sizes", None))
    is_encoder = "encoder" in module.path
    return not is_encoder and sizes is not None and module.name == f"hidden_{len(sizes)}"


def _passed_on(name: str, module: nn.Module, output: Any) -> dict[str, jax.Array]:
    if isinstance(module, nn.RNNCellBase):
        carry, hidden = output
        states = {f"{name}.hidden": hidden}
        return {f"{name}.cell": carry[0], **states} if isinstance(carry, tuple) else states
    if isinstance(module, nn.Dense) and _HIDDEN.fullmatch(module.name or ""):
        output = _activation(module)(output)
    return {name: output}


def _activation(module: nn.Module) -> Any:
    """Returns the nonlinearity that our networks apply after a hidden dense layer; else the identity."""
    parent = module.parent
    named = getattr(parent, "activation", None) or getattr(
        getattr(parent, "config", None), "activation", None
    )
    return ACTIVATIONS.get(named, lambda x: x) if isinstance(named, str) else lambda x: x
