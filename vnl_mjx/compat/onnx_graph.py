"""Writes a function as an ONNX graph, layer by layer. Needs the extra `onnx`.

jax2onnx (0.13.0) converts the same functions with the same accuracy, but under the pinned JAX it prints
pages of errors of unneeded plug-ins, takes 12 s to start and adds 24 packages.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vnl_mjx.compat.function_layers import Layer
from vnl_mjx.compat.functions import Function

_OPSET, _IR_VERSION = 17, 8  # the oldest versions with layer normalisation
_ONE_NODE = {"elu": "Elu", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


class _Graph:
    """Collects nodes and constants; methods return the name of the value that they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind: str, *reads: str, writes: str | None = None, **settings: Any) -> str:
        writes = writes or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, reads, [writes], **settings))
        return writes

    def layer(self, layer: Layer) -> None:
        """Adds the nodes of one layer."""
        node, constant, out, settings = self.node, self.constant, layer.writes, layer.settings
        x, arrays = layer.reads, {name: constant(value) for name, value in layer.arrays.items()}
        match layer.kind:
            case "normalise":
                node("Div", node("Sub", x[0], arrays["mean"]), arrays["std"], writes=out)
            case "clip":
                limits = constant(settings["low"]), constant(settings["high"])
                node("Clip", x[0], *limits, writes=out)
            case "within":
                node("Min", node("Max", x[0], arrays["low"]), arrays["high"], writes=out)
            case "ball":
                squares = node("ReduceSumSquare", x[0], axes=[-1], keepdims=1)
                length = node("Max", node("Sqrt", squares), constant(1e-6))
                share = node(
                    "Min", node("Div", constant(settings["radius"]), length), constant(1.0)
                )
                node("Mul", x[0], share, writes=out)
            case "scale":
                node("Mul", x[0], constant(settings["factor"]), writes=out)
            case "multiply":
                node("Mul", *x, writes=out)
            case "atanh":
                above, below = node("Add", constant(1.0), x[0]), node("Sub", constant(1.0), x[0])
                node("Mul", node("Log", node("Div", above, below)), constant(0.5), writes=out)
            case "join":
                node("Concat", *x, writes=out, axis=-1)
            case "dense":
                node("Gemm", x[0], arrays["kernel"], arrays["bias"], writes=out)
            case "layer_norm":
                shape = arrays["scale"], arrays["bias"]
                epsilon = settings["epsilon"]
                node("LayerNormalization", x[0], *shape, writes=out, axis=-1, epsilon=epsilon)
            case "add":
                node("Add", *x, writes=out)
            case "half_exp":
                node("Exp", node("Mul", x[0], constant(0.5)), writes=out)
            case "activation":
                self._activation(settings["function"], x[0], out)
            case kind:
                raise ValueError(f"no ONNX for layers of {kind=}")

    def _activation(self, name: str, x: str, out: str) -> None:
        node, constant = self.node, self.constant
        if name == "silu":
            node("Mul", x, node("Sigmoid", x), writes=out)
        elif name == "gelu":  # the approximation in Flax
            cube = node("Mul", node("Mul", node("Mul", x, x), x), constant(0.044715))
            inner = node("Mul", node("Add", x, cube), constant(0.7978845608))
            share = node("Add", node("Tanh", inner), constant(1.0))
            node("Mul", node("Mul", x, share), constant(0.5), writes=out)
        else:
            node(_ONE_NODE[name], x, writes=out)


def write_onnx(function: Function, path: Path) -> None:
    """Writes one file, whose batch size is free."""
    assert function.layers is not None
    graph = _Graph()
    for layer in function.layers:
        graph.layer(layer)

    def shapes(sizes: dict[str, int]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in sizes.items()
        ]

    inputs = shapes({one.name: one.size for one in function.inputs})
    outputs = shapes(dict(zip(function.outputs, function.output_sizes(), strict=True)))
    made = helper.make_graph(graph.nodes, function.name, inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(
        made, opset_imports=opset, ir_version=_IR_VERSION, producer_name="vnl-mjx"
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
