"""Policy and value network as functions of their parameters, over one step and over a segment."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ppo_batches import quick_jit

from vnl_mjx import masking
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig, action_distribution
from vnl_mjx.models.value import ValueConfig

MLP = IntentionConfig(
    reference_size=4,
    proprioception_size=3,
    action_size=2,
    latent_dim=3,
    encoder_hidden_sizes=(16,),
    decoder_hidden_sizes=(16,),
)
LSTM = replace(MLP, memory_sizes=(5, 5))
POLICIES = {"mlp": MLP, "lstm": LSTM}
TIME, ENVS = 5, 4


def model_of(policy: IntentionConfig, std: float | None = None) -> ActorCritic:
    return ActorCritic(policy, ValueConfig(policy.observation_size, (8,)), std)


@cache
def fresh(name: str, std: float | None = None) -> tuple[ActorCritic, Any]:
    """A model and its first parameters."""
    model = model_of(POLICIES[name], std)
    return model, quick_jit(model.init)(jax.random.PRNGKey(0))


@pytest.fixture(scope="module", params=POLICIES)
def acting(request) -> tuple[ActorCritic, Any]:
    return fresh(request.param)


@pytest.fixture(scope="module")
def segment() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, episode starts and latent noise."""
    rng = np.random.default_rng(2)
    starts = np.zeros((TIME, ENVS), bool)
    starts[0, 0] = starts[2, 1] = starts[3, 1] = starts[4, 3] = True
    obs = rng.normal(size=(TIME, ENVS, MLP.observation_size)).astype(np.float32)
    return obs, starts, rng.normal(size=(TIME, ENVS, MLP.latent_dim)).astype(np.float32)


def memory_of(model: ActorCritic, seed: int = 3):
    """As left over from an earlier segment."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32), model.initial_memory((ENVS,))
    )


def test_a_segment_is_its_steps_one_by_one(acting, segment):
    model, params = acting
    obs, starts, noise = segment
    memory = memory_of(model)
    whole = quick_jit(model.unroll)(params, obs, memory, starts, noise)
    act = quick_jit(model.act)
    for t in range(TIME):
        memory = masking.where(starts[t], model.initial_memory((ENVS,)), memory)
        step = act(params, obs[t], memory, noise[t])
        memory = step.memory
        for field in ("logits", "latent", "latent_mean", "latent_logvar"):
            found = getattr(whole, field)[t]
            np.testing.assert_allclose(found, getattr(step, field), atol=1e-6, err_msg=field)


def test_memory_is_forgotten_where_an_episode_starts(segment):
    model, params = fresh("lstm")
    obs, starts, noise = segment
    unroll = quick_jit(model.unroll)
    logits = [
        np.asarray(unroll(params, obs, memory_of(model, seed), starts, noise).logits)
        for seed in (3, 4)
    ]
    begun = np.cumsum(starts, axis=0) > 0
    same = np.all(logits[0] == logits[1], axis=-1)
    np.testing.assert_array_equal(same, begun)


def test_forgetting_by_hand():
    memory = (jnp.arange(6.0).reshape(3, 1, 2), jnp.ones((3, 1, 2)))
    initial = jax.tree.map(jnp.zeros_like, memory)
    h, c = masking.where(jnp.array([True, False, True]), initial, memory)
    np.testing.assert_array_equal(h[:, 0], [[0, 0], [2, 3], [0, 0]])
    np.testing.assert_array_equal(c[:, 0], [[0, 0], [1, 1], [0, 0]])
    assert masking.where(jnp.array([True]), (), ()) == ()


def test_noise_moves_the_latent_by_its_standard_deviation(segment):
    model, params = fresh("mlp")
    obs, _, noise = (part[0] for part in segment)
    act = quick_jit(model.act)
    quiet, noisy = act(params, obs), act(params, obs, (), noise)
    np.testing.assert_array_equal(quiet.latent, quiet.latent_mean)
    std = np.exp(0.5 * np.asarray(quiet.latent_logvar))
    np.testing.assert_allclose(noisy.latent - quiet.latent, std * noise, atol=1e-5)


@pytest.mark.parametrize(("name", "std"), [("mlp", 0.1), ("mlp", 0.5), ("lstm", 0.1)])
def test_a_fresh_policy_explores_as_asked_around_0(name, std):
    model, params = fresh(name, std)
    obs = np.random.default_rng(0).normal(size=(64, MLP.observation_size)).astype(np.float32)
    logits = quick_jit(model.act)(params, obs, model.initial_memory((64,))).logits
    mean, found = action_distribution(logits)
    np.testing.assert_allclose(found, std, rtol=0.1)
    assert np.abs(mean).max() < 0.1
    # Nothing else differs from a fresh network, so that it can still learn.
    _, plain = fresh(name)
    differs = jax.tree.map(lambda a, b: bool(np.any(a != b)), plain, params)
    assert sum(jax.tree.leaves(differs)) == 2


def test_the_two_networks_share_nothing(acting, segment):
    model, params = acting
    obs, starts, noise = segment
    memory = memory_of(model)

    def value(params):
        return jnp.sum(model.value(params, obs))

    def policy(params):
        return jnp.sum(model.unroll(params, obs, memory, starts, noise).logits)

    assert model.value(params, obs).shape == (TIME, ENVS)
    of_value, of_policy = quick_jit(lambda p: (jax.grad(value)(p), jax.grad(policy)(p)))(params)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(of_value.value))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_value.policy))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(of_policy.policy))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_policy.value))
