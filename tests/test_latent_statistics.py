"""Figures of the latent against Gaussians whose figures are known."""

import json

import numpy as np
import pytest

from vnl_mjx.evaluation.latent.statistics import (
    aggregate_statistics,
    autocorrelation,
    kl_intervals,
    latent_statistics,
    prior_explains,
    time_constant,
)
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.training.alarms import ACTIVE_UNITS_ALARM, STUDENT_RULES, raised
from vnl_mjx.training.metrics import latent_metrics

TIME, EPISODES, HZ = 400, 30, 50.0
CLIP = np.arange(EPISODES) // 2


def gaussian(mean: np.ndarray, std: float) -> Gaussian:
    return Gaussian(mean, np.full(mean.shape, 2 * np.log(std)))


def ar1(correlation: float, seed: int = 0, dim: int = 3) -> np.ndarray:
    """Stationary noise of variance 1, [TIME, EPISODES, dim]."""
    fresh = np.random.default_rng(seed).normal(size=(TIME, EPISODES, dim))
    noise = fresh.copy()
    for t in range(1, TIME):
        noise[t] = correlation * noise[t - 1] + np.sqrt(1 - correlation**2) * fresh[t]
    return noise


@pytest.fixture
def valid() -> np.ndarray:
    """Episodes of different lengths, at least half of the longest."""
    lengths = np.linspace(TIME // 2, TIME, EPISODES).astype(int)
    return np.arange(TIME)[:, None] < lengths


def test_a_posterior_that_follows_its_prior_varies_but_is_not_active(valid):
    prior = gaussian(2.0 * ar1(0.5), 1.0)
    shifted = np.array(prior.mean)
    shifted[..., 1] += 0.5  # half a standard deviation: 0.125 nats
    posterior = gaussian(shifted, 1.0)
    figures = latent_statistics(posterior, prior, valid, CLIP, HZ)
    np.testing.assert_allclose(figures["kl_per_dim"], [0.0, 0.125, 0.0], atol=1e-6)
    assert figures["kl"] == pytest.approx(0.125, abs=1e-6)
    assert figures["active_units"] == 1
    assert figures["varying_units"] == 3
    assert figures["latent_dim"] == 3
    assert figures["num_steps"] == valid.sum()
    assert figures["intervals"]["active_units"] == {"low": 1.0, "high": 1.0}
    assert json.loads(json.dumps(figures)) == figures


def test_steps_that_are_not_valid_count_nowhere(valid):
    posterior, prior = gaussian(ar1(0.9), 0.5), gaussian(0.5 * ar1(0.9), 1.0)
    expected = latent_statistics(posterior, prior, valid, CLIP, HZ)
    spoilt = np.where(valid[..., None], posterior.mean, np.nan)
    found = latent_statistics(Gaussian(spoilt, posterior.logvar), prior, valid, CLIP, HZ)
    assert found == expected
    assert latent_statistics(posterior, prior, np.zeros_like(valid), CLIP, HZ) == {}


def test_deviations_and_the_aggregate_are_those_of_a_mixture(valid):
    posterior = gaussian(np.array([1.0, 0.0, -2.0]) + ar1(0.0), 0.5)
    prior = gaussian(np.zeros((TIME, EPISODES, 3)), 2.0)
    figures = latent_statistics(posterior, prior, valid, CLIP, HZ)
    assert figures["posterior_std"] == pytest.approx(0.5)
    assert figures["prior_std_per_dim"] == pytest.approx([2.0] * 3)
    both = aggregate_statistics(posterior, prior, valid)
    assert figures["aggregate"] == both
    np.testing.assert_allclose(both["posterior"]["mean"], [1.0, 0.0, -2.0], atol=0.05)
    np.testing.assert_allclose(both["posterior"]["std"], np.sqrt(1.25), rtol=0.03)
    np.testing.assert_allclose(both["prior"]["std"], 2.0)
    # KL(N(m, 1.25) || N(0, 4)) by hand
    by_hand = 0.5 * (1.25 / 4 + np.array([1.0, 0.0, 4.0]) / 4 - 1 + np.log(4 / 1.25))
    np.testing.assert_allclose(both["kl_per_dim"], by_hand, atol=0.04)


@pytest.mark.parametrize("share", [0.0, 0.36, 1.0])
def test_the_share_that_the_prior_explains(valid, share):
    body, reference = ar1(0.5, seed=1), ar1(0.5, seed=2)
    body, reference = np.sqrt(share) * body, np.sqrt(1 - share) * reference
    together, per_dim = prior_explains(gaussian(body + reference, 1), gaussian(body, 1), valid)
    assert together == pytest.approx(share, abs=0.03)
    np.testing.assert_allclose(per_dim, share, atol=0.06)


def test_a_constant_posterior_has_nothing_to_explain(valid):
    still = gaussian(np.ones((TIME, EPISODES, 2)), 1.0)
    assert prior_explains(still, still, valid) == (None, [None, None])
    figures = latent_statistics(still, still, valid, CLIP, HZ)
    assert figures["autocorrelation"]["mean"] == []
    assert figures["autocorrelation"]["time_constant_s"] is None


def test_autocorrelation_and_time_constant_of_known_noise(valid):
    values = ar1(np.exp(-1 / 10), dim=8)  # ten steps: 0.2 s
    curves = autocorrelation(values, valid, 50)
    expected = np.exp(-np.arange(51) / 10)
    np.testing.assert_allclose(curves.mean(axis=0), expected, atol=0.04)
    figures = latent_statistics(gaussian(values, 1), gaussian(0 * values, 1), valid, CLIP, HZ)
    assert figures["autocorrelation"]["time_constant_s"] == pytest.approx(0.2, rel=0.1)
    assert figures["autocorrelation"]["lag_s"][-1] == pytest.approx(1.0)
    lag_s = np.arange(51) / HZ
    assert time_constant(lag_s, np.exp(-lag_s / 0.2)) == pytest.approx(0.2, rel=1e-3)
    assert time_constant(lag_s, np.exp(-lag_s / 5.0)) is None


def test_no_pair_spans_two_episodes_or_goes_past_their_end():
    # each episode is constant: whatever is paired inside of one is alike
    values = np.broadcast_to(np.array([1.0, -1.0])[:, None], (6, 2, 1))
    valid = np.arange(6)[:, None] < np.array([4, 4])
    curves = autocorrelation(values, valid, 50)
    np.testing.assert_allclose(curves, np.ones((1, 4)))


def test_intervals_hold_what_clips_differ_by():
    rng = np.random.default_rng(0)
    of_clip = rng.normal(size=(EPISODES // 2, 1))
    mean = np.broadcast_to(of_clip[CLIP], (TIME, EPISODES, 1))
    valid = np.ones((TIME, EPISODES), bool)
    posterior, prior = gaussian(mean, 1.0), gaussian(0 * mean, 1.0)
    found = kl_intervals(posterior, prior, valid, CLIP)["kl"]
    kl = 0.5 * of_clip[:, 0] ** 2
    error = kl.std() / np.sqrt(len(kl))
    assert found["low"] == pytest.approx(kl.mean() - 1.96 * error, abs=0.4 * error)
    assert found["high"] == pytest.approx(kl.mean() + 1.96 * error, abs=0.4 * error)
    alone = kl_intervals(posterior, prior, valid, np.zeros(EPISODES, int))
    assert alone["kl"] == {"low": None, "high": None}


def learnt(kl_per_dim: np.ndarray) -> dict[str, np.ndarray]:
    """Means of an update whose posterior mean varies in every dimension."""
    ones = np.ones_like(kl_per_dim)
    return {"kl_per_dim": kl_per_dim, "posterior_mean": 0 * ones, "posterior_mean_square": ones}


def test_training_counts_and_warns_by_the_same_rule():
    row = latent_metrics(learnt(np.array([0.5] + [0.001] * 31)))
    assert row["latent/active_units"] == 1
    assert row["latent/varying_units"] == 32
    row |= dict.fromkeys(("loss/action_mse", "nan/count", "loss/skipped_minibatches"), 0.0)
    row |= {"latent_dim": 32, "steps": 100}
    found = raised(STUDENT_RULES, row | {"loss/kl": 0.53})
    assert set(found) == {"few_active_units"}
    assert "1 of 32" in str(found["few_active_units"])
    assert "kl_weight" in str(found["few_active_units"])
    healthy = {"loss/kl": 9.0, "latent/active_units": ACTIVE_UNITS_ALARM * 32}
    assert raised(STUDENT_RULES, row | healthy) == {}
    collapsed = raised(STUDENT_RULES, row | healthy | {"loss/kl": 0.01})
    assert set(collapsed) == {"kl_near_zero"}
