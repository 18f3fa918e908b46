"""Gives facts of rat locomotion as functions of speed. docs/gait.md lists sources and assumptions.

Sources, by the names used below:
    Górska 1999: Górska, Zmysłowski, Majczyński, "Overground locomotion in intact rats: interlimb
        coordination, support patterns and support phases duration", Acta Neurobiol Exp 59:131.
    Hruska 1979: Hruska, Kennedy, Silbergeld, "Quantitative aspects of normal locomotion in rats",
        Life Sci 25:171.
    Gillis 2001: Gillis, Biewener, "Hindlimb muscle function in relation to speed and gait: in vivo
        patterns of strain and activation in a hip and knee extensor of the rat", J Exp Biol 204:2717.
"""

import numpy as np

from vnl_mjx.clips.conditioning.smoothing import smooth_step

# Górska 1999, abstract: step cycles of 685 ms at 10 cm/s and 215 ms at 78 cm/s. Stride frequency in
# between follows the power of speed that joins the two.
_SLOW_SPEED, _SLOW_CYCLE = 0.10, 0.685
_FAST_SPEED, _FAST_CYCLE = 0.78, 0.215
_EXPONENT = np.log(_SLOW_CYCLE / _FAST_CYCLE) / np.log(_FAST_SPEED / _SLOW_SPEED)
LOWEST_FREQUENCY = 1.2  # Hz; assumed: slower animals take shorter steps, or none

# Hruska 1979: swing time does not change with speed (20-80 cm/s); Gillis 2001, fig. 1: nearly so.
# The value puts the duty factor at one half between 0.4 and 0.5 m/s (Górska 1999: within her range
# of speeds a walking trot, duty factor above one half, becomes a running trot).
SWING_SECONDS = 0.135

# Fraction of a cycle by which a forelimb follows the hindlimb of its side: 0.25 a lateral-sequence
# singlefoot, 0.5 a trot. Hruska 1979: lateral sequence, diagonal couplets (0.25-0.5); Górska 1999:
# diagonal couplets throughout, a trot at the fast end.
_SLOW_LAG, _TROT_LAG = 0.33, 0.5
_WALK_UNTIL, _TROT_FROM = 0.12, 0.42  # m/s

FASTEST = 0.7  # m/s; rats gallop beyond (Gillis 2001, fig. 1: some from 0.60 to 0.75 m/s)
FASTEST_BACKWARDS, FASTEST_SIDEWAYS = -0.15, 0.1  # m/s; assumed: rats step back and aside slowly
FASTEST_TURN = 2.5  # rad/s; beyond, the model's limbs do not reach


def stride_frequency(speed: np.ndarray) -> np.ndarray:
    """Returns the strides per second at a speed in m/s (an array of any shape).

    It follows the power law from about 0.1 m/s on; below, it levels off at `LOWEST_FREQUENCY`.
    """
    power_law = (np.maximum(speed, 1e-6) / _SLOW_SPEED) ** _EXPONENT / _SLOW_CYCLE
    return np.sqrt(power_law**2 + LOWEST_FREQUENCY**2 * np.exp(-((speed / 0.07) ** 2)))


def duty_factor(frequency: np.ndarray) -> np.ndarray:
    """Returns the fraction of the cycle that a foot is on the floor, at a stride frequency in Hz."""
    return 1 - SWING_SECONDS * frequency


def forelimb_lag(speed: np.ndarray) -> np.ndarray:
    """Returns the fraction of a cycle by which a forelimb follows the hindlimb of its side."""
    return _SLOW_LAG + (_TROT_LAG - _SLOW_LAG) * trotting(speed)


def trotting(speed: np.ndarray) -> np.ndarray:
    """Returns 0 in a slow walk, 1 in a trot, and smooth values in between."""
    return smooth_step((speed - _WALK_UNTIL) / (_TROT_FROM - _WALK_UNTIL))


def wander(
    rng: np.random.Generator, time: np.ndarray, low_hz: float, high_hz: float, columns: int
) -> np.ndarray:
    """Draws smooth irregular curves [frame, columns] around 0 with a standard deviation of about 1.

    Each curve is the sum of five sinusoids of a band; it takes three draws, whatever the number of frames.
    """
    frequency = rng.uniform(low_hz, high_hz, (5, columns))
    phase = rng.uniform(0, 2 * np.pi, (5, columns))
    size = rng.uniform(0.5, 1.0, (5, columns))
    size *= np.sqrt(2 / (size**2).sum(axis=0))
    waves = size * np.sin(2 * np.pi * frequency * time[:, None, None] + phase)
    return waves.sum(axis=1)
