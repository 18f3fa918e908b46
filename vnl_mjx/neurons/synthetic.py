"""Simulates units whose truth is known: spike trains that a record's quantities drive, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import Bins
from vnl_mjx.neurons.features import fit_components
from vnl_mjx.neurons.units import Units, spike_units

NOTHING = "nothing"
_MOST_DRIVE = 4.0  # standard deviations


@dataclass(frozen=True)
class SyntheticOptions:
    """Sets what synthetic units are like.

    Attributes:
        units_per_group: of each group, and as many that nothing drives.
        mean_rate_hz: spikes per second, of every unit.
        depth: standard deviation of the rate's drive; of the logarithm of the rate for "exp".
        components: the drive is a random direction among so many leading components of its group.
        link: from drive to rate, exp or softplus; both are scaled to the mean rate.
        seed: of directions and spikes.
    """

    units_per_group: int = 20
    mean_rate_hz: float = 10.0
    depth: float = 0.7
    components: int = 10
    link: str = "exp"
    seed: int = 0


@dataclass(frozen=True)
class Simulated:
    """Holds synthetic units and their rates, spikes per second [bin, unit]."""

    units: Units
    rates: np.ndarray


def simulate(values: Mapping[str, np.ndarray], bins: Bins, options: SyntheticOptions) -> Simulated:
    """Simulates Poisson spikes, constant in rate within each bin, for units of every group and of none.

    The drive of a unit is a direction, uniform on the sphere, in its group's leading components scaled to
    equal variance: every one of them is as likely to matter, not the largest alone. Units that nothing
    drives have the mean rate at all times.

    Args:
        values: [bin, column] of each group.
        bins: of the record.
        options: what the units are like.

    Raises:
        UserError: the link is unknown.
    """
    if options.link not in ("exp", "softplus"):
        raise UserError(f"link: expected exp or softplus, found {options.link!r}")
    rng = np.random.default_rng(options.seed)
    truth, rates = [], []
    for group, columns in values.items():
        scores = fit_components(columns, options.components).of(columns)
        scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        for _ in range(options.units_per_group):
            direction = rng.normal(size=scores.shape[1])
            drive = scores @ (direction / np.linalg.norm(direction))
            rates.append(_rate(options, np.clip(drive / drive.std(), -_MOST_DRIVE, _MOST_DRIVE)))
            truth.append(group)
    for _ in range(options.units_per_group):
        rates.append(np.full(bins.count, options.mean_rate_hz))
        truth.append(NOTHING)
    every = np.stack(rates, axis=1)
    trains = [_spikes(rng, own, bins) for own in every.T]
    names = [f"{i:03d}_{group.replace('/', '.')}" for i, group in enumerate(truth)]
    span = float(bins.start[0]), float(bins.start[-1] + bins.width_s)
    return Simulated(spike_units("synthetic", names, trains, span, truth), every)


def _rate(options: SyntheticOptions, drive: np.ndarray) -> np.ndarray:
    scaled = options.depth * drive
    # about the slope 1 of exp: a softplus of twice the drive, which has slope 1 / 2 at 0
    rate = np.exp(scaled) if options.link == "exp" else np.logaddexp(0.0, 2.0 * scaled)
    return options.mean_rate_hz * rate / rate.mean()


def _spikes(rng: np.random.Generator, rate: np.ndarray, bins: Bins) -> np.ndarray:
    counts = rng.poisson(rate * bins.width_s)
    return np.repeat(bins.start, counts) + rng.uniform(0, bins.width_s, counts.sum())
