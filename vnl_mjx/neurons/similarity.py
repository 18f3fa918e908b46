"""Compares representations: cross-validated distances between behaviours, and debiased linear CKA.

Both are products of estimates from different folds, whose noise is independent, so noise adds nothing on
average: a distance of nothing is 0 on average, and so is the CKA of unrelated activity.
docs/similarity.md explains both in words.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vnl_mjx.evaluation.bootstrap import LEVEL, UNKNOWN, Interval

# Columns that vary less than this share of the largest are constant but for rounding.
_CONSTANT = 1e-6


def crossnobis(
    values: np.ndarray, condition: np.ndarray, fold: np.ndarray, step: int = 1
) -> np.ndarray:
    """Computes cross-validated squared Mahalanobis distances between conditions, [condition, condition].

    The mean over all pairs of different folds a, b of (m_i - m_j)_a S^-1 (m_i - m_j)_b / columns, with
    the conditions' means m in a fold and the covariance S within condition and fold (Walther et al.,
    "Reliability of dissimilarity measures for multi-voxel pattern analysis", 2016). S is shrunk by Ledoit
    and Wolf's rule after each column is scaled to variance 1, from every `step`-th row, because
    neighbouring rows are no new information.

    Args:
        values: [row, column].
        condition: int [row], from 0 on.
        fold: int [row], from 0 on.
        step: rows after which the activity has changed.

    Returns:
        Distances per column, in units of the variance within a condition; negative by chance, NaN where two
        folds in common are missing.
    """
    from sklearn.covariance import ledoit_wolf  # sets variables of the environment

    means, cell = _fold_means(values, condition, fold)
    freedom = max(1, len(values) - cell.sum())
    residuals = (values - means[fold, condition]) * np.sqrt(len(values) / freedom)
    scale = residuals.std(axis=0)
    kept = scale > _CONSTANT * max(scale.max(initial=0.0), np.finfo(float).tiny)
    if not kept.any():
        return np.full(2 * means.shape[1:2], np.nan)
    shrunk = ledoit_wolf(residuals[::step, kept] / scale[kept], assume_centered=True)[0]
    power, axes = np.linalg.eigh(shrunk)
    white = means[..., kept] / scale[kept] @ (axes / np.sqrt(power))
    return _distances(white, cell) / kept.sum()


def _fold_means(
    values: np.ndarray, condition: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns means [fold, condition, column], 0 where there are no rows, and where there are some."""
    shape = (fold.max() + 1, condition.max() + 1)
    sums, counts = np.zeros((*shape, values.shape[1])), np.zeros(shape)
    np.add.at(sums, (fold, condition), values)
    np.add.at(counts, (fold, condition), 1.0)
    return sums / np.maximum(counts, 1.0)[..., None], counts > 0


def _distances(means: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns products of differences, averaged over the pairs of folds that have both conditions."""
    num = means.shape[1]
    total, count = np.zeros((num, num)), np.zeros((num, num))
    for a in range(len(means)):
        for b in range(len(means)):
            if a == b:
                continue
            product = means[a] @ means[b].T
            own = np.diag(product)
            in_both = there[a] & there[b]
            pair = np.logical_and.outer(in_both, in_both)
            total += np.where(pair, own[:, None] + own - product - product.T, 0.0)
            count += pair
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def rdm_similarity(distances: np.ndarray, others: np.ndarray) -> float:
    """Computes the whitened cosine of two matrices of squared distances, [condition, condition] each.

    Distances that share a condition vary together; the cosine of the centred matrices takes that into account
    (Diedrichsen et al., "Comparing representational geometries using whitened unbiased-distance-correlation
    similarity", 2021). They are U-centred (Székely and Rizzo, "Partial distance correlation with methods for
    dissimilarities", 2014), so that unrelated geometries of few conditions give 0 on average too; 1 is alike
    but for scale. NaN with fewer than four conditions.
    """
    if len(distances) < 4:
        return np.nan
    first, second = _centred(distances), _centred(others)
    power = np.sum(first**2) * np.sum(second**2)
    return float(np.sum(first * second) / np.sqrt(power)) if power > 0 else np.nan


def _centred(distances: np.ndarray) -> np.ndarray:
    num, sums = len(distances), distances.sum(axis=0)
    centred = distances - (sums + sums[:, None]) / (num - 2) + sums.sum() / ((num - 1) * (num - 2))
    np.fill_diagonal(centred, 0.0)
    return centred


def rdm_comparison(distances: np.ndarray, others: np.ndarray) -> Interval:
    """Computes `rdm_similarity` with its interval over conditions, by leaving each of them out."""
    without = [
        rdm_similarity(
            np.delete(np.delete(distances, i, 0), i, 1), np.delete(np.delete(others, i, 0), i, 1)
        )
        for i in range(len(distances))
    ]
    return jackknife(rdm_similarity(distances, others), np.array(without))


@dataclass(frozen=True)
class Folded:
    """Holds activity by fold, each centred: list over folds of [row, column]."""

    parts: list[np.ndarray]

    @classmethod
    def of(cls, values: np.ndarray, fold: np.ndarray) -> "Folded":
        """Splits activity [row, column] by fold [row], from 0 on; columns keep their scale."""
        parts = [values[fold == k].astype(np.float64) for k in range(fold.max() + 1)]
        return cls([part - part.mean(axis=0) for part in parts])


def covariance_products(first: Folded, second: Folded) -> np.ndarray:
    """Returns <C_a, C_b> [fold, fold] of the covariances C between two activities in each fold."""
    pairs = zip(first.parts, second.parts, strict=True)
    flat = np.stack([(x.T @ y / max(1, len(x) - 1)).ravel() for x, y in pairs])
    return flat @ flat.T


def cka(between: np.ndarray, first: np.ndarray, second: np.ndarray) -> Interval:
    """Computes the debiased linear CKA of two activities with an interval over folds.

    CKA is |C_xy|^2 / (|C_xx| |C_yy|) with Frobenius norms of covariances (Kornblith et al., "Similarity of
    neural network representations revisited", 2019). Its plain estimate nears 1 with many columns and few
    rows, whatever they are. Here each square is a product of covariances from different folds, as in the
    unbiased HSIC of Song et al. (2012), which uses different rows.

    Args:
        between: `covariance_products` of the two, [fold, fold].
        first: those of the first with itself.
        second: those of the second with itself.
    """
    without = [
        _ratio(*(_left_out(m, k) for m in (between, first, second))) for k in range(len(first))
    ]
    return jackknife(_ratio(between, first, second), np.array(without))


def _ratio(between: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    top, left, right = (
        products.sum() - np.trace(products) for products in (between, first, second)
    )
    return float(top / np.sqrt(left * right)) if left > 0 and right > 0 else np.nan


def _left_out(products: np.ndarray, fold: int) -> np.ndarray:
    return np.delete(np.delete(products, fold, 0), fold, 1)


def jackknife(value: float, without: np.ndarray, level: float = LEVEL) -> Interval:
    """Returns a similarity with its jackknife interval, from the values `without` each of the samples.

    Resamples of a bootstrap hold some samples twice, whose product with themselves is what
    cross-validation leaves out; the jackknife repeats none.
    """
    num = len(without)
    if num < 3 or not (np.isfinite(value) and np.isfinite(without).all()):
        return Interval(value, np.nan, np.nan) if np.isfinite(value) else UNKNOWN
    error = np.sqrt((num - 1) / num * np.sum((without - without.mean()) ** 2))
    half = stats.t.ppf(0.5 * (1.0 + level), num - 1) * error
    return Interval(value, max(-1.0, float(value - half)), min(1.0, float(value + half)))
