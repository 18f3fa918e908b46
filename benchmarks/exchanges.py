"""What devices exchange in one call of a compiled program, read off the program itself."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {"pred": 8, "bf16": 16}  # of the types whose names do not say
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_ARRAY = re.compile(r"\b(pred|bf16|[a-z]+(\d+))\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"= (.*?) ([a-z\-]+)\(")
_CALLED = re.compile(r"(?:body|to_apply)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclass
class Exchanges:
    """Per call of a program, on each device.

    Attributes:
        calls: how often the devices wait for one another, by the kind of exchange.
        num_bytes: size of what is exchanged. A ring of n devices sends 2 (n - 1) / n times that from
            each device for an all-reduce.
    """

    calls: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)


def exchanges(program: str) -> Exchanges:
    """Adds up the exchanges of `program`, the text of optimised HLO, loops as often as they turn.

    Raises:
        ValueError: a loop exchanges data and does not say how often it turns.
    """
    computations, entry = _computations(program)
    found = Exchanges()
    _add(computations, entry, 1, found)
    return found


def _computations(program: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in program.splitlines():
        if head := _COMPUTATION.match(line):
            lines = computations[head[2]] = []
            entry = head[2] if head[1] else entry
        else:
            lines.append(line)
    return computations, entry


def _add(computations: dict[str, list[str]], name: str, times: int, found: Exchanges) -> None:
    for line in computations[name]:
        instruction = _INSTRUCTION.search(line)
        if not instruction:
            continue
        results, operation = instruction.groups()
        kind = operation.removesuffix("-start")
        if kind in KINDS:
            found.calls[kind] += times
            found.num_bytes[kind] += times * sum(_sizes(results))
        elif operation in ("while", "call"):
            called = _CALLED.search(line)
            if called is None:
                continue
            trips = _TRIPS.search(line) if operation == "while" else None
            inner = Exchanges()
            _add(computations, called[1], 1, inner)
            if operation == "while" and inner.calls and trips is None:
                raise ValueError(f"{called[1]} exchanges data an unknown number of times")
            turns = times * (int(trips[1]) if trips else 1)
            for kind in inner.calls:
                found.calls[kind] += turns * inner.calls[kind]
                found.num_bytes[kind] += turns * inner.num_bytes[kind]


def _sizes(types: str) -> Iterator[int]:
    for name, bits, shape in _ARRAY.findall(types):
        size = int(bits or _BITS[name]) // 8
        for length in shape.split(","):
            size *= int(length or 1)
        yield size
