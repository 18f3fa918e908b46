"""Losses against closed forms, Monte Carlo and SciPy."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx import gaussians
from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.models.vae import VaeOutput
from vnl_mjx.training import losses, schedules
from vnl_mjx.training.learner import Learner
from vnl_mjx.training.optimizers import Adam
from vnl_mjx.training.segments import Segment

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
    np.testing.assert_allclose(q.kl(p), (log_q - log_p).mean(axis=0), rtol=0.02)


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
    q, p = gaussian(0, (2, 3, 4)), gaussian(1, (2, 3, 4))
    output = VaeOutput(q, p, q.mean, jnp.full((2, 3, 2), 0.5), ())
    student: Any = SimpleNamespace(unroll=lambda *_: output)
    target = jnp.zeros((2, 3, 2)).at[1, 2].set(100.0)
    valid = jnp.ones((2, 3), bool).at[1, 2].set(False)
    nothing = jnp.zeros((2, 3, 1))
    visited = Segment(losses.LabelledSteps(nothing, nothing, target), jnp.zeros_like(valid), valid)
    extra = {"norm": lambda output, _: jnp.sum(jnp.abs(output.latent), axis=-1)}
    loss_fn = losses.distillation_loss(student, extra)
    terms = loss_fn({}, visited, jax.random.key(0))
    assert all(terms[name].shape == (2, 3) for name in ("action_mse", "kl", "norm"))

    weights = {"action_mse": 2.0, "kl": 0.1, "norm": 3.0}
    learner = Learner(
        {name: schedules.constant(weight) for name, weight in weights.items()},
        Adam(1.0),
        schedules.LearningRate(ScheduleSection(1e-3), 100),
        num_envs=3,
        unroll_length=2,
        segment_length=2,
        minibatch_size=3,
        num_epochs=1,
    )
    params = jnp.zeros(1)
    opt_state = learner.optimizer.init(params)
    rate, key = jnp.float32(0), jax.random.key(0)
    *_, found = learner.learn(loss_fn, params, opt_state, rate, visited, jnp.float32(0), key)
    kept = np.asarray(valid)
    np.testing.assert_allclose(found.loss["action_mse"], 0.25)
    np.testing.assert_allclose(found.loss["kl"], q.kl(p).sum(axis=-1)[kept].mean(), rtol=1e-6)
    norm = np.abs(q.mean).sum(axis=-1)[kept].mean()
    np.testing.assert_allclose(found.loss["norm"], norm, rtol=1e-6)
    total = 2 * 0.25 + 0.1 * found.loss["kl"] + 3 * norm
    np.testing.assert_allclose(found.loss["total"], total, rtol=1e-6)
    assert {name: pytest.approx(weights[name]) for name in weights} == found.weights


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="differs"):
        losses.action_error(jnp.zeros((6, 2)), jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="differs"):
        gaussian(0).kl(gaussian(1, (1, 4)))


def test_linear_schedule_counts_environment_steps():
    value = schedules.linear(1.0, 0.1, 100, 200)
    configured = schedules.schedule(ScheduleSection(0.1, 1.0, 100, 200), 200)
    for step in (0.0, 120.0, 300.0):
        assert configured(jnp.float32(step)) == value(jnp.float32(step))
    assert schedules.schedule(ScheduleSection(0.1), 200)(jnp.float32(0)) == jnp.float32(0.1)
    found = [float(value(jnp.float32(step))) for step in (0, 100, 150, 200, 1e9)]
    np.testing.assert_allclose(found, [1.0, 1.0, 0.55, 0.1, 0.1], rtol=1e-6)
