"""Computes bootstrap intervals with the clip as the resampling unit.

Frames of an episode, and episodes of a clip, are not independent; clips are assumed to be.
The intervals are Hesterberg's expanded percentile intervals ("What Teachers Should Know About the
Bootstrap", 2015): plain percentiles of a few clips are too narrow, as resamples vary less than samples.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

NUM_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Holds a mean and its interval; NaN is unknown, as are bounds with fewer than two clips."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Returns a JSON-able form: `mean`, `low` and `high`; None for NaN."""
        named = {"mean": self.value, "low": self.low, "high": self.high}
        return {name: value if np.isfinite(value) else None for name, value in named.items()}


UNKNOWN = Interval(np.nan, np.nan, np.nan)


def interval(
    values: np.ndarray,
    clip: np.ndarray,
    num: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    over: np.ndarray | None = None,
) -> Interval:
    """Computes the interval of a mean over episodes; resamples clips with all their episodes.

    From seven clips on, its coverage is close to `level`; with three or four clips, no resample reaches far
    enough (86 % in place of 95 % with four).

    `values` [episode] that are not finite are left out, and so are clips without finite values; `clip` is
    [episode]. There are `num` resamples; the same clips and seed give the same draws. With `over`
    [episode], the statistic is the sum of `values` over the sum of `over`.
    """
    values, clip = np.asarray(values, np.float64), np.asarray(clip)
    if values.shape != clip.shape or values.ndim != 1:
        raise ValueError(f"{values.shape=} and {clip.shape=} must be one number per episode")
    kept = np.isfinite(values)
    if not kept.any():
        return UNKNOWN
    names, member = np.unique(clip[kept], return_inverse=True)
    sums = np.bincount(member, weights=values[kept])
    sizes = np.bincount(member, weights=None if over is None else over[kept])
    value = float(sums.sum() / sizes.sum())
    if len(names) < 2:
        return Interval(value, np.nan, np.nan)
    drawn = draws(len(names), num, seed)
    tail = expanded_tail(len(names), level)
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))


def difference(values: np.ndarray, others: np.ndarray, clip: np.ndarray, seed: int = 0) -> Interval:
    """Computes the interval of `values` minus `others`, paired by clip and start, where both are finite."""
    return interval(np.subtract(values, others), clip, seed=seed)


def ratio_of_means(
    values: np.ndarray, others: np.ndarray, clip: np.ndarray, seed: int = 0
) -> Interval:
    """Computes the mean of `values` over that of `others`, of the same clips and starts, [episode] each.

    The ratio is unknown if a mean is not finite or the mean of `others` is not above 0, because a ratio
    then does not tell which is better. The bounds are unknown if it is not above 0 in some clip.
    """
    if not (np.isfinite(values).all() and np.isfinite(others).all() and others.mean() > 0):
        return UNKNOWN
    found = interval(values, clip, seed=seed, over=others)
    smallest = min(others[clip == own].sum() for own in np.unique(clip))
    return found if smallest > 0 else Interval(found.value, np.nan, np.nan)


def expanded_tail(num_clips: int, level: float) -> float:
    """Returns the share of resamples beyond either bound that gives the coverage of Student's t."""
    quantile = stats.t.ppf(0.5 * (1.0 - level), num_clips - 1)
    return float(stats.norm.cdf(quantile * np.sqrt(num_clips / (num_clips - 1))))


@lru_cache(maxsize=4)
def draws(num_clips: int, num: int, seed: int) -> np.ndarray:
    """Returns how often each resample holds each clip, int [resample, clip]; cached for other metrics."""
    even = np.full(num_clips, 1.0 / num_clips)
    return np.random.default_rng(seed).multinomial(num_clips, even, size=num)
