"""Reduces values of steps to values of episodes. NaN means not measured, and is left out."""

from collections.abc import Mapping

import numpy as np


def episode_mean(values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean over time [episode] of finite values [time, episode] at `where`; NaN if none."""
    kept = np.isfinite(values) if where is None else np.isfinite(values) & where
    return ratio(np.where(kept, values, 0.0).sum(axis=0), kept.sum(axis=0))


def episode_max(values: np.ndarray) -> np.ndarray:
    """Returns the greatest value over time [episode] of [time, episode] values; NaN if none."""
    kept = np.isfinite(values)
    greatest = np.where(kept, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.where(kept.any(axis=0), greatest, np.nan)


def episode_median(values: np.ndarray) -> np.ndarray:
    """Returns the median [episode] over all axes but the second of [any, episode, ...]; NaN if none."""
    finite = [own[np.isfinite(own)] for own in np.moveaxis(values, 1, 0)]
    return np.array([np.median(own) if own.size else np.nan for own in finite])


def mean_or_none(values: np.ndarray) -> float | None:
    """Returns the mean of the finite values [any]; None if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def means(metrics: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, float | None]:
    """Returns means of metrics, [episode] each, over `rows` (indices or bool); None: not measured."""
    return {name: mean_or_none(values[rows]) for name, values in metrics.items()}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides element by element; NaN if the denominator is not above zero."""
    above = denominator > 0
    return np.where(above, numerator / np.where(above, denominator, 1.0), np.nan)
