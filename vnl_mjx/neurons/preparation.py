"""Prepares what all units of a session share: folds, components of every group, gaps, and shifts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import Bins
from vnl_mjx.neurons.features import Design, autocorrelation_time, fit_components, with_lags
from vnl_mjx.neurons.folds import interval_blocks, make_folds

_GAP_FACTOR = 1.5  # gaps in autocorrelation times


@dataclass(frozen=True)
class EncodingOptions:
    """Sets how units are explained.

    Attributes:
        components: principal components of each group, for each lag.
        lags_s: seconds by which a unit follows the features.
        num_folds: outer test blocks.
        num_shifts: of the null.
        gap_s: left out around test blocks; None: 1.5 autocorrelation times.
        max_lag_s: lags of the clock that are searched, both ways.
        partition: whether to fit the full model, and it without each group.
        keep_predictions: whether scores keep their predictions, which fill the memory.
        level: false discovery rate at which units count as tuned.
        seed: of shifts.
        jobs: processes; None: one per core.
    """

    components: int = 20
    lags_s: tuple[float, ...] = (0.0,)
    num_folds: int = 5
    num_shifts: int = 200
    gap_s: float | None = None
    max_lag_s: float = 0.5
    partition: bool = True
    keep_predictions: bool = False
    level: float = 0.05
    seed: int = 0
    jobs: int | None = None


@dataclass(frozen=True)
class Prepared:
    """Holds all that the units of a session share.

    Attributes:
        bins: that count: shared by record and units, and with all lags.
        design: the columns.
        blocks: int [bin], drawn as a whole for intervals.
        autocorrelation_s: of each group.
        gap_s: around test blocks.
        shifts: int [shift], bins: first the lags of the clock, then those of the null.
        num_lags: how many of the shifts are lags.
    """

    bins: Bins
    design: Design
    blocks: np.ndarray
    autocorrelation_s: dict[str, float]
    gap_s: float
    shifts: np.ndarray
    num_lags: int


def prepare(values: Mapping[str, np.ndarray], bins: Bins, options: EncodingOptions) -> Prepared:
    """Makes folds with gaps, and the components of every group in every fold.

    `values` are [bin, column] of each group.

    Raises:
        UserError: the session is too short.
    """
    times = {
        name: autocorrelation_time(columns, bins, options.components)
        for name, columns in values.items()
    }
    needed = _GAP_FACTOR * max(times.values())
    gap_s = needed if options.gap_s is None else options.gap_s
    complete = np.ones(bins.count, bool)
    for lag in options.lags_s:
        complete &= bins.lagged(lag) >= 0
    if complete.sum() < 100:
        raise UserError(
            f"record: {complete.sum()} bins have all lags within their stretch, expected at least 100; give "
            "smaller --lags"
        )
    kept = bins.select(complete)
    folds = make_folds(kept, options.num_folds, gap_s)
    number = np.flatnonzero(complete)
    parts: list[dict[str, np.ndarray]] = [{} for _ in folds]
    explained = {}
    for name, columns in values.items():
        for own, fold in zip(parts, folds, strict=True):
            components = fit_components(columns[number[fold.train]], options.components)
            explained.setdefault(name, components.explained)
            lagged = with_lags(components.of(columns), bins, options.lags_s)
            own[name] = lagged[complete].astype(np.float32)
    design = Design(tuple(parts), folds, explained)
    most = round(options.max_lag_s / bins.width_s)
    shifts = np.concatenate([np.arange(-most, most + 1), _shifts(kept, gap_s, most, options)])
    blocks = interval_blocks(folds, kept, gap_s)
    return Prepared(kept, design, blocks, times, gap_s, shifts, 2 * most + 1)


def _shifts(bins: Bins, gap_s: float, most_lag: int, options: EncodingOptions) -> np.ndarray:
    """Draws shifts that are longer than the gap either way, different ones if there are enough."""
    least = max(round(gap_s / bins.width_s), most_lag) + 1
    possible = np.arange(least, bins.count - least + 1)
    if len(possible) < 20:
        raise UserError(
            f"record: {bins.count * bins.width_s:.0f} s are too short for shifts of more than "
            f"{least * bins.width_s:.1f} s; record longer"
        )
    rng = np.random.default_rng(options.seed)
    return rng.choice(possible, options.num_shifts, replace=len(possible) < options.num_shifts)
