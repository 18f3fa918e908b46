"""Reads the values of command-line arguments; each raises ArgumentTypeError, which argparse reports."""

import argparse
import contextlib
import math
from collections.abc import Callable
from datetime import datetime


def indices(text: str) -> tuple[int, ...]:
    """Returns the numbers that a text such as "0,4-7" lists."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise argparse.ArgumentTypeError(f"expected clips like 0,4-7, found {text!r}")
    return tuple(found)


def _number(text: str, fits: Callable[[float], bool], expected: str) -> float:
    with contextlib.suppress(ValueError):
        if fits(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"expected a number {expected}, found {text!r}")


def positive(text: str) -> float:
    """Returns a number above 0."""
    return _number(text, lambda value: 0.0 < value < float("inf"), "above 0")


def fraction(text: str) -> float:
    """Returns a number from 0 to below 1."""
    return _number(text, lambda value: 0.0 <= value < 1.0, "from 0 to below 1")


def not_negative(text: str) -> float:
    """Returns 0 or a number above it."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def count(text: str) -> int:
    """Returns a whole number from 0 on."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return int(text)


def at_least_one(text: str) -> int:
    """Returns a whole number from 1 on."""
    if (number := count(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return number


def moment(text: str) -> datetime:
    """Returns the date and time of an ISO 8601 text; in the time zone of this machine if it has none."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        expected = "a date and time like 2024-05-01T09:30:00"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}") from error


def several(text: str) -> int:
    """Returns a whole number from 2 on."""
    if count(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number from 2 on, found {text!r}")
    return int(text)


def seconds(text: str) -> tuple[float, ...]:
    """Returns the numbers between commas, none infinite."""
    return tuple(_number(part, math.isfinite, "of seconds") for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Returns the names between commas."""
    return tuple(text.split(","))


def size(text: str) -> tuple[int, int]:
    """Returns width and height of a text such as "960x480"."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected pixels like 960x480, found {text!r}")
    return int(width), int(height)
