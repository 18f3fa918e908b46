"""Reads values out of a parsed JSON file, with an error that names the file and the key."""

import math
from collections.abc import Mapping
from typing import Any

from vnl_mjx.errors import UserError

_REQUIRED = object()


class JsonReader:
    """Dotted keys of a parsed JSON object.

    A wrong value, or a missing one without default, is a `UserError`; null counts as missing.

    Args:
        raw: the parsed object.
        source: what to call it in messages.
    """

    def __init__(self, raw: Mapping[str, Any], source: str):
        self._raw = raw
        self._source = source

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return self._find(key) is not None

    def error(self, key: str, expected: str, value: Any) -> UserError:
        """The error for a value that is not what was expected."""
        found = repr(value)
        found = found if len(found) <= 60 else found[:57] + "..."
        return UserError(f"{self._source}: {key} must be {expected}, found {found}")

    def number(self, key: str, default: Any = _REQUIRED, *, positive: bool = False) -> float:
        """A finite number."""
        expected = "a positive number" if positive else "a finite number"
        value = self._get(key, default, expected)
        if not _is_number(value) or (positive and value <= 0):
            raise self.error(key, expected, value)
        return float(value)

    def size(self, key: str, default: Any = _REQUIRED) -> int:
        """A positive integer."""
        value = self._get(key, default, "a positive integer")
        if not _is_size(value):
            raise self.error(key, "a positive integer", value)
        return value

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """A boolean."""
        value = self._get(key, default, "true or false")
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """A string."""
        value = self._get(key, default, "a string")
        if not isinstance(value, str):
            raise self.error(key, "a string", value)
        return value

    def sizes(self, key: str) -> tuple[int, ...]:
        """A list of positive integers."""
        return self._items(key, "a list of positive integers", _is_size)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        return self._items(key, "a list of names", lambda item: isinstance(item, str))

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of exactly so many finite numbers."""
        expected = f"a list of {count} finite numbers"
        items = self._items(key, expected, _is_number)
        if len(items) != count:
            raise self.error(key, expected, list(items))
        return tuple(float(item) for item in items)

    def _items(self, key: str, expected: str, is_valid) -> tuple:
        value = self._get(key, _REQUIRED, expected)
        if not isinstance(value, list) or not value or not all(is_valid(item) for item in value):
            raise self.error(key, expected, value)
        return tuple(value)

    def _find(self, key: str) -> Any:
        value: Any = self._raw
        for part in key.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value

    def _get(self, key: str, default: Any, expected: str) -> Any:
        value = self._find(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise UserError(f"{self._source}: key {key} is missing, expected {expected}")
        return default


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
