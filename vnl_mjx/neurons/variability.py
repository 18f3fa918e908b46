"""Relates the variability of a latent to how much each of its dimensions changes the action.

The principle of minimal intervention (Todorov and Jordan, "Optimal feedback control as a theory of motor
coordination", 2002) predicts variability where it does not matter: dimensions with a large standard
deviation should be those with little action sensitivity.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from vnl_mjx.evaluation.bootstrap import (
    LEVEL,
    NUM_RESAMPLES,
    UNKNOWN,
    Interval,
    draws,
    expanded_tail,
    interval,
)
from vnl_mjx.neurons.activities import Activity

MEAN, STD, SENSITIVITY = "latent/mean", "latent/std", "latent/sensitivity"
SPREAD = "action/spread"
NEEDED = (MEAN, STD, SENSITIVITY)
# A dimension is used if its posterior mean varies as much (Burda et al., "Importance weighted
# autoencoders", 2016); one that is not stays at the prior, so that it is variable and idle at once.
ACTIVE_VARIANCE = 0.01
ALL_BEHAVIOURS = "all behaviours"
_FEWEST_DIMENSIONS = 4
_SAME = 1e-9  # variance between repetitions that are the same but for rounding
_SHIFTS = 199  # of the null over time

Table = list[dict[str, Any]]


def variability_tables(activity: Activity) -> dict[str, Table]:
    """Returns tables of one record with the quantities `NEEDED`, by name.

    "latent" has a row for each behaviour and dimension, "variability" the rank correlations of variability
    and sensitivity, and "spread" the mean variability of latent and action in each behaviour. Intervals
    count blocks of time.
    """
    active = activity.values[MEAN].var(axis=0) > ACTIVE_VARIANCE
    everywhere = np.ones(len(activity.label), bool)
    behaviours = {ALL_BEHAVIOURS: everywhere}
    behaviours |= {name: activity.label == name for name in np.unique(activity.label).tolist()}
    tables: dict[str, Table] = {"latent": [], "variability": [], "spread": []}
    for name, rows in behaviours.items():
        where = {"record": activity.record, "behaviour": name}
        for table, found in (
            ("latent", _latent_rows(activity, rows, active)),
            ("variability", _correlation_rows(activity, rows, active)),
            ("spread", _spread_rows(activity, rows)),
        ):
            tables[table] += [where | row for row in found]
    return tables


def _latent_rows(
    activity: Activity, rows: np.ndarray, active: np.ndarray
) -> Iterator[dict[str, Any]]:
    std, sensitivity = (activity.values[name][rows].mean(axis=0) for name in (STD, SENSITIVITY))
    variance, _ = repetition_variance(activity.values[MEAN][rows], activity.moment[rows])
    repeated = np.sqrt(variance.mean(axis=0)) if len(variance) else np.full(len(std), np.nan)
    for k in range(len(std)):
        yield {
            "dimension": k,
            "posterior_std": std[k],
            "repetition_std": repeated[k],
            "sensitivity": sensitivity[k],
            "active": bool(active[k]),
        }


def repetition_variance(values: np.ndarray, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much values [row, column] vary between repetitions of a moment [row].

    Returns:
        Variances [moment, column] within the moments that occur at least twice, and the row in which each of
        them occurs first, [moment].
    """
    values = values.astype(np.float64) - values.mean(axis=0)
    _, first, member, counts = np.unique(
        moment, return_index=True, return_inverse=True, return_counts=True
    )
    sums, squares = np.zeros((2, len(counts), values.shape[1]))
    np.add.at(sums, member, values)
    np.add.at(squares, member, values**2)
    several = counts > 1
    num = counts[several, None]
    variance = (squares[several] - sums[several] ** 2 / num) / (num - 1)
    return np.maximum(variance, 0.0), first[several]


def _correlation_rows(
    activity: Activity, rows: np.ndarray, active: np.ndarray
) -> Iterator[dict[str, Any]]:
    mean, std, sensitivity = (activity.values[name][rows] for name in (MEAN, STD, SENSITIVITY))
    block = activity.block[rows]
    variance, first = repetition_variance(mean, activity.moment[rows])
    for which, kept in (("all", np.ones_like(active)), ("active", active)):
        if kept.sum() < _FEWEST_DIMENSIONS:
            continue
        yield {"variability": "posterior", "across": "dimensions", "dimensions": which} | (
            across_dimensions(std[:, kept], sensitivity[:, kept], block)
        )
        if variance.max(initial=0.0) > _SAME:
            yield {"variability": "repetitions", "across": "dimensions", "dimensions": which} | (
                across_dimensions(variance[:, kept], sensitivity[first][:, kept], block[first])
            )
    if active.any():
        yield {"variability": "posterior", "across": "time", "dimensions": "active"} | across_time(
            std[:, active], sensitivity[:, active], block
        )


def across_dimensions(
    variability: np.ndarray, sensitivity: np.ndarray, block: np.ndarray
) -> dict[str, Any]:
    """Computes Spearman's correlation over dimensions of mean variability and mean sensitivity.

    Args:
        variability: [row, dimension].
        sensitivity: [row, dimension].
        block: int [row]; the bootstrap's samples.

    Returns:
        `correlation`, its interval `low` to `high`, the range `null_low` to `null_high` of the middle 95 %
        of correlations when dimensions are paired at random, `p_value` (two-sided, of that null), and the
        numbers of dimensions and blocks.
    """
    sums = [_block_sums(values, block) for values in (variability, sensitivity)]
    value = _rank_correlation(*(part.sum(axis=0) for part in sums))
    found = _bootstrap(value, len(sums[0]), lambda w: _rank_correlation(w @ sums[0], w @ sums[1]))
    num = variability.shape[1]
    random = np.random.default_rng(0)
    orders = random.permuted(np.tile(np.arange(num), (NUM_RESAMPLES, 1)), axis=1)
    null = _rank_correlation(np.arange(num)[None], orders)
    return _summary(found, null, num, len(sums[0]))


def across_time(
    variability: np.ndarray, sensitivity: np.ndarray, block: np.ndarray
) -> dict[str, Any]:
    """Computes Spearman's correlation over time in each dimension, averaged over dimensions.

    Unlike `across_dimensions`, this is blind to dimensions that are variable or idle at all times. The null
    pairs each row with another one, by circular shifts of at least a block. Otherwise see
    `across_dimensions`.
    """
    ranks = [stats.rankdata(values, axis=0) for values in (variability, sensitivity)]
    first, second = (
        (rank - rank.mean(axis=0)) / np.maximum(rank.std(axis=0), 1e-9) for rank in ranks
    )
    sums = _block_sums((first * second).mean(axis=1, keepdims=True), block)[:, 0]
    sizes = np.unique(block, return_counts=True)[1]
    found = _bootstrap(
        float(sums.sum() / sizes.sum()), len(sums), lambda w: (w @ sums) / (w @ sizes)
    )
    least = int(sizes.mean())
    shifts = np.unique(np.linspace(least, len(block) - least, _SHIFTS).astype(int))
    shifts = shifts[(shifts >= least) & (shifts <= len(block) - least)]
    null = [np.mean(first * np.roll(second, shift, axis=0)) for shift in shifts]
    return _summary(found, np.array(null), variability.shape[1], len(sums))


def _summary(found: Interval, null: np.ndarray, dimensions: int, blocks: int) -> dict[str, Any]:
    tail = 0.5 * (1.0 - LEVEL)
    low, high = np.quantile(null, [tail, 1.0 - tail]) if len(null) else (np.nan, np.nan)
    beyond = np.sum(np.abs(null) >= abs(found.value) - 1e-12)
    return {
        "correlation": found.value,
        "low": found.low,
        "high": found.high,
        "null_low": low,
        "null_high": high,
        "p_value": (1 + beyond) / (1 + len(null)),
        "num_dimensions": dimensions,
        "blocks": blocks,
    }


def _spread_rows(activity: Activity, rows: np.ndarray) -> Iterator[dict[str, Any]]:
    for name in (STD, SENSITIVITY, SPREAD):
        if name not in activity.values:
            continue
        found = interval(activity.values[name][rows].mean(axis=1), activity.block[rows])
        yield {"quantity": name, "mean": found.value, "low": found.low, "high": found.high}


def _block_sums(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Returns sums [block, column] of values [row, column]."""
    names, member = np.unique(block, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, member, values)
    return sums


def _rank_correlation(values: np.ndarray, others: np.ndarray) -> Any:
    """Returns Spearman's correlation over the last axis."""
    ranks = [stats.rankdata(x, axis=-1) for x in (values, others)]
    first, second = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    power = (first**2).sum(axis=-1) * (second**2).sum(axis=-1)
    found = (first * second).sum(axis=-1) / np.sqrt(np.maximum(power, 1e-30))
    return float(found) if np.ndim(found) == 0 else found


def _bootstrap(value: float, num_blocks: int, of_weights: Any) -> Interval:
    if not np.isfinite(value):
        return UNKNOWN
    if num_blocks < 2:
        return Interval(value, np.nan, np.nan)
    resampled = of_weights(draws(num_blocks, NUM_RESAMPLES, 0))
    tail = expanded_tail(num_blocks, LEVEL)
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
