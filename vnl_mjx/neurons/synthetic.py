"""Simulates units whose truth is known: spike trains that a record's quantities drive, or nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import Bins
from vnl_mjx.neurons.features import fit_components
from vnl_mjx.neurons.units import Units, spike_units

# Units that the record does not drive: at a constant rate, or by a slow process of their own.
NOTHING, UNRELATED = "nothing", "unrelated"
UNDRIVEN = (NOTHING, UNRELATED)
_MOST_DRIVE = 4.0  # standard deviations


@dataclass(frozen=True)
class SyntheticOptions:
    """Sets what synthetic units are like.

    Attributes:
        units_per_group: of each group, of a constant rate, and of an unrelated slow process.
        mean_rate_hz: spikes per second, of every unit.
        depth: standard deviation of the rate's drive; of the logarithm of the rate for "exp".
        components: the drive is a random direction among so many leading components of its group;
            0: one random column, such as a single activation of a layer.
        unrelated_s: time constant of the unrelated process, an autoregression of the first order.
        link: from drive to rate, exp or softplus; both are scaled to the mean rate.
        seed: of directions and spikes.
    """

    units_per_group: int = 20
    mean_rate_hz: float = 10.0
    depth: float = 0.7
    components: int = 10
    unrelated_s: float = 2.0
    link: str = "exp"
    seed: int = 0


@dataclass(frozen=True)
class Simulated:
    """Holds synthetic units and their rates, spikes per second [bin, unit]."""

    units: Units
    rates: np.ndarray


def simulate(values: Mapping[str, np.ndarray], bins: Bins, options: SyntheticOptions) -> Simulated:
    """Simulates Poisson spikes, of one rate within each bin, for units of every group and of none.

    The drive of a unit is a direction, uniform on the sphere, in its group's leading components scaled to
    equal variance: every one of them is as likely to matter, not the largest alone.

    Args:
        values: [bin, column] of each group.
        bins: of the record.
        options: what the units are like.

    Raises:
        UserError: the link is unknown, or a group does not change.
    """
    if options.link not in ("exp", "softplus"):
        raise UserError(f"link: expected exp or softplus, found {options.link!r}")
    rng = np.random.default_rng(options.seed)
    rates: list[np.ndarray] = []
    for columns in values.values():
        rates += [_rate(options, drive) for drive in _drives(rng, columns, options)]
    truth = [group for group in values for _ in range(options.units_per_group)]
    for _ in range(options.units_per_group):
        rates.append(np.full(bins.count, options.mean_rate_hz))
    for _ in range(options.units_per_group):
        rates.append(_rate(options, _slow(rng, bins, options.unrelated_s)))
    truth += [NOTHING] * options.units_per_group + [UNRELATED] * options.units_per_group
    every = np.stack(rates, axis=1)
    constant = np.flatnonzero(~np.isfinite(every).all(axis=0))
    if len(constant):
        raise UserError(
            f"record: {truth[constant[0]]} does not change, so that it can drive no synthetic unit; leave it "
            "out with --groups"
        )
    trains = [_spikes(rng, own, bins) for own in every.T]
    names = [f"{i:03d}_{group.replace('/', '.')}" for i, group in enumerate(truth)]
    span = float(bins.start[0]), float(bins.start[-1] + bins.width_s)
    return Simulated(spike_units("synthetic", names, trains, span, truth), every)


def _drives(
    rng: np.random.Generator, columns: np.ndarray, options: SyntheticOptions
) -> Iterator[np.ndarray]:
    """Yields what drives each unit of a group, [bin]."""
    if not options.components:
        varying = np.flatnonzero(columns.std(axis=0) > 1e-6 * columns.std(axis=0).max())
        yield from columns[:, rng.choice(varying, options.units_per_group)].T
        return
    scores = fit_components(columns, options.components).of(columns)
    scores = scores / scores.std(axis=0)
    for _ in range(options.units_per_group):
        yield scores @ rng.normal(size=scores.shape[1])


def _slow(rng: np.random.Generator, bins: Bins, seconds: float) -> np.ndarray:
    """Returns an autoregressive process of the first order, [bin]."""
    from scipy.signal import lfilter

    kept = np.exp(-bins.width_s / seconds)
    first = round(10 * seconds / bins.width_s)  # until it forgets that it began at 0
    return np.asarray(lfilter([1.0], [1.0, -kept], rng.normal(size=first + bins.count)))[first:]


def _rate(options: SyntheticOptions, drive: np.ndarray) -> np.ndarray:
    """Returns the rate [bin] of a drive, which is standardised first, spikes per second."""
    drive = (drive - drive.mean()) / drive.std()
    scaled = options.depth * np.clip(drive, -_MOST_DRIVE, _MOST_DRIVE)
    # the logarithm of the softplus has slope 1.4 around 0
    rate = np.exp(scaled) if options.link == "exp" else np.logaddexp(0.0, 2.0 * scaled)
    return options.mean_rate_hz * rate / rate.mean()


def _spikes(rng: np.random.Generator, rate: np.ndarray, bins: Bins) -> np.ndarray:
    counts = rng.poisson(rate * bins.width_s)
    return np.repeat(bins.start, counts) + rng.uniform(0, bins.width_s, counts.sum())
