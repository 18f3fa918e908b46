"""Smooth, seeded irregularity."""

import numpy as np


def wander(
    rng: np.random.Generator, time: np.ndarray, low_hz: float, high_hz: float, columns: int
) -> np.ndarray:
    """Smooth irregular curves [frame, columns] around 0 with a standard deviation of about 1.

    Each is the sum of five sinusoids of a band; three draws are taken for each, whatever the frames.
    """
    frequency = rng.uniform(low_hz, high_hz, (5, columns))
    phase = rng.uniform(0, 2 * np.pi, (5, columns))
    size = rng.uniform(0.5, 1.0, (5, columns))
    size *= np.sqrt(2 / (size**2).sum(axis=0))
    waves = size * np.sin(2 * np.pi * frequency * time[:, None, None] + phase)
    return waves.sum(axis=1)
