"""MATLAB files of version 5 to 7.2: arrays of numbers, text, and cells of text.

Format: "MAT-File Format", The MathWorks, chapter 1 (level 5). SciPy's reader ends the process on
some damaged files; this one raises ValueError or zlib.error for all of them.
"""

import math
import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

_HEADER_BYTES = 128
_ENDIAN = {b"IM": "<", b"MI": ">"}  # the header's last two bytes
_TAG_BYTES = 8
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_NUMBERS |= {12: "i8", 13: "u8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
_COMPLEX_FLAG = 0x0800
_HEAD_BYTES = 4096  # of a compressed variable; flags, sizes and name stand in it


@dataclass(frozen=True)
class MatVariable:
    """One variable.

    Attributes:
        name: of the variable.
        shape: as in MATLAB.
        kind: MATLAB's class of its elements.
        is_number: real numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    is_number: bool
    _content: memoryview  # of a matrix element, or of a compressed one
    _is_compressed: bool
    _order: str

    def read(self) -> np.ndarray | list[str]:
        """Its numbers in MATLAB's shape, or its strings.

        Raises:
            ValueError: it is damaged, or holds neither numbers nor text.
            zlib.error: it is damaged.
        """
        content = self._content
        if self._is_compressed:
            content = _uncompressed(content, self._order, whole=True)
        return _values(content, self._order)


def read_mat5(path: Path) -> dict[str, MatVariable]:
    """Variables by name; their values are read when asked for.

    Raises:
        ValueError: the file is damaged.
        zlib.error: the same.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    order = _ENDIAN.get(bytes(data[_HEADER_BYTES - 2 : _HEADER_BYTES]))
    if order is None:
        raise ValueError("the header does not tell the byte order")
    variables = {}
    for kind, content in _elements(data[_HEADER_BYTES:], order):
        if kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"element of type {kind} where a variable is expected")
        is_compressed = kind == _COMPRESSED
        head = _uncompressed(content, order, whole=False) if is_compressed else content
        name, shape, kind, is_complex = _description(head, order)
        is_number = kind in _CLASSES and not is_complex
        variables[name] = MatVariable(name, shape, kind, is_number, content, is_compressed, order)
    return variables


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Data elements one after another: type and content."""
    place = 0
    while place < len(data):
        if place + _TAG_BYTES > len(data):
            raise ValueError("the file ends within a tag")
        kind, size = np.frombuffer(data[place : place + _TAG_BYTES], order + "u4").tolist()
        start = place + _TAG_BYTES
        if kind >> 16:  # small element: size and content stand in the tag
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
            place += _TAG_BYTES
        else:
            place = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes, {len(data) - start} are left")
        yield kind, data[start : start + size]


def _uncompressed(content: memoryview, order: str, whole: bool) -> memoryview:
    """The matrix in a compressed element, or only its first bytes."""
    inflater = zlib.decompressobj()
    head = inflater.decompress(content, _HEAD_BYTES)
    if len(head) < _TAG_BYTES:
        raise ValueError("a compressed variable without content")
    kind, size = np.frombuffer(head[:_TAG_BYTES], order + "u4").tolist()
    if kind != _MATRIX:
        raise ValueError(f"a compressed element of type {kind} where a variable is expected")
    if not whole:
        return memoryview(head[_TAG_BYTES : _TAG_BYTES + size])
    left = max(_TAG_BYTES + size - len(head), 0)
    # one byte more than declared, so that the end is seen and its checksum compared
    matrix = head[_TAG_BYTES:] + inflater.decompress(inflater.unconsumed_tail, left + 1)
    if len(matrix) != size or not inflater.eof:
        raise ValueError(f"a compressed variable of {size} bytes, {len(matrix)} are there")
    return memoryview(matrix)


def _description(matrix: memoryview, order: str) -> tuple[str, tuple[int, ...], int, bool]:
    """Name, shape, class, and whether its numbers are complex."""
    elements = [content for _, content in islice(_elements(matrix, order), 3)]
    if len(elements) < 3 or len(elements[0]) < 4 or len(elements[1]) % 4:
        raise ValueError("a variable without sizes and name")
    flags = int(np.frombuffer(elements[0][:4], order + "u4")[0])
    shape = tuple(np.frombuffer(elements[1], order + "i4").tolist())
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a variable of shape {shape}")
    name = bytes(elements[2]).decode("latin1")
    return name, shape, flags & 0xFF, bool(flags & _COMPLEX_FLAG)


def _values(matrix: memoryview, order: str) -> np.ndarray | list[str]:
    name, shape, kind, is_complex = _description(matrix, order)
    parts = islice(_elements(matrix, order), 3, None)
    if kind == _CELL:
        cells = [_values(content, order) for _, content in parts]
        if not all(isinstance(cell, list) for cell in cells):
            raise ValueError(f"{name!r} has cells that are not text")
        return ["".join(cell) for cell in cells]
    found = next(parts, None)
    if found is None or is_complex or (kind != _CHAR and kind not in _CLASSES):
        raise ValueError(f"{name!r} holds neither numbers nor text")
    stored, content = found
    if kind == _CHAR:
        return _rows_of_text(stored, content, order, shape)
    if stored not in _NUMBERS:
        raise ValueError(f"{name!r} holds data of type {stored} as numbers")
    dtype = np.dtype(order + _NUMBERS[stored])
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name!r} of shape {shape} has {len(content)} bytes")
    # MATLAB stores whole numbers in the smallest type that holds them
    values = np.frombuffer(content, dtype).astype(_CLASSES[kind])
    return values.reshape(shape, order="F")


def _rows_of_text(
    stored: int, content: memoryview, order: str, shape: tuple[int, ...]
) -> list[str]:
    encoding = _TEXTS.get(stored)
    if encoding is None:
        raise ValueError(f"text of type {stored}")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    text = bytes(content).decode(encoding)
    if len(shape) != 2 or math.prod(shape) != len(text):
        raise ValueError(f"text of {len(text)} characters and shape {shape}")
    return [text[row :: shape[0]] for row in range(shape[0])]  # columns stand one after another
