"""Writes and reads files of functions: ONNX, NumPy arrays and StableHLO."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.compat.function_layers import Layer, evaluate
from vnl_mjx.compat.functions import Function
from vnl_mjx.errors import UserError
from vnl_mjx.versions import how_to_install

# A function that was read: takes inputs [batch, size] by name, returns outputs [batch, size] by name.
Call = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def check_format(kind: str, functions: list[Function]) -> None:
    """Raises UserError if a package is missing, or the layers of a function are unknown."""
    if kind == "onnx":
        missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise UserError(
                f"--to onnx: needs the extra 'onnx', found no {' and no '.join(missing)}; run "
                + how_to_install("onnx")
            )
    unknown = [one.name for one in functions if one.layers is None]
    if unknown and kind != "stablehlo":
        raise UserError(
            f"--to {kind}: expected networks of vnl-mjx, found your own in {', '.join(unknown)}; give "
            "--to stablehlo, which holds any function"
        )


def write_function(kind: str, function: Function, path: Path) -> None:
    """Writes one function to `path`; `kind` is a key of `FORMATS`."""
    FORMATS[kind][0](function, path)


def read_function(kind: str, function: Function, path: Path) -> Call:
    """Reads a written function from its file alone; `function` names inputs and outputs."""
    return FORMATS[kind][1](function, path)


def _write_npz(function: Function, path: Path) -> None:
    """Writes arrays in the order of the layers, named `<row>_<name>`."""
    assert function.layers is not None
    arrays = {
        f"{row}_{name}": array
        for row, layer in enumerate(function.layers)
        for name, array in layer.arrays.items()
    }
    np.savez(path, **arrays)


def _read_npz(function: Function, path: Path) -> Call:
    assert function.layers is not None
    with np.load(path) as stored:
        layers = [
            Layer(
                layer.kind,
                layer.reads,
                layer.writes,
                {name: stored[f"{row}_{name}"] for name in layer.arrays},
                layer.settings,
            )
            for row, layer in enumerate(function.layers)
        ]
    return lambda inputs: evaluate(layers, inputs)


def described_layers(function: Function) -> list[dict[str, Any]]:
    """Returns the layers of an npz file for JSON, with arrays by their names in the file."""
    return [
        {
            "kind": layer.kind,
            "reads": list(layer.reads),
            "writes": layer.writes,
            **layer.settings,
            "arrays": {name: f"{row}_{name}" for name in layer.arrays},
        }
        for row, layer in enumerate(function.layers or ())
    ]


def _write_stablehlo(function: Function, path: Path) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    rows = [jax.ShapeDtypeStruct((batch, one.size), jnp.float32) for one in function.inputs]
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, ".*")  # otherwise the file names the source files of this machine
    try:
        exported = jax.export.export(jax.jit(function), platforms=_PLATFORMS)(*rows)
    finally:
        jax.config.update(option, before)
    path.write_bytes(exported.serialize())


def _read_stablehlo(function: Function, path: Path) -> Call:
    stored = jax.export.deserialize(bytearray(path.read_bytes()))

    def call(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = stored.call(*(jnp.asarray(inputs[one.name]) for one in function.inputs))
        return {name: np.asarray(x) for name, x in zip(function.outputs, found, strict=True)}

    return call


def _write_onnx(function: Function, path: Path) -> None:
    from vnl_mjx.compat.onnx_graph import write_onnx

    write_onnx(function, path)


def _read_onnx(function: Function, path: Path) -> Call:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def call(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = session.run(list(function.outputs), inputs)
        return {name: np.asarray(x) for name, x in zip(function.outputs, found, strict=True)}

    return call


# Writer and reader of each format.
FORMATS: dict[str, tuple[Callable[[Function, Path], None], Callable[[Function, Path], Call]]] = {
    "onnx": (_write_onnx, _read_onnx),
    "npz": (_write_npz, _read_npz),
    "stablehlo": (_write_stablehlo, _read_stablehlo),
}


def largest_difference(kind: str, function: Function, path: Path, num: int) -> float:
    """Returns the largest difference from JAX of a function that was read, for batches of `num` and 1.

    If the largest value of an output exceeds 1, the difference is relative to it: float32 has 7 digits.
    """
    read, evaluate_here, differences = read_function(kind, function, path), jax.jit(function), []
    for inputs in (function.draw(num), function.draw(1, seed=1)):
        found, expected = read(inputs), evaluate_here(*inputs.values())
        differences += [
            np.max(np.abs(np.asarray(value) - found[name])) / max(1.0, np.max(np.abs(value)))
            for name, value in zip(function.outputs, expected, strict=True)
        ]
    return float(np.max(differences))
