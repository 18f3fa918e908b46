"""Checks that similarities are unbiased, and how often their intervals hold the truth, on made activity.

    uv run python benchmarks/similarity.py [--repetitions N] [--seed N]

Each line is one truth: the mean of the estimates with its standard error, the mean of the plain estimate
(without cross-validation or U-centring), and the share of 95 % intervals that hold the truth. 1,000 rows are
20 s at 50 Hz. "slow" activity has a correlation of 0.9 from row to row, which falls to 1/e in 0.2 s; it is
cut into blocks of 1 s with gaps of 0.2 s.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from vnl_mjx.neurons.similarity import (
    Folded,
    cka,
    covariance_products,
    crossnobis,
    rdm_comparison,
)
from vnl_mjx.neurons.variability import across_dimensions

_ROWS, _BLOCK, _GAP, _FOLDS = 1000, 50, 10, 10
_COLUMNS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'what':<46}{'truth':>8}{'mean':>9}{'error':>9}{'plain':>9}{'held':>8}")
    for name, truth, draw in _cases():
        random = np.random.default_rng(args.seed)
        drawn = [draw(random) for _ in range(args.repetitions)]
        value, plain, held = (np.array(part, float) for part in zip(*drawn, strict=True))
        error = value.std() / np.sqrt(len(value))
        numbers = f"{truth:>8.3f}{value.mean():>9.3f}{error:>9.4f}{plain.mean():>9.3f}"
        print(f"{name:<46}{numbers}{held.mean():>8.1%}".replace("nan%", "nan"))


Case = tuple[str, float, Callable[[np.random.Generator], tuple[float, float, float]]]


def _cases() -> Iterator[Case]:
    for memory in (0.0, 0.9):
        for strength in (0.0, 0.3, 1.0):
            yield _cka_case(memory, strength)
    for behaviours in (6, 10, 20):
        for truth in (0.0, 0.5, 0.9):
            yield _geometry_case(behaviours, truth)
    for distance in (0.0, 0.5):
        yield _distance_case(distance)
    for share in (0.0, 0.5, 0.9):
        yield _variability_case(share)


def _cka_case(memory: float, strength: float) -> Case:
    weights = np.random.default_rng(1).normal(size=(2, 3, _COLUMNS)) * strength
    covariances = [w.T @ w + np.eye(_COLUMNS) for w in weights]
    shared = np.sum((weights[0].T @ weights[1]) ** 2)
    truth = float(shared / np.sqrt(np.prod([np.sum(c**2) for c in covariances])))
    row = np.arange(_ROWS)
    kept, fold = row % _BLOCK < _BLOCK - _GAP, row // _BLOCK % _FOLDS

    def draw(random: np.random.Generator) -> tuple[float, float, float]:
        common = _slow(random, 3, memory)
        x, y = (common @ w + _slow(random, _COLUMNS, memory) for w in weights)
        parts = [Folded.of(values[kept], fold[kept]) for values in (x, y)]
        pairs = ((0, 1), (0, 0), (1, 1))
        found = cka(*(covariance_products(parts[i], parts[j]) for i, j in pairs))
        return found.value, _plain_cka(x[kept], y[kept]), found.low <= truth <= found.high

    return f"CKA, {'slow' if memory else 'independent'} rows, {_COLUMNS} columns", truth, draw


def _plain_cka(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    power = np.sum((x.T @ x) ** 2) * np.sum((y.T @ y) ** 2)
    return float(np.sum((x.T @ y) ** 2) / np.sqrt(power))


def _slow(random: np.random.Generator, columns: int, memory: float) -> np.ndarray:
    fresh = random.normal(size=(_ROWS + 100, columns))
    return lfilter([np.sqrt(1.0 - memory**2)], [1.0, -memory], fresh, axis=0)[100:]


def _geometry_case(behaviours: int, truth: float) -> Case:
    def draw(random: np.random.Generator) -> tuple[float, float, float]:
        first, noise = random.normal(size=(2, behaviours, 3))
        second = np.sqrt(truth) * first + np.sqrt(1.0 - truth) * noise
        found = rdm_comparison(_squared(first), _squared(second))
        return found.value, _plain_cka(first, second), found.low <= truth <= found.high

    return f"similarity of distances, {behaviours} behaviours", truth, draw


def _squared(points: np.ndarray) -> np.ndarray:
    return np.sum((points[:, None] - points) ** 2, axis=-1)


def _distance_case(distance: float) -> Case:
    means = np.zeros((2, 20))
    means[1] = np.sqrt(distance)
    condition, fold = np.repeat([0, 1], 60), np.tile(np.repeat(np.arange(6), 10), 2)

    def draw(random: np.random.Generator) -> tuple[float, float, float]:
        values = means[condition] + random.normal(size=(len(condition), 20))
        own = [values[condition == k].mean(axis=0) for k in (0, 1)]
        plain = np.mean((own[0] - own[1]) ** 2)
        return crossnobis(values, condition, fold)[0, 1], plain, np.nan

    return "squared distance of two behaviours", distance, draw


def _variability_case(share: float) -> Case:
    """Returns a latent of 16 dimensions whose log-deviation follows minus the log-sensitivity in part."""
    means = np.random.default_rng(2).normal(size=(2, 16))
    means[1] = np.sqrt(1.0 - share) * means[1] - np.sqrt(share) * means[0]
    truth = float(stats.spearmanr(*means)[0])
    row = np.arange(_ROWS)
    kept, block = row % _BLOCK < _BLOCK - _GAP, row // _BLOCK

    def draw(random: np.random.Generator) -> tuple[float, float, float]:
        sensitivity, deviation = (
            np.exp(mean + 0.5 * _slow(random, 16, 0.9))[kept] for mean in means
        )
        found = across_dimensions(deviation, sensitivity, block[kept])
        return found["correlation"], np.nan, found["low"] <= truth <= found["high"]

    return "variability against sensitivity, 16 dimensions", truth, draw


if __name__ == "__main__":
    main()
