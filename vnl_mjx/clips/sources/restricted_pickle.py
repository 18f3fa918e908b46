"""Reads pickles of arrays and plain containers without running code from them.

A pickle is a program. Here Python's unpickler runs only its instructions for plain values. The few names
that arrays need (NumPy `ndarray.__reduce__` and `__reduce_ex__`, `dtype.__reduce__`, JAX
`jax._src.array._reconstruct_array`) map to functions of this file, and every other name is refused. The
file must contain all bytes of an array.
"""

import io
import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.errors import UserError, first_line

_INSTRUCTIONS = frozenset(
    """
    MARK STOP POP POP_MARK DUP PROTO FRAME MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 GLOBAL STACK_GLOBAL REDUCE BUILD
    """.split()
)
_HEAD_BYTES = 512
# bool, integers, floats, bytes and text; no objects, structures, dates
_DTYPE_CODE = re.compile(r"[<>|=]?([biuf](1|2|4|8)|f16|[SU][1-9][0-9]{0,8})")


class _Refused(Exception):
    """Says why a pickle is refused."""


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """Returns the dictionary in a pickle file; its arrays are read-only NumPy arrays.

    Raises:
        UserError: the pickle is damaged, is not a dictionary with names as keys, or does anything but build
            arrays and plain containers.
    """
    try:
        content = path.read_bytes()
        if b"joblib" in content[:_HEAD_BYTES]:  # its arrays stand between the instructions
            raise _Refused("was written by joblib")
        value = _resolved(_Unpickler(io.BytesIO(content), encoding="latin1").load(), {}, {})
    except _Refused as error:
        raise UserError(
            f"{path}: refused, this pickle {error}; expected arrays, numbers, strings, lists, "
            "tuples and dictionaries only: store the arrays as .npz or HDF5"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    except Exception as error:  # whatever a damaged program leads to
        raise UserError(
            f"{path}: is a truncated or damaged pickle ({first_line(error)}); copy it again"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"{path}: the pickle holds a {type(value).__name__}, expected a dictionary of arrays "
            "by name, with 'qpos'"
        )
    return value


class _Dtype:
    """Stands for a `numpy.dtype` while it is built."""

    def __init__(self, code: object, *_: object):
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            kind = "Python objects" if code in ("O", "O8", "|O") else f"type {str(code)[:20]!r}"
            raise _Refused(f"holds an array of {kind}")
        self.dtype = np.dtype(code)

    def build(self, state: tuple) -> None:
        """Does what `dtype.__setstate__` does to a type without fields."""
        order, structure = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise _Refused("holds a structured array")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for a `numpy.ndarray` while it is built."""

    data: bytes | bytearray | str | None = None

    def build(self, state: tuple) -> "_Array":
        """Checks that the file holds the declared bytes; copies nothing."""
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or isinstance(data, list):
            raise _Refused("holds an array of Python objects")
        if not isinstance(data, bytes | bytearray | str):
            raise _Refused(f"holds an array made of a {type(data).__name__}")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise _Refused("holds an array whose shape is no tuple of sizes")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise _Refused(f"declares an array of shape {shape} with {len(data)} bytes for it")
        self.data, self.dtype, self.shape = data, dtype.dtype, shape
        self.is_fortran = bool(is_fortran)
        return self

    def value(self, texts: dict[int, tuple[str, bytes]]) -> Any:
        """Returns the array, or a number; converts each text to bytes only once."""
        data = self.data
        if data is None:
            raise _Refused("holds an array without numbers")
        if isinstance(data, str):  # held, so that its id stays its own
            _, data = texts.setdefault(id(data), (data, data.encode("latin1")))
        values = np.frombuffer(data, self.dtype) if data else np.empty(0, self.dtype)
        values = values.reshape(self.shape, order="F" if self.is_fortran else "C")
        values.flags.writeable = False
        return values if values.ndim else values[()]


def _resolved(value: Any, done: dict[int, Any], texts: dict[int, tuple[str, bytes]]) -> Any:
    """Returns the value with real arrays; changes lists and dictionaries in place, each once."""
    if isinstance(value, _Array):
        return value.value(texts)
    if isinstance(value, _Dtype) or callable(value):
        raise _Refused("holds a function or a type")
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        done[id(value)] = value
        for key, item in value.items():
            value[key] = _resolved(item, done, texts)
    elif isinstance(value, list):
        done[id(value)] = value
        value[:] = [_resolved(item, done, texts) for item in value]
    elif isinstance(value, tuple):
        done[id(value)] = resolved = tuple(_resolved(item, done, texts) for item in value)
        return resolved
    return value


def _from_buffer(data: object, dtype: object, shape: object, order: object, axes: object = None):
    if axes is not None:
        raise _Refused("holds an array with permuted axes")
    return _Array().build((1, shape, dtype, order == "F", data))


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _jax_array(function: object, arguments: tuple, state: tuple, _: object) -> _Array:
    if function is not _reconstruct:
        raise _Refused("holds a JAX array that is not made of a NumPy array")
    return _Array().build(state)


def _encode(*arguments: object) -> str:
    """Reads bytes of protocols before 3; keeps them as text, so that repeats take no memory."""
    text, encoding = arguments or ("", "latin1")
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"asks for text in the encoding {str(encoding)[:20]!r}")
    return text


def _ndarray(*_: object) -> None:
    raise _Refused("makes an array from nothing")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _encode,  # of nothing
    ("jax._src.array", "_reconstruct_array"): _jax_array,
    ("jax._src.device_array", "reconstruct_device_array"): _jax_array,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES |= {
        (f"{_core}.multiarray", "_reconstruct"): _reconstruct,
        (f"{_core}.multiarray", "scalar"): lambda dtype, data: _from_buffer(data, dtype, (), "C"),
        (f"{_core}.numeric", "_frombuffer"): _from_buffer,
    }


class _Unpickler(pickle._Unpickler):
    """Builds plain values only, and allocates no more than the file holds."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _NAMES:
            raise _Refused(f"asks for {f'{module}.{name}'[:100]!r}")
        return _NAMES[module, name]

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Array | _Dtype):
            raise _Refused("changes a function")
        self.stack[-1].build(state)

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # as many as there are

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    def load_setitem(self) -> None:
        items = [self.stack.pop(), self.stack.pop()][::-1]
        self._set_items(items)

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list) -> None:
        keys = items[::2]
        if not all(isinstance(key, str | bytes | int | float | None) for key in keys):
            raise _Refused("has keys such as tuples")  # hashing a tower of them takes for ever
        self.stack[-1].update(zip(keys, items[1::2], strict=True))


class _Instructions(dict):
    """Maps the allowed instructions to what they do; others are refused before anything runs."""

    def __missing__(self, code: int) -> None:
        name = pickletools.code2op[chr(code)].name
        raise _Refused(f"builds other objects (instruction {name})")


_Unpickler.dispatch = _Instructions(
    {
        ord(instruction.code): pickle._Unpickler.dispatch[ord(instruction.code)]
        for instruction in pickletools.opcodes
        if instruction.name in _INSTRUCTIONS
    }
)
for _name in ("BUILD", "BYTEARRAY8", "DICT", "SETITEM", "SETITEMS"):
    _Unpickler.dispatch[getattr(pickle, _name)[0]] = getattr(_Unpickler, f"load_{_name.lower()}")
