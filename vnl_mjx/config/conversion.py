"""Converts configuration dataclasses to and from plain dictionaries, and checks types by key."""

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar

from vnl_mjx.config.renamed import renamed
from vnl_mjx.errors import UserError, nearest

T = TypeVar("T")
_LARGEST = 2**1023  # about the largest float


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a configuration as nested dictionaries of JSON values."""
    return {key: _plain(value) for key, value in asdict(config).items()}


def from_dict(
    cls: type[T], data: Mapping[str, Any], source: str = "", short: typing.Iterable[str] = ()
) -> T:
    """Builds `cls` from nested dictionaries; a key that is not there keeps its default.

    Args:
        cls: a configuration dataclass.
        data: values as YAML or JSON give them.
        source: prefix of an error message, for example "config.yaml: ".
        short: short names, which an unknown key may resemble too.

    Raises:
        UserError: an unknown key (the nearest known one is named) or a value of another type.
    """
    return _section(cls, data, "", source, known_keys(cls) | dict.fromkeys(short))


def known_keys(cls: Any) -> dict[str, Any]:
    """Returns every dotted key of a configuration dataclass, sections included, with its type."""
    keys: dict[str, Any] = {}
    for name, kind in _field_types(cls).items():
        keys[name] = kind
        if is_dataclass(kind):
            keys |= {f"{name}.{key}": inner for key, inner in known_keys(kind).items()}
    return keys


def type_options(kind: Any) -> tuple[Any, ...]:
    """Returns the members of a union, or the single type."""
    is_union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return typing.get_args(kind) if is_union else (kind,)


def unknown_key_message(key: str, known: typing.Iterable[str]) -> str:
    """Returns a line that names the key's successor, or the nearest known key by full name or last part."""
    if successor := renamed(key):
        return successor
    by_last_part = {name.rpartition(".")[2]: name for name in known}
    close, last = nearest(key, known, 0.75), nearest(key.rpartition(".")[2], by_last_part)
    near = close or (by_last_part[last] if last else None)
    hint = f"did you mean {near}?" if near else "--show-config lists every key"
    return f"unknown key {key}; {hint}"


def is_number_section(kind: Any) -> bool:
    """Returns whether a plain number may stand for the whole section, which then has a field `value`."""
    return is_dataclass(kind) and "value" in {item.name for item in fields(kind)}


def is_mapping(kind: Any) -> bool:
    """Returns whether a key holds entries under names that the user chooses."""
    return typing.get_origin(kind) is dict


def _field_types(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {item.name: hints[item.name] for item in fields(cls)}


def _section(cls: Any, data: Any, where: str, source: str, known: Mapping[str, Any]) -> Any:
    if is_number_section(cls) and _is_number(data):
        return cls(value=_value(float, data, f"{source}{where.rstrip('.')}"))
    if not isinstance(data, Mapping):
        key = where.rstrip(".") or "the configuration"
        expected = "a number or a section" if is_number_section(cls) else "a section"
        raise UserError(f"{source}{key}: expected {expected} of keys, found {_shown(data)}")
    kinds = _field_types(cls)
    values = {}
    for name, value in data.items():
        key = f"{where}{name}"
        if name not in kinds:
            raise UserError(f"{source}{unknown_key_message(key, known)}")
        values[name] = _converted(kinds[name], value, key, source, known)
    return cls(**values)


def _converted(kind: Any, value: Any, key: str, source: str, known: Mapping[str, Any]) -> Any:
    if is_dataclass(kind):
        return _section(kind, value, f"{key}.", source, known)
    if is_mapping(kind):
        return _mapping(kind, value, key, source)
    return _value(kind, value, f"{source}{key}")


def _mapping(kind: Any, data: Any, key: str, source: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise UserError(f"{source}{key}: expected a section of names, found {_shown(data)}")
    part = typing.get_args(kind)[1]
    inner = known_keys(part) if is_dataclass(part) else {}
    known = {f"{key}.NAME.{name}": kind for name, kind in inner.items()}
    return {
        name: _converted(part, value, f"{key}.{name}", source, known)
        for name, value in data.items()
    }


def _is_number(value: Any) -> typing.TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(kind: Any, value: Any, key: str) -> Any:
    """Returns `value` as `kind` if that loses nothing: 2e6 as an integer, 1 as a float."""
    if kind is Any:
        return value
    options = type_options(kind)
    if value is None and type(None) in options:
        return None
    kinds = [option for option in options if option is not type(None)]
    for option in kinds:
        choices = typing.get_args(option) if typing.get_origin(option) is Literal else ()
        if isinstance(value, str) and value in choices:
            return value
    kind = next((option for option in kinds if option in (int, float)), kinds[0])
    origin = typing.get_origin(kind)
    if origin is tuple and isinstance(value, list | tuple) and _fits(kind, value):
        return tuple(_value(typing.get_args(kind)[0], part, key) for part in value)
    if _is_number(value):
        if kind is float:
            is_too_large = isinstance(value, int) and abs(value) >= _LARGEST
            return (
                math.inf if is_too_large else float(value)
            )  # infinity is refused, see `validation`
        if kind is int and value == value // 1:
            return int(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    raise UserError(f"{key}: expected {_described(options)}, found {_shown(value)}")


def _fits(kind: Any, value: list | tuple) -> bool:
    parts = typing.get_args(kind)
    return Ellipsis in parts or len(parts) == len(value)


def _described(options: tuple[Any, ...]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    kinds = [option for option in options if option is not type(None)]
    if len(kinds) > 1:
        texts = [_described((kind,)) for kind in kinds]
        return " or ".join([*texts, *(["null"] if type(None) in options else [])])
    (kind,) = kinds
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        text = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
    elif typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        count = "" if Ellipsis in parts else f" of {len(parts)}"
        text = f"a list{count}, each part {_described(parts[:1])}"
    else:
        text = names[kind]
    return text + " or null" * (type(None) in options)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _shown(value: Any) -> str:
    return json.dumps(_plain(value), default=str, ensure_ascii=False)
