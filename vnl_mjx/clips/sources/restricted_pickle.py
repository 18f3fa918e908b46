"""Pickles of arrays and plain containers, read without running anything that they ask for.

A pickle is a program. Three walls stand round it: only the instructions that build plain values
are accepted, before anything is executed; the few names that arrays need lead to stand-ins, and
every other name is refused; and an array's bytes must stand in the file.
"""

import io
import mmap
import pickle
import pickletools
from pathlib import Path
from typing import Any

from vnl_mjx.clips.sources.pickled_arrays import STAND_INS, RefusedPickle, Resolver, StandIn
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
_JOBLIB = b"joblib"
_HEAD_BYTES = 512


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
            value = Resolver()(_Unpickler(io.BytesIO(data[:]), encoding="latin1").load())
    except RefusedPickle as error:
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
    def find_class(self, module: str, name: str) -> StandIn:
        stand_in = STAND_INS.get((module, name))
        if stand_in is None:
            raise RefusedPickle(f"asks for {_printable(f'{module}.{name}')}")
        return stand_in

    def persistent_load(self, pid: object) -> None:
        raise RefusedPickle("refers to objects outside the file")


def _check_instructions(data: mmap.mmap) -> None:
    """Refuses, before anything is built, instructions that plain values do not need.

    pickletools decodes without executing; it raises ValueError for lengths beyond the end.
    """
    if _JOBLIB in data[:_HEAD_BYTES]:  # its arrays stand between the instructions
        raise RefusedPickle("was written by joblib")
    tuples = 0
    for count, (instruction, operand, _) in enumerate(pickletools.genops(data)):
        name = instruction.name
        argument: Any = operand
        if name not in _INSTRUCTIONS:
            raise RefusedPickle(f"builds other objects (instruction {name})")
        if name == "GLOBAL" and tuple(argument.split(" ", 1)) not in STAND_INS:
            raise RefusedPickle(f"asks for {_printable(argument.replace(' ', '.', 1))}")
        # the reader allocates all places up to the highest
        if name in _MEMO_WRITES and not 0 <= argument <= count:
            raise RefusedPickle(f"reserves {argument} places for {count} values")
        tuples += name in _TUPLES
        if tuples > _MOST_TUPLES or count > _MOST_INSTRUCTIONS:
            raise RefusedPickle(
                f"has more than {_MOST_INSTRUCTIONS:,} instructions or {_MOST_TUPLES:,} tuples"
            )


def _printable(name: str) -> str:
    return repr(name[:100])
