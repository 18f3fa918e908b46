"""Measures how much of a student's latent is in use, and compares posterior and prior.

Functions take posterior and prior of visited states, [time, episode, dim], and `valid` [time, episode]:
the steps that count. "Mean" is the mode of a latent that is not Gaussian.
"""

from typing import Any

import numpy as np

from vnl_mjx.evaluation.bootstrap import LEVEL, NUM_RESAMPLES, draws
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.gaussians import kl_divergence
from vnl_mjx.models.latents import Gaussian, Latent
from vnl_mjx.training.metrics import ACTIVE_UNIT_KL, ACTIVE_UNIT_VARIANCE

_LONGEST_LAG_S = 1.0
# A posterior mean that varies less is constant up to rounding, with nothing to explain or correlate.
_CONSTANT_VARIANCE = 1e-10


def latent_statistics(
    posterior: Latent, prior: Latent, valid: np.ndarray, clip: np.ndarray, control_hz: float
) -> dict[str, Any]:
    """Returns all numbers of this file, JSON-able, in nats and seconds; empty if no step is valid.

    `active_units` counts by KL, `varying_units` by the variance of the posterior mean; `autocorrelation` is
    that of the posterior mean. Standard deviations and `aggregate` exist for Gaussians only.

    `clip` [episode] says which clip each follows; `control_hz` is steps per second.
    """
    if not valid.any():
        return {}
    kl = _float64(posterior.kl(prior), valid).mean(axis=0)
    variance = _float64(posterior.mode(), valid).var(axis=0)
    explained, per_dim = prior_explains(posterior, prior, valid)
    return {
        "latent_dim": len(kl),
        "num_steps": int(valid.sum()),
        "kl": float(kl.sum()),
        "kl_per_dim": kl.tolist(),
        "active_units": int(np.sum(kl > ACTIVE_UNIT_KL)),
        "active_unit_kl": ACTIVE_UNIT_KL,
        "intervals": kl_intervals(posterior, prior, valid, clip),
        "varying_units": int(np.sum(variance > ACTIVE_UNIT_VARIANCE)),
        "posterior_mean_variance_per_dim": variance.tolist(),
        **_gaussian_figures(posterior, prior, valid),
        "prior_explains": explained,
        "prior_explains_per_dim": per_dim,
        "autocorrelation": _autocorrelation_figures(posterior, valid, control_hz),
    }


def seen_latent_statistics(rollout: Rollout) -> dict[str, Any]:
    """Returns `latent_statistics` of the valid steps of a rollout of a `StudentPolicy`."""
    seen = rollout.steps.extra
    return latent_statistics(
        seen.posterior, seen.prior, rollout.valid, rollout.episodes.clip, rollout.control_hz
    )


def _gaussian_figures(posterior: Latent, prior: Latent, valid: np.ndarray) -> dict[str, Any]:
    if not (isinstance(posterior, Gaussian) and isinstance(prior, Gaussian)):
        return {}
    figures: dict[str, Any] = {}
    for name, gaussian in (("posterior", posterior), ("prior", prior)):
        std = _std(gaussian, valid)
        figures[f"{name}_std"] = float(std.mean())
        figures[f"{name}_std_per_dim"] = std.mean(axis=0).tolist()
    return figures | {"aggregate": aggregate_statistics(posterior, prior, valid)}


def kl_intervals(
    posterior: Latent, prior: Latent, valid: np.ndarray, clip: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Returns bootstrap intervals (`low`, `high`) of `kl` and `active_units`; None below two clips.

    The draws are those of `evaluation.bootstrap`, but a resample has a KL per dimension rather than one
    number, and the intervals are plain percentiles.
    """
    names, member = np.unique(clip, return_inverse=True)
    if len(names) < 2:
        return {name: {"low": None, "high": None} for name in ("kl", "active_units")}
    of_clip = (member == np.arange(len(names))[:, None]).astype(float)
    kl = np.where(valid[..., None], np.asarray(posterior.kl(prior), np.float64), 0.0)
    sums, counts = of_clip @ kl.sum(axis=0), of_clip @ valid.sum(axis=0)
    drawn = draws(len(names), NUM_RESAMPLES, 0)
    resampled = (drawn @ sums) / np.maximum(drawn @ counts, 1)[:, None]  # [resample, dim]
    tail = 50.0 * (1.0 - LEVEL)
    active = (resampled > ACTIVE_UNIT_KL).sum(axis=1)
    found = {}
    for name, values in (("kl", resampled.sum(axis=1)), ("active_units", active)):
        low, high = np.percentile(values, [tail, 100.0 - tail]).tolist()
        found[name] = {"low": low, "high": high}
    return found


def aggregate(gaussian: Gaussian, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and variance, [dim] each, of the mixture of the Gaussians of all valid steps.

    By the law of total variance: the variance of the means plus the mean of the variances.
    """
    mean, variance = _float64(gaussian.mean, valid), np.square(_std(gaussian, valid))
    return mean.mean(axis=0), mean.var(axis=0) + variance.mean(axis=0)


def aggregate_statistics(posterior: Gaussian, prior: Gaussian, valid: np.ndarray) -> dict[str, Any]:
    """Compares the aggregate posterior, over all visited states, with the aggregate prior.

    Returns:
        `mean` and `std` [dim] of both mixtures, and the KL in nats from the Gaussian with the moments of the
        posterior's to the Gaussian with those of the prior's.
    """
    q_mean, q_variance = aggregate(posterior, valid)
    p_mean, p_variance = aggregate(prior, valid)
    kl = np.asarray(kl_divergence(q_mean, np.log(q_variance), p_mean, np.log(p_variance)))
    return {
        "posterior": {"mean": q_mean.tolist(), "std": np.sqrt(q_variance).tolist()},
        "prior": {"mean": p_mean.tolist(), "std": np.sqrt(p_variance).tolist()},
        "kl_per_dim": kl.tolist(),
        "kl": float(kl.sum()),
    }


def prior_explains(
    posterior: Latent, prior: Latent, valid: np.ndarray
) -> tuple[float | None, list[float | None]]:
    """Returns the share of the posterior mean's variance that the prior mean explains as a prediction.

    It is 1 if the body alone decides the latent, about 0 if only the reference does, and below 0 if the
    prior mean predicts worse than a constant. Returned for all dimensions together and for each; None if
    the mean is constant.
    """
    mean = _float64(posterior.mode(), valid)
    variance = mean.var(axis=0)
    missed = np.square(mean - _float64(prior.mode(), valid)).mean(axis=0)
    per_dim = [
        float(1.0 - m / v) if v > _CONSTANT_VARIANCE else None
        for m, v in zip(missed, variance, strict=True)
    ]
    if not (variance > _CONSTANT_VARIANCE).any():
        return None, per_dim
    return float(1.0 - missed.sum() / variance.sum()), per_dim


def autocorrelation(values: np.ndarray, valid: np.ndarray, max_lag: int) -> np.ndarray:
    """Returns the autocorrelation of each varying dimension about its overall mean, [varying, lag].

    Args:
        values: [time, episode, dim].
        valid: [time, episode]; a pair counts where both of its steps, of one episode, are valid.
        max_lag: steps; lags that no episode is long enough for are left out.
    """
    values = np.asarray(values, np.float64)
    centred = np.where(valid[..., None], values - values[valid].mean(axis=0), 0.0)
    centred = centred[..., centred[valid].var(axis=0) > _CONSTANT_VARIANCE]
    covariance = []
    for lag in range(max_lag + 1):
        end = max(len(valid) - lag, 0)
        pairs = np.sum(valid[:end] & valid[lag:])
        if not pairs:
            break
        products = np.einsum("ted,ted->d", centred[:end], centred[lag:])
        covariance.append(products / pairs)
    return (np.stack(covariance) / covariance[0]).T


def time_constant(lag_s: np.ndarray, correlation: np.ndarray) -> float | None:
    """Returns the time at which a correlation [lag] first falls to 1/e, seconds; None if it never does."""
    below = correlation <= np.exp(-1.0)
    if not below.any():
        return None
    after = int(np.argmax(below))
    around = slice(after - 1, after + 1)
    return float(np.interp(-np.exp(-1.0), -correlation[around], lag_s[around]))


def _autocorrelation_figures(
    posterior: Latent, valid: np.ndarray, control_hz: float
) -> dict[str, Any]:
    longest = round(_LONGEST_LAG_S * control_hz)
    curves = autocorrelation(np.asarray(posterior.mode()), valid, longest)
    if not len(curves):
        return {"lag_s": [], "mean": [], "lower": [], "upper": [], "time_constant_s": None}
    lag_s, mean = np.arange(curves.shape[1]) / control_hz, curves.mean(axis=0)
    lower, upper = np.quantile(curves, (0.25, 0.75), axis=0)
    found = {"lag_s": lag_s, "mean": mean, "lower": lower, "upper": upper}
    return {name: values.tolist() for name, values in found.items()} | {
        "time_constant_s": time_constant(lag_s, mean)
    }


def _float64(values: Any, valid: np.ndarray) -> np.ndarray:
    """Returns the valid rows, [step, dim]."""
    return np.asarray(values, np.float64)[valid]


def _std(gaussian: Gaussian, valid: np.ndarray) -> np.ndarray:
    return np.exp(0.5 * _float64(gaussian.logvar, valid))
