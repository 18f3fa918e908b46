"""The PPO objective against track-mjx's formula in NumPy, and its limits."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ppo_batches import (
    ACTIONS,
    CONFIG,
    ENVS,
    KEY,
    LATENT,
    TIME,
    WEIGHTS,
    flags,
    log_prob,
    loss_and_grads,
    quick_jit,
    random_batch,
)

from vnl_mjx.training.brax_parts import compute_gae
from vnl_mjx.training.latent_terms import latent_ar1_kl, latent_kl
from vnl_mjx.training.ppo_losses import policy_kl
from vnl_mjx.training.segments import Segment

# The reference, in float64.


def float64(tree):
    def convert(x):
        x = np.asarray(x)
        return x if x.dtype == bool else x.astype(np.float64)

    return jax.tree.map(convert, tree)


def reference_gae(reward, values, last_value, terminated, truncated, config):
    """Targets and advantages [time, env]; a truncated step teaches nothing itself."""
    following = np.concatenate([values[1:], last_value[None]])
    targets, ahead = np.zeros_like(values), np.zeros_like(last_value)
    for t in reversed(range(len(reward))):
        alive, whole = 1.0 - terminated[t], 1.0 - truncated[t]
        delta = whole * (reward[t] + config.discount * alive * following[t] - values[t])
        ahead = delta + config.discount * config.gae_lambda * alive * whole * ahead
        targets[t] = values[t] + ahead
    next_target = np.concatenate([targets[1:], last_value[None]])
    advantages = reward + config.discount * (1.0 - terminated) * next_target - values
    return targets, advantages * (1.0 - truncated)


def reference_loss(params, segment, config=CONFIG, kl_weight=0.3, entropy_weight=0.02):
    """track-mjx `agent/mlp_ppo/losses.py`, of one minibatch in which no episode begins after row 0."""
    p, steps = float64(params), float64(segment.steps)
    targets, advantages = reference_gae(
        steps.reward * config.reward_scale,
        p["values"],
        p["last_value"],
        steps.terminated,
        steps.truncated,
        config,
    )
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = np.exp(log_prob(p["logits"], steps.raw_action) - steps.log_prob)
    low, high = 1 - config.clip_epsilon, 1 + config.clip_epsilon
    assert (ratio < low).any() and (ratio > high).any()
    surrogate = np.minimum(ratio * advantages, np.clip(ratio, low, high) * advantages)

    loc, raw_scale = np.split(p["logits"], 2, axis=-1)
    scale = np.logaddexp(raw_scale, 0.0) + 1e-3
    sample = loc + scale * np.asarray(jax.random.normal(KEY, loc.shape), np.float64)
    entropy = 0.5 + 0.5 * np.log(2 * np.pi) + np.log(scale) + np.log1p(-(np.tanh(sample) ** 2))

    def kl(mean, logvar, prior_mean, prior_variance):
        spread = (np.exp(logvar) + (mean - prior_mean) ** 2) / prior_variance
        return 0.5 * (spread - 1 + np.log(prior_variance) - logvar)

    mean, logvar = p["mean"], p["logvar"]
    kl_0 = kl(mean[0], logvar[0], 0.0, 1.0).mean()
    kl_t = kl(mean[1:], logvar[1:], 0.95 * mean[:-1], 1 - 0.95**2).mean()
    parts = SimpleNamespace(
        policy=-surrogate.mean(),
        value=((targets - p["values"]) ** 2).mean(),
        entropy=entropy.sum(-1).mean(),
        latent=(kl_0 + (TIME - 1) * kl_t) / TIME,
        clip_fraction=(np.abs(ratio - 1) > config.clip_epsilon).mean(),
    )
    parts.total = (
        parts.policy
        + 0.25 * parts.value
        - entropy_weight * parts.entropy
        + kl_weight * parts.latent
    )
    return parts


@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_upstreams_formula(seed):
    params, segment = random_batch(seed)
    found, expected = loss_and_grads(params, segment)[0], reference_loss(params, segment)
    close = dict(rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(found["policy"], expected.policy, **close)
    np.testing.assert_allclose(found["value"], expected.value, **close)
    np.testing.assert_allclose(found["entropy"], expected.entropy, **close)
    np.testing.assert_allclose(found["latent_ar1_kl"] / LATENT, expected.latent, **close)
    np.testing.assert_allclose(found["clip_fraction"], expected.clip_fraction, **close)
    np.testing.assert_allclose(found["total"], expected.total, **close)


def test_the_standard_prior_takes_the_sum_over_dimensions():
    params, segment = random_batch()
    weights = WEIGHTS | {"latent_kl": 0.7, "latent_ar1_kl": 0.0}
    mean, logvar = float64(params["mean"]), float64(params["logvar"])
    kl = 0.5 * (np.exp(logvar) + mean**2 - 1 - logvar)
    found, _ = loss_and_grads(params, segment, weights)
    np.testing.assert_allclose(found["latent_kl_per_dim"], kl.mean(axis=(0, 1)), rtol=1e-5)
    expected = reference_loss(params, segment, kl_weight=0.0).total + 0.7 * kl.sum(axis=-1).mean()
    np.testing.assert_allclose(found["total"], expected, rtol=2e-5)


def test_its_gradient_is_that_of_the_formula():
    """By central differences of the reference, targets and advantages held as the loss holds them."""
    params, segment = random_batch()
    _, grads = loss_and_grads(params, segment)
    for name in ("logits", "mean", "logvar"):
        value = float64(params[name])
        rng = np.random.default_rng(3)
        direction, step = rng.normal(size=value.shape), 1e-5
        up, down = (
            reference_loss({**params, name: value + sign * step * direction}, segment).total
            for sign in (1, -1)
        )
        slope = (up - down) / (2 * step)
        np.testing.assert_allclose(np.sum(np.asarray(grads[name]) * direction), slope, rtol=1e-3)
    # The value's own: d/dv 0.25 mean (target - v)^2, nothing through targets or advantages.
    steps = float64(segment.steps)
    arrays = (float64(params["values"]), float64(params["last_value"]))
    targets, _ = reference_gae(
        0.5 * steps.reward, *arrays, steps.terminated, steps.truncated, CONFIG
    )
    expected = 0.5 * (arrays[0] - targets) / (TIME * ENVS)
    np.testing.assert_allclose(grads["values"], expected, atol=1e-6)
    np.testing.assert_array_equal(grads["last_value"], 0)


def test_gae_by_hand():
    """Discount and lambda 1/2, rewards 1 2 4 8, values 1 1 2 2, 4 after the end.

    Uncut: deltas 8+2-2=8, 4+1-2=3, 2+1-1=2, 1+.5-1=.5; sums from the end 8, 3+8/4=5, 2+5/4=3.25,
    .5+3.25/4=1.3125; targets = values + sums; advantages r + target/2 - v: 8, 4+5-2=7, 2+3.5-1=4.5,
    1+4.25/2-1=2.125.
    Failing in step 1: delta 2-1=1 and nothing of what follows; step 0: .5+1/4=.75, advantage 1+2/2-1=1.
    Truncated in step 1: it teaches nothing, its target is its value; step 0: .5, advantage 1+1/2-1=.5.
    """
    ones, step_1 = np.ones((1, 3)), np.array([[0.0], [1.0], [0.0], [0.0]])
    targets, advantages = quick_jit(compute_gae)(
        truncation=step_1 * [0, 0, 1],
        termination=step_1 * [0, 1, 0],
        rewards=np.array([[1.0], [2.0], [4.0], [8.0]]) * ones,
        values=np.array([[1.0], [1.0], [2.0], [2.0]]) * ones,
        bootstrap_value=np.full(3, 4.0),
        lambda_=0.5,
        discount=0.5,
    )
    uncut, failed, truncated = [2.3125, 4.25, 7, 10], [1.75, 2, 7, 10], [1.5, 1, 7, 10]
    np.testing.assert_array_equal(targets, np.transpose([uncut, failed, truncated]))
    uncut, failed, truncated = [2.125, 4.5, 7, 8], [1, 1, 7, 8], [0.5, 0, 7, 8]
    np.testing.assert_array_equal(advantages, np.transpose([uncut, failed, truncated]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "has_gradient"),
    [
        (1.5, 1.0, -1.2, False),  # already made likelier by enough
        (1.5, -1.0, 1.5, True),  # made likelier though bad: no limit on going back
        (0.5, 1.0, -0.5, True),
        (0.5, -1.0, 0.8, False),
        (1.1, 1.0, -1.1, True),
        (0.9, -1.0, 0.9, True),
    ],
)
def test_the_ratio_is_clipped_on_the_side_that_gains(ratio, advantage, expected, has_gradient):
    """One environment of one step, whose value is 0, so that the advantage is the reward."""
    params, segment = random_batch()
    params = jax.tree.map(lambda x: x[:1, :1] if x.ndim > 1 else x[:1] * 0, params)
    params["values"] = np.zeros((1, 1), np.float32)
    steps = jax.tree.map(lambda x: x[:1, :1], segment.steps)
    steps = steps.replace(
        log_prob=log_prob(params["logits"], steps.raw_action) - np.float32(np.log(ratio)),
        reward=np.full((1, 1), advantage, np.float32),
    )
    config = replace(CONFIG, normalize_advantage=False, reward_scale=1.0)
    no_other = dict.fromkeys(WEIGHTS, 0.0) | {"policy": 1.0}
    one = np.ones((1, 1), bool)
    segment = Segment(steps, one, one, (), segment.last[:1])
    found, grads = loss_and_grads(params, segment, no_other, config)
    np.testing.assert_allclose(found["policy"], expected, rtol=1e-5)
    assert bool(np.any(grads["logits"] != 0)) == has_gradient


def test_the_autoregressive_prior_restarts_with_each_episode():
    params, _ = random_batch()
    mean, logvar = params["mean"], params["logvar"]
    kl, standard = quick_jit(latent_ar1_kl), np.asarray(quick_jit(latent_kl)(mean, logvar))
    first = (0, slice(None))
    whole = np.asarray(kl(mean, logvar, flags(first, (3, 2))))
    np.testing.assert_allclose(whole[3, 2], standard[3, 2], rtol=1e-5)
    unbroken = kl(mean, logvar, flags(first))
    np.testing.assert_array_equal(np.argwhere(np.any(whole != unbroken, axis=-1)), [[3, 2]])
    # The first row is a start even where the flag is missing: what came before is not known.
    np.testing.assert_array_equal(kl(mean, logvar, flags()), unbroken)
    np.testing.assert_allclose(unbroken[0], standard[0], rtol=1e-5)


def test_policy_kl_by_hand():
    """KL of N(0, 1) to N(1, 2^2) is ln 2 + (1 + 1) / 8 - 1/2 per actuator."""
    raw = lambda std: np.log(np.expm1(std - 1e-3))  # noqa: E731
    one, other = [0.0, 0.0, raw(1.0), raw(1.0)], [1.0, 1.0, raw(2.0), raw(2.0)]
    found = quick_jit(policy_kl)(np.float32([one, one]), np.float32([other, one]))
    expected = 2 * (np.log(2) + 2 / 8 - 0.5)
    np.testing.assert_allclose(found, [expected, 0.0], rtol=1e-5, atol=1e-6)


def test_guidance_is_the_distance_of_the_mode():
    params, segment = random_batch()
    guide = np.full((TIME, ENVS, ACTIONS), 0.25, np.float32)
    guided = segment.replace(steps=segment.steps.replace(guide=guide))
    found, _ = loss_and_grads(params, guided, WEIGHTS | {"guidance": 2.0})
    mode = np.tanh(float64(params["logits"])[..., :ACTIONS])
    expected = ((mode - 0.25) ** 2).mean()
    np.testing.assert_allclose(found["guidance"], expected, rtol=1e-5)
    without = loss_and_grads(params, segment)[0]["total"]
    np.testing.assert_allclose(found["total"] - without, 2 * expected, rtol=1e-4)


def test_the_width_is_pulled_to_its_target_in_the_logarithm():
    params, segment = random_batch()
    config = replace(CONFIG, action_std_target=0.2)
    weights = WEIGHTS | {"action_std_distance": 0.5}
    found, _ = loss_and_grads(params, segment, weights, config)
    without, _ = loss_and_grads(params, segment)
    std = np.logaddexp(float64(params["logits"])[..., ACTIONS:], 0.0) + 1e-3
    expected = 0.5 * (np.log(std / 0.2) ** 2).mean()
    np.testing.assert_allclose(found["total"] - without["total"], expected, rtol=1e-4)


def test_equal_advantages_make_no_nan():
    params, segment = random_batch()
    zeros = {name: np.zeros_like(params[name]) for name in ("values", "last_value")}
    steps = segment.steps.replace(reward=np.zeros((TIME, ENVS), np.float32))
    found, grads = loss_and_grads({**params, **zeros}, segment.replace(steps=steps))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, found)))
    assert found["policy"] == 0.0


def test_masked_mean_reads_only_what_is_valid():
    x = jnp.array([[[1.0, 2.0], [jnp.nan, jnp.inf]], [[3.0, 6.0], [5.0, 4.0]]])
    valid = jnp.array([[True, False], [True, True]])
    np.testing.assert_array_equal(Segment((), valid, valid).mean(x), [3.0, 4.0])
    nothing = jnp.array([[False]])
    assert Segment((), nothing, nothing).mean(jnp.array([[jnp.nan]])) == 0.0
