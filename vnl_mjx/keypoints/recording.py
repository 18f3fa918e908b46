"""Represents what a key-point file holds, whatever its format."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeyPoints:
    """Holds the key points of one animal: camera-based 3-D positions by name.

    Attributes:
        names: of the points [point].
        positions: [frame, point, 3], metres, z up; NaN where a point was not found.
        confidence: [frame, point], 0 ... 1.
        rate_hz: frames per second, or None if the file does not say.
        source: what to call the recording in messages.
        notes: sentences that say what was assumed or found while reading.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    confidence: np.ndarray
    rate_hz: float | None
    source: str
    notes: tuple[str, ...] = ()
