"""Reads values from a parsed JSON file, with errors that name the file and the key."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from vnl_mjx.errors import UserError

_MISSING = object()


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(fits(item) for item in value)


# Description of the expected value, by kind.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "number": ("a finite number", _is_number),
    "positive": ("a positive number", lambda v: _is_number(v) and v > 0),
    "size": ("a positive integer", _is_size),
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "object": ("an object", lambda v: isinstance(v, Mapping)),
    "text": ("a string", lambda v: isinstance(v, str)),
    "sizes": ("a list of positive integers", lambda v: _is_list(v, _is_size)),
    "names": ("a list of names", lambda v: _is_list(v, lambda item: isinstance(item, str))),
    "2 numbers": ("a list of 2 finite numbers", lambda v: _is_list(v, _is_number) and len(v) == 2),
    "3 numbers": ("a list of 3 finite numbers", lambda v: _is_list(v, _is_number) and len(v) == 3),
}


class JsonReader:
    """Reads dotted keys of a parsed JSON object, called `source` in messages; null counts as missing."""

    def __init__(self, raw: Mapping[str, Any], source: str):
        self._raw, self._source = raw, source

    def __call__(self, kind: str, key: str, default: Any = _MISSING) -> Any:
        """Returns a value of one of `_KINDS`; raises UserError if it is wrong, or missing without default."""
        value, (expected, fits) = self._find(key), _KINDS[kind]
        if value is None:
            if default is _MISSING:
                raise UserError(f"{self._source}: key {key} is missing, expected {expected}")
            return default
        if not fits(value):
            raise self.error(key, expected, value)
        if kind in ("number", "positive"):
            return float(value)
        if kind.endswith(" numbers"):
            return tuple(float(item) for item in value)
        return tuple(value) if isinstance(value, list) else value

    def section(self, path: str, keys: Mapping[str, tuple]) -> dict[str, Any]:
        """Returns values of a section; `keys` maps each name to kind, key and an optional default."""
        return {
            name: self(kind, f"{path}.{key}", *default)
            for name, (kind, key, *default) in keys.items()
        }

    def has(self, key: str) -> bool:
        """Returns whether the key exists."""
        return self._find(key) is not None

    def error(self, key: str, expected: str, value: Any) -> UserError:
        """Returns the error for an unexpected value."""
        found = repr(value)
        found = found if len(found) <= 60 else found[:57] + "..."
        return UserError(f"{self._source}: {key} must be {expected}, found {found}")

    def _find(self, key: str) -> Any:
        value: Any = self._raw
        for part in key.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value
