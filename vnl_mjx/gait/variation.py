"""Smooth, seeded irregularity."""

import numpy as np


def wander(
    rng: np.random.Generator, time: np.ndarray, low_hz: float, high_hz: float, columns: int
) -> np.ndarray:
    """Smooth irregular curves [frame, columns] around 0 with a standard deviation of about 1.

    Args:
        rng: three draws per sinusoid are taken, whatever the frames.
        time: seconds [frame].
        low_hz: lower end of the band of the five sinusoids that each curve is the sum of.
        high_hz: its upper end.
        columns: number of curves.
    """
    frequency = rng.uniform(low_hz, high_hz, (5, columns))
    phase = rng.uniform(0, 2 * np.pi, (5, columns))
    size = rng.uniform(0.5, 1.0, (5, columns))
    size *= np.sqrt(2 / (size**2).sum(axis=0))
    waves = size * np.sin(2 * np.pi * frequency * time[:, None, None] + phase)
    return waves.sum(axis=1)
