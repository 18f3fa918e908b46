"""Fits ridge-penalised generalised linear models: Poisson for spikes, Gaussian for signals.

Whatever must be done often, the choice of the ridge strength and the shifted units of the null, uses the
second-order expansion of the log-likelihood about the constant rate,

    sum (r eta - eta^2 / 2),    r = (y - mean) / mean (Poisson) or y - mean (Gaussian),

of a linear predictor eta = X b. It is quadratic in b, so that units and shifts share one eigendecomposition.
For a Gaussian it is exact. The reported models are fitted in full.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vnl_mjx.neurons.folds import Fold

# Strengths of the ridge, relative to the columns' total variance of 1: from no effect to hardly any tuning.
RIDGES = np.logspace(-6, 0, 7)
_MOST_LOG_GAIN = 5.0  # predicted rates stay within a factor of exp(5) of the mean


@dataclass(frozen=True)
class _Quadratic:
    """Holds the training rows' second moments in their eigenvectors, with which any target is fitted."""

    mean: np.ndarray
    vectors: np.ndarray
    values: np.ndarray
    centred: np.ndarray  # [train, column]

    @classmethod
    def of(cls, columns: np.ndarray) -> "_Quadratic":
        mean = columns.mean(axis=0)
        centred = columns - mean
        values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(centred))
        return cls(mean, vectors, np.maximum(values, 0.0), centred)

    def weights(self, targets: np.ndarray) -> np.ndarray:
        """Returns the weights [ridge, column, target] of targets [train, target], whatever their mean."""
        slopes = self.vectors.T @ (self.centred.T @ targets).astype(np.float64)
        slopes /= len(self.centred)
        return np.stack([self.vectors @ (slopes / (self.values + r)[:, None]) for r in RIDGES])


def quadratic_gains(
    columns: np.ndarray, counts: np.ndarray, train: np.ndarray, test: np.ndarray, are_spikes: bool
) -> np.ndarray:
    """Returns the expanded log-likelihood's gain over the constant on the test rows, [ridge, target].

    `columns` are [row, column] and `counts` [row, target]; the weights are those of the training rows.
    """
    fit, trained = _Quadratic.of(columns[train]), counts[train]
    mean = trained.mean(axis=0, dtype=np.float64)
    # products with r follow from those with the counts; a unit without a spike has nothing to explain
    scale = np.where(mean > 0, mean, 1.0) if are_spikes else np.ones_like(mean)
    weights = fit.weights(trained) / scale
    tested = columns[test] - fit.mean
    cross = (tested.T @ counts[test]).astype(np.float64) - np.outer(tested.sum(axis=0), mean)
    moments = (tested.T @ tested).astype(np.float64)
    linear = (weights * (cross / scale)).sum(axis=1)
    return scale * (linear - 0.5 * (weights * (moments @ weights)).sum(axis=1))


def choose_ridges(
    columns: np.ndarray, counts: np.ndarray, fold: Fold, are_spikes: bool
) -> np.ndarray:
    """Returns the ridge strength of each unit, which does best on the inner test blocks, [unit]."""
    gains = [quadratic_gains(columns, counts, *inner, are_spikes) for inner in fold.inner]
    return RIDGES[np.sum(gains, axis=0).argmax(axis=0)]


def shift_scores(
    columns: Sequence[np.ndarray],
    folds: Sequence[Fold],
    counts: np.ndarray,
    shifts: np.ndarray,
    are_spikes: bool,
) -> np.ndarray:
    """Returns how well a group explains a unit that is shifted along the session, [shift].

    A shift of s bins puts what the unit did s bins later beside each bin, in training and test rows alike,
    and wraps around at the end. The score is the held-out gain of the module's expansion, at the ridge
    strength that gives the highest gain for that shift.

    Args:
        columns: [fold] of [bin, column].
        folds: of the cross-validation.
        counts: [bin] of one unit.
        shifts: int [shift], bins; 0 is the unit as it was.
        are_spikes: Poisson, else Gaussian.
    """
    count = len(counts)
    twice = np.concatenate([counts, counts]).astype(columns[0].dtype)
    windows = np.lib.stride_tricks.sliding_window_view(twice, count)
    shifted = windows[np.mod(shifts, count)].T
    gains = [
        quadratic_gains(own, shifted, fold.train, fold.test, are_spikes)
        for own, fold in zip(columns, folds, strict=True)
    ]
    return np.sum(gains, axis=0).max(axis=0)


@dataclass(frozen=True)
class HeldOut:
    """Holds predictions for bins that a model was not fitted on, [bin] each.

    Attributes:
        predicted: the model's mean count or signal.
        constant: the training bins' mean.
        variance: [bin] the training bins' variance about the model, and
        constant_variance: about their mean; of signals.
        weights: [fold] of [column].
    """

    predicted: np.ndarray
    constant: np.ndarray
    variance: np.ndarray
    constant_variance: np.ndarray
    weights: tuple[np.ndarray, ...]


def fit_held_out(
    columns: Sequence[np.ndarray],
    folds: Sequence[Fold],
    counts: np.ndarray,
    ridges: Sequence[float],
    are_spikes: bool,
    begin: Sequence[np.ndarray] | None = None,
) -> HeldOut:
    """Fits one model per fold to a unit's counts [bin], and predicts each fold's test block.

    `columns` are [fold] of [bin, column], and `ridges` [fold]. The iterations start from the weights
    `begin`, [fold] of [column]; None: from the constant rate.
    """
    found, weights = np.zeros((4, len(counts))), list[np.ndarray]()
    fit = _poisson if are_spikes else _gaussian
    for i, (own, fold, ridge) in enumerate(zip(columns, folds, ridges, strict=True)):
        train, test = counts[fold.train], fold.test
        mean = own[fold.train].mean(axis=0)
        rate, solution = fit(own[fold.train] - mean, train, ridge, begin[i] if begin else None)
        fitted, found[0, test] = rate(own[fold.train] - mean), rate(own[test] - mean)
        weights.append(solution)
        found[1, test] = train.mean()
        found[2, test] = np.mean((train - fitted) ** 2)
        found[3, test] = train.var()
    predicted, constant, variance, constant_variance = found
    return HeldOut(predicted, constant, variance, constant_variance, tuple(weights))


# From centred columns [row, column] to the mean count or signal [row].
_Predict = Callable[[np.ndarray], np.ndarray]


def _poisson(
    columns: np.ndarray, counts: np.ndarray, ridge: float, begin: np.ndarray | None
) -> tuple[_Predict, np.ndarray]:
    from sklearn.linear_model import PoissonRegressor

    mean = counts.mean()
    if mean == 0.0:
        return lambda x: np.zeros(len(x)), np.zeros(columns.shape[1])
    tolerance = 1e-5 * mean
    model = PoissonRegressor(
        alpha=ridge * mean, solver="newton-cholesky", tol=tolerance, warm_start=True
    )
    if begin is not None:
        model.coef_, model.intercept_ = begin, np.log(mean)
    with warnings.catch_warnings(action="ignore"):  # of steps that no longer change the likelihood
        model.fit(columns, counts)
    weights, constant = model.coef_, model.intercept_ - np.log(mean)

    def rate(x: np.ndarray) -> np.ndarray:
        return mean * np.exp(np.clip(x @ weights + constant, -_MOST_LOG_GAIN, _MOST_LOG_GAIN))

    return rate, weights


def _gaussian(
    columns: np.ndarray, signal: np.ndarray, ridge: float, begin: np.ndarray | None
) -> tuple[_Predict, np.ndarray]:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=ridge * len(signal)).fit(columns, signal)
    return model.predict, model.coef_


def log_likelihood_gain(counts: np.ndarray, fit: HeldOut, are_spikes: bool) -> np.ndarray:
    """Returns the log-likelihood of each bin under the model minus under the constant, nats [bin]."""
    if are_spikes:
        ratio = np.log(np.maximum(fit.predicted, 1e-12) / np.maximum(fit.constant, 1e-12))
        return counts * ratio - (fit.predicted - fit.constant)

    def log_density(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        floor = np.maximum(variance, 1e-30)
        return -0.5 * (np.log(floor) + (counts - mean) ** 2 / floor)

    constant = log_density(fit.constant, fit.constant_variance)
    return log_density(fit.predicted, fit.variance) - constant


def deviances(counts: np.ndarray, fit: HeldOut, are_spikes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns each bin's deviance under the model and under the constant, [bin] each."""
    if not are_spikes:
        return (counts - fit.predicted) ** 2, (counts - fit.constant) ** 2

    def deviance(mean: np.ndarray) -> np.ndarray:
        floor = np.maximum(mean, 1e-12)
        logs = counts * np.log(np.where(counts > 0, counts, 1.0) / floor)
        return 2.0 * (np.where(counts > 0, logs, 0.0) - (counts - floor))

    return deviance(fit.predicted), deviance(fit.constant)
