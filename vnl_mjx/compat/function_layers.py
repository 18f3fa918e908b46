"""Describes feed-forward networks as a list of named layers, which other software can evaluate.

A layer reads values by name (inputs of the function, or outputs of earlier layers) and writes one value,
[batch, size] float32. `EVALUATE` has each kind of layer in NumPy; `docs/export.md` shows how to read a
file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vnl_mjx.models.layers import LAYER_NORM_EPSILON

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """One step of a function.

    Attributes:
        kind: a key of `EVALUATE`.
        reads: names of its inputs.
        writes: name of its output.
        arrays: float32 arrays, by the names that its kind defines.
        settings: JSON-able settings, by the names that its kind defines.
    """

    kind: str
    reads: tuple[str, ...]
    writes: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
    "silu": lambda x: 0.5 * x * (1 + np.tanh(0.5 * x)),
    "tanh": np.tanh,
}


def _layer_norm(x: np.ndarray, layer: Layer) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    variance = np.mean(centered**2, -1, keepdims=True)
    unit = centered / np.sqrt(variance + np.float32(layer.settings["epsilon"]))
    return unit * layer.arrays["scale"] + layer.arrays["bias"]


def _shrink(x: np.ndarray, radius: float) -> np.ndarray:
    length = np.sqrt(np.sum(x**2, axis=-1, keepdims=True))
    return np.minimum(np.float32(1.0), np.float32(radius) / np.maximum(length, np.float32(1e-6)))


EVALUATE: dict[str, Callable[[list[np.ndarray], Layer], np.ndarray]] = {
    "normalise": lambda x, layer: (x[0] - layer.arrays["mean"]) / layer.arrays["std"],
    "clip": lambda x, layer: np.clip(x[0], layer.settings["low"], layer.settings["high"]),
    "within": lambda x, layer: np.clip(x[0], layer.arrays["low"], layer.arrays["high"]),
    "ball": lambda x, layer: x[0] * _shrink(x[0], layer.settings["radius"]),
    "scale": lambda x, layer: x[0] * np.float32(layer.settings["factor"]),
    "multiply": lambda x, layer: x[0] * x[1],
    "atanh": lambda x, layer: np.arctanh(x[0]),
    "join": lambda x, layer: np.concatenate(x, axis=-1),
    "dense": lambda x, layer: x[0] @ layer.arrays["kernel"] + layer.arrays["bias"],
    "activation": lambda x, layer: ACTIVATIONS[layer.settings["function"]](x[0]),
    "layer_norm": lambda x, layer: _layer_norm(x[0], layer),
    "add": lambda x, layer: x[0] + x[1],
    "half_exp": lambda x, layer: np.exp(0.5 * x[0]),
}


def evaluate(layers: Sequence[Layer], inputs: Arrays) -> dict[str, np.ndarray]:
    """Returns every value of a function by name, for inputs [batch, size]."""
    values = dict(inputs)
    for layer in layers:
        values[layer.writes] = EVALUATE[layer.kind]([values[name] for name in layer.reads], layer)
    return values


class LayerList(list[Layer]):
    """Collects layers; each method returns the name of the value that its layers write."""

    def add(
        self,
        kind: str,
        *reads: str,
        writes: str | None = None,
        arrays: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        """Adds a layer; give `writes` only for an output of the function."""
        found = {name: np.asarray(value, np.float32) for name, value in (arrays or {}).items()}
        self.append(Layer(kind, reads, writes or f"{len(self)}_{kind}", found, settings))
        return self[-1].writes

    def clip(self, value: str, low: float | None, high: float | None, **named: Any) -> str:
        """Adds clipping to limits; None is no limit."""
        limits = -np.inf if low is None else low, np.inf if high is None else high
        finite = np.clip(limits, *(np.finfo(np.float32).max * np.array([-1, 1]))).tolist()
        return self.add("clip", value, low=finite[0], high=finite[1], **named)

    def mlp(self, value: str, layers: Mapping[str, Any], activation: str) -> str:
        """Adds the hidden layers of `layers`, as `models.student_networks` names them."""
        for i in range(sum(name.startswith("hidden_") for name in layers)):
            value = self.add("dense", value, arrays=layers[f"hidden_{i}"])
            value = self.add("activation", value, function=activation)
            if (norm := layers.get(f"norm_{i}")) is not None:
                value = self.add("layer_norm", value, arrays=norm, epsilon=LAYER_NORM_EPSILON)
        return value
