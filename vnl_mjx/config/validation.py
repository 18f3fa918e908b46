"""Declares bounds on configuration fields and checks all of them in one walk."""

import math
import operator
from dataclasses import field, fields, is_dataclass
from typing import Any, Literal

from vnl_mjx.errors import UserError

_RELATIONS = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
}

AUTO: Literal["auto"] = "auto"


def number(default: Any, **bounds: float) -> Any:
    """Declares a dataclass field of finite numbers (one, a tuple, or None) within bounds.

    Args:
        default: value of the field.
        **bounds: any of `ge`, `gt`, `le`, `lt`, which every number has to meet.
    """
    return field(default=default, metadata={"bounds": bounds})


def automatic(rat: float, scales: str, **bounds: float) -> Any:
    """Declares a number that follows from the body unless it is given: see `clips/body_size.py`.

    `rat` is the value for a rat at 50 Hz; `scales` says how it depends on the body's length and the rate.
    """
    metadata = {"bounds": bounds, "rat": rat, "scales": scales}
    return field(default=AUTO, metadata=metadata)


_LARGEST_WHOLE = 2**63  # of what NumPy and JAX compute with


def check_bounds(config: Any, where: str = "") -> None:
    """Raises UserError, naming the key, for the first number of a dataclass tree out of its bounds."""
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            check_bounds(value, f"{where}{item.name}.")
            continue
        if isinstance(value, dict):
            for name, part in value.items():
                if is_dataclass(part):
                    check_bounds(part, f"{where}{item.name}.{name}.")
            continue
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, int | float) and not isinstance(part, bool):
                _check_number(f"{where}{item.name}", part, item.metadata.get("bounds", {}))


def _check_number(key: str, value: float, bounds: dict[str, float]) -> None:
    if isinstance(value, int) and abs(value) >= _LARGEST_WHOLE:
        raise UserError(
            f"{key}: expected a whole number below 2**63, found {len(str(value))} digits"
        )
    if math.isfinite(value) and all(_RELATIONS[b][0](value, limit) for b, limit in bounds.items()):
        return
    expected = " and ".join(f"{_RELATIONS[b][1]} {limit:.10g}" for b, limit in bounds.items())
    raise UserError(
        f"{key}: expected a finite number {expected}".rstrip() + f", found {value:.10g}"
    )


def check_divides(key: str, value: int, total: int, what: str) -> None:
    """Raises UserError if `value` does not divide `total`, which `what` describes."""
    if total % value:
        raise UserError(
            f"{key}: expected a divisor of {what}, found {value}; the nearest is "
            f"{nearest_divisor(total, value)}"
        )


def nearest_divisor(total: int, wanted: int) -> int:
    """Returns the divisor of `total` nearest to `wanted`; of two equally near, the smaller."""
    small = [n for n in range(1, math.isqrt(total) + 1) if total % n == 0]
    divisors = sorted({*small, *(total // n for n in small)})
    return min(divisors, key=lambda n: abs(n - wanted))
