"""Losses against closed forms, Monte Carlo and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx import gaussians
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.training import losses, schedules

numbers = st.floats(-3, 3, width=32)


def gaussian(seed: int, shape=(6, 4)) -> Gaussian:
    mean_key, logvar_key = jax.random.split(jax.random.key(seed))
    return Gaussian(jax.random.normal(mean_key, shape), jax.random.normal(logvar_key, shape))


def test_kl_equals_monte_carlo():
    q, p = gaussian(0, (3,)), gaussian(1, (3,))
    z = np.asarray(
        q.mean + jnp.exp(0.5 * q.logvar) * jax.random.normal(jax.random.key(2), (400_000, 3))
    )
    log_q = scipy.stats.norm.logpdf(z, q.mean, np.exp(0.5 * np.asarray(q.logvar)))
    log_p = scipy.stats.norm.logpdf(z, p.mean, np.exp(0.5 * np.asarray(p.logvar)))
    np.testing.assert_allclose(losses.latent_kl(q, p), (log_q - log_p).mean(axis=0), rtol=0.02)


def test_kl_by_hand():
    # N(1, 4) from N(0, 1): log(1/2) + (4 + 1)/2 - 1/2.
    kl = gaussians.kl_divergence(jnp.float32(1), jnp.log(4.0), jnp.float32(0), jnp.float32(0))
    np.testing.assert_allclose(kl, -np.log(2) + 2.0, rtol=1e-6)


@given(numbers, numbers, numbers, numbers)
@settings(max_examples=50, deadline=None)
def test_kl_is_not_negative_and_zero_on_itself(mean_q, logvar_q, mean_p, logvar_p):
    assert gaussians.kl_divergence(mean_q, logvar_q, mean_p, logvar_p) >= -1e-5
    assert abs(gaussians.kl_divergence(mean_q, logvar_q, mean_q, logvar_q)) < 1e-6


def test_total_is_the_weighted_sum_of_reduced_parts():
    q, p = gaussian(0), gaussian(1)
    action, target = jnp.full((6, 2), 0.5), jnp.zeros((6, 2))
    loss = losses.distillation_loss(action, target, q, p, action_weight=2.0, kl_weight=0.1)
    np.testing.assert_allclose(loss.action_mse, 0.25)
    np.testing.assert_allclose(loss.kl, losses.latent_kl(q, p).sum(axis=-1).mean(), rtol=1e-6)
    np.testing.assert_allclose(loss.total, 2 * 0.25 + 0.1 * loss.kl, rtol=1e-6)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="differs"):
        losses.action_error(jnp.zeros((6, 2)), jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="differs"):
        losses.latent_kl(gaussian(0), gaussian(1, (1, 4)))


def test_linear_schedule_counts_environment_steps():
    value = schedules.linear(1.0, 0.1, 100, 200)
    found = [float(value(jnp.float32(step))) for step in (0, 100, 150, 200, 1e9)]
    np.testing.assert_allclose(found, [1.0, 1.0, 0.55, 0.1, 0.1], rtol=1e-6)
