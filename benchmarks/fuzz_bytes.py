"""Damages bytes of files, and holds the values that the fuzzer puts in places where they do not belong."""

from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator
HUGE = 300_000_000  # elements that a damaged file claims to have

LONG = "x" * 100_000
TEXTS = (
    "",
    " ",
    LONG,
    "\0",
    "../../../etc/passwd",
    "a\nb",
    "é\u202e\U0001f400",
    "nan",
    "-1",
    "1e400",
)
TEXTS += ("${run_dir}", "${oc.env:HOME}", "{a: [", "%s%n", "null", "9" * 400, "/dev/null", "~", "*")
SCALARS = (None, True, -1, 0, 1, 2**31, -(2**63), 10**30, 0.5, 1e308, float("nan"), float("inf"))


def pick(random: Random, choices: Any) -> Any:
    return choices[int(random.integers(len(choices)))]


def damage_bytes(random: Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    kind = pick(
        random, ("flip", "flip", "cut", "zero", "insert", "remove", "repeat", "ones", "empty")
    )
    if kind == "empty" and random.random() < 0.7:
        kind = "bits"
    start = int(random.integers(len(data) + 1))
    if random.random() < 0.4:  # headers and tables of contents lie at the ends
        start = min(int(random.exponential(64)), len(data))
        start = len(data) - start if random.random() < 0.3 else start
    num = int(min(len(data) - start, 2 ** random.integers(0, 12)))
    if kind in ("flip", "bits"):
        for place in random.integers(0, max(len(data), 1), int(random.integers(1, 16))):
            if len(data):
                data[place] = int(random.integers(256)) if kind == "flip" else data[place] ^ 1
    elif kind == "cut":
        del data[start:]
    elif kind in ("zero", "ones"):
        data[start : start + num] = (b"\0" if kind == "zero" else b"\xff") * num
    elif kind == "insert":
        data[start:start] = random.bytes(int(2 ** random.integers(0, 10)))
    elif kind == "remove":
        del data[start : start + num]
    elif kind == "repeat":
        data[start:start] = data[start : start + num] * int(random.integers(1, 5))
    else:
        data.clear()
    path.write_bytes(data)
    return f"{kind} at {start}"
