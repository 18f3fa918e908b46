"""Stand-ins for the functions that pickled arrays call; they build nothing but plain arrays.

Formats: NumPy `ndarray.__reduce__`, `ndarray.__reduce_ex__` and `dtype.__reduce__`, JAX
`jax._src.array._reconstruct_array` (a NumPy array and its state).
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# bool, integers, floats, bytes and text; no objects, structures, dates
_DTYPE_CODE = re.compile(r"[<>|=]?([biuf](1|2|4|8)|f16|[SU][1-9][0-9]{0,8})")


class RefusedPickle(Exception):
    """Why a pickle is not read."""


class StandIn:
    """A name that a pickle may call."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Builds the value."""
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise RefusedPickle("changes a function")


class _Dtype:
    """`numpy.dtype` while it is being built."""

    def __init__(self, code: object):
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            kind = "Python objects" if code in ("O", "O8", "|O") else f"type {str(code)[:20]!r}"
            raise RefusedPickle(f"holds an array of {kind}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order, structure = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise RefusedPickle("holds a structured array")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """`numpy.ndarray` while it is being built: what it will be made of."""

    def __init__(self) -> None:
        self.data: bytes | bytearray | str | None = None
        self.dtype = np.dtype(np.uint8)
        self.shape: tuple[int, ...] = ()
        self.order = "C"

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, "F" if is_fortran else "C")

    def fill(self, data: object, dtype: object, shape: object, order: str) -> None:
        """Checks that the bytes for what is declared are there; copies nothing."""
        if not isinstance(dtype, _Dtype) or isinstance(data, list):
            raise RefusedPickle("holds an array of Python objects")
        if not isinstance(data, bytes | bytearray | str):
            raise RefusedPickle(f"holds an array made of a {type(data).__name__}")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise RefusedPickle("holds an array whose shape is no tuple of sizes")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise RefusedPickle(f"declares an array of shape {shape} with {len(data)} bytes for it")
        self.data, self.dtype, self.shape = data, dtype.dtype, shape
        self.order = "F" if order == "F" else "C"


class Resolver:
    """Puts arrays in the place of what they are built in; each text becomes bytes only once."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._texts: dict[int, tuple[str, bytes]] = {}  # holds the text, so that its id stays its

    def __call__(self, value: Any) -> Any:
        """The value with arrays; lists and dictionaries are changed in place."""
        if isinstance(value, _Array):
            return self._array(value)
        if isinstance(value, StandIn | _Dtype):
            raise RefusedPickle("holds a function or a type")
        if id(value) in self._done:
            return self._done[id(value)]
        if isinstance(value, dict):
            self._done[id(value)] = value
            for key, item in value.items():
                value[key] = self(item)
        elif isinstance(value, list):
            self._done[id(value)] = value
            value[:] = [self(item) for item in value]
        elif isinstance(value, tuple):
            resolved = tuple(self(item) for item in value)
            self._done[id(value)] = resolved
            return resolved
        return value

    def _array(self, parts: _Array) -> Any:
        data = parts.data
        if data is None:
            raise RefusedPickle("holds an array without numbers")
        if isinstance(data, str):
            _, data = self._texts.setdefault(id(data), (data, data.encode("latin1")))
        values = np.frombuffer(data, parts.dtype) if data else np.empty(0, parts.dtype)
        values = values.reshape(parts.shape, order="F" if parts.order == "F" else "C")
        values.flags.writeable = False
        return values if values.ndim else values[()]


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: object, dtype: object, shape: object, order: object, axes: object = None):
    if axes is not None:
        raise RefusedPickle("holds an array with permuted axes")
    array = _Array()
    array.fill(data, dtype, shape, str(order))
    return array


def _scalar(dtype: object, data: object) -> _Array:
    return _from_buffer(data, dtype, (), "C")


def _jax_array(function: object, arguments: tuple, state: tuple, _: object) -> _Array:
    if function is not _RECONSTRUCT:
        raise RefusedPickle("holds a JAX array that is not made of a NumPy array")
    array = _reconstruct(*arguments)
    array.__setstate__(state)
    return array


def _encoded(text: object, encoding: object) -> str:
    """How protocols before 3 write bytes; left as text, so that repeating it takes no memory."""
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedPickle(f"asks for text in the encoding {str(encoding)[:20]!r}")
    return text


def _no_bytes(*arguments: object) -> str:
    """How protocols before 3 write empty bytes."""
    if arguments:
        raise RefusedPickle("makes bytes of other values")
    return ""


def _not_called(*_: object) -> None:
    raise RefusedPickle("makes an array from nothing")


_RECONSTRUCT = StandIn(_reconstruct)
STAND_INS: dict[tuple[str, str], StandIn] = {
    ("numpy", "ndarray"): StandIn(_not_called),
    ("numpy", "dtype"): StandIn(lambda code, *_: _Dtype(code)),
    ("_codecs", "encode"): StandIn(_encoded),
    ("__builtin__", "bytes"): StandIn(_no_bytes),
    ("jax._src.array", "_reconstruct_array"): StandIn(_jax_array),
    ("jax._src.device_array", "reconstruct_device_array"): StandIn(_jax_array),
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): StandIn(_scalar),
    ("numpy._core.multiarray", "scalar"): StandIn(_scalar),
    ("numpy.core.numeric", "_frombuffer"): StandIn(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): StandIn(_from_buffer),
}
