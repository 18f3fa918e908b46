"""Pickles of arrays and plain containers, read without running anything that they ask for.

A pickle is a program. Three walls stand round it: only the instructions that build plain values
are accepted, before anything is executed; the few names that arrays need (NumPy `ndarray.__reduce__` and
`__reduce_ex__`, `dtype.__reduce__`, JAX `jax._src.array._reconstruct_array`) lead to functions of this file,
and every other name is refused; and an array's bytes must stand in the file.
"""

import io
import math
import mmap
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.errors import UserError, first_line

_CONTAINERS = """
    MARK STOP POP POP_MARK DUP PROTO FRAME MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
""".split()
_VALUES = """
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8
""".split()
_INSTRUCTIONS = frozenset([*_CONTAINERS, *_VALUES, "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"])
_MEMO_WRITES = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))
_MOST_INSTRUCTIONS = 5_000_000  # 60,000 frames as nested lists of numbers; seconds to check
_MOST_TUPLES = 10_000  # a tower of tuples as a key would overflow the stack
_HEAD_BYTES = 512
# bool, integers, floats, bytes and text; no objects, structures, dates
_DTYPE_CODE = re.compile(r"[<>|=]?([biuf](1|2|4|8)|f16|[SU][1-9][0-9]{0,8})")


class _Refused(Exception):
    """Why a pickle is not read."""


def read_plain_pickle(path: Path) -> dict[str, Any]:
    """The dictionary that a pickle file holds; arrays are read-only NumPy arrays.

    Raises:
        UserError: the pickle is damaged, is not a dictionary by names, or holds or would do
            anything else than building arrays and plain containers.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_instructions(data)
            # a copy, as the file may change between check and use
            value = _resolved(_Unpickler(io.BytesIO(data[:]), encoding="latin1").load(), {}, {})
    except _Refused as error:
        raise UserError(
            f"{path}: refused, this pickle {error}; expected arrays, numbers, strings, lists, "
            "tuples and dictionaries only: store the arrays as .npz or HDF5"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    except Exception as error:  # whatever a damaged program leads to; nothing of it has run
        raise UserError(
            f"{path}: is a truncated or damaged pickle ({first_line(error)}); copy it again"
        ) from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"{path}: the pickle holds a {type(value).__name__}, expected a dictionary of arrays "
            "by name, with 'qpos'"
        )
    return value


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> "_Function":
        if (module, name) not in _FUNCTIONS:
            raise _Refused(f"asks for {f'{module}.{name}'[:100]!r}")
        return _FUNCTIONS[module, name]


def _check_instructions(data: mmap.mmap) -> None:
    """Refuses, before anything is built, instructions that plain values do not need.

    pickletools decodes without executing; it raises ValueError for lengths beyond the end.
    """
    if b"joblib" in data[:_HEAD_BYTES]:  # its arrays stand between the instructions
        raise _Refused("was written by joblib")
    tuples = 0
    for count, (instruction, operand, _) in enumerate(pickletools.genops(data)):
        name = instruction.name
        argument: Any = operand
        if name not in _INSTRUCTIONS:
            raise _Refused(f"builds other objects (instruction {name})")
        if name == "GLOBAL" and tuple(argument.split(" ", 1)) not in _FUNCTIONS:
            raise _Refused(f"asks for {argument.replace(' ', '.', 1)[:100]!r}")
        # the reader allocates all places up to the highest
        if name in _MEMO_WRITES and not 0 <= argument <= count:
            raise _Refused(f"reserves {argument} places for {count} values")
        tuples += name in _TUPLES
        if tuples > _MOST_TUPLES or count > _MOST_INSTRUCTIONS:
            raise _Refused(
                f"has more than {_MOST_INSTRUCTIONS:,} instructions or {_MOST_TUPLES:,} tuples"
            )


class _Function:
    """A name that a pickle may call."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("changes a function")


class _Dtype:
    """`numpy.dtype` while it is being built."""

    def __init__(self, code: object, *_: object):
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            kind = "Python objects" if code in ("O", "O8", "|O") else f"type {str(code)[:20]!r}"
            raise _Refused(f"holds an array of {kind}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order, structure = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise _Refused("holds a structured array")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """`numpy.ndarray` while it is being built: what it will be made of."""

    data: bytes | bytearray | str | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, "F" if is_fortran else "C")

    def fill(self, data: object, dtype: object, shape: object, order: object) -> "_Array":
        """Checks that the bytes for what is declared are there; copies nothing."""
        if not isinstance(dtype, _Dtype) or isinstance(data, list):
            raise _Refused("holds an array of Python objects")
        if not isinstance(data, bytes | bytearray | str):
            raise _Refused(f"holds an array made of a {type(data).__name__}")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise _Refused("holds an array whose shape is no tuple of sizes")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise _Refused(f"declares an array of shape {shape} with {len(data)} bytes for it")
        self.data, self.dtype, self.shape = data, dtype.dtype, shape
        self.is_fortran = order == "F"
        return self

    def value(self, texts: dict[int, tuple[str, bytes]]) -> Any:
        """The array, or a number; each text becomes bytes only once."""
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
    """The value with arrays; lists and dictionaries are changed in place, each of them once."""
    if isinstance(value, _Array):
        return value.value(texts)
    if isinstance(value, _Function | _Dtype):
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
    return _Array().fill(data, dtype, shape, order)


def _jax_array(function: object, arguments: tuple, state: tuple, _: object) -> _Array:
    if function is not _RECONSTRUCT:
        raise _Refused("holds a JAX array that is not made of a NumPy array")
    array = _Array()
    array.__setstate__(state)
    return array


def _encoded(text: object, encoding: object) -> str:
    """How protocols before 3 write bytes; left as text, so that repeating it takes no memory."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"asks for text in the encoding {str(encoding)[:20]!r}")
    return text


def _no_bytes(*arguments: object) -> str:
    """How protocols before 3 write empty bytes."""
    if arguments:
        raise _Refused("makes bytes of other values")
    return ""


def _not_called(*_: object) -> None:
    raise _Refused("makes an array from nothing")


_RECONSTRUCT = _Function(lambda *_: _Array())
_FUNCTIONS = {
    ("numpy", "ndarray"): _Function(_not_called),
    ("numpy", "dtype"): _Function(_Dtype),
    ("_codecs", "encode"): _Function(_encoded),
    ("__builtin__", "bytes"): _Function(_no_bytes),
    ("jax._src.array", "_reconstruct_array"): _Function(_jax_array),
    ("jax._src.device_array", "reconstruct_device_array"): _Function(_jax_array),
}
for _core in ("numpy.core", "numpy._core"):
    _FUNCTIONS |= {
        (f"{_core}.multiarray", "_reconstruct"): _RECONSTRUCT,
        (f"{_core}.multiarray", "scalar"): _Function(lambda d, v: _from_buffer(v, d, (), "C")),
        (f"{_core}.numeric", "_frombuffer"): _Function(_from_buffer),
    }
