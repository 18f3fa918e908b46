"""NaN in one environment: it must reach no gradient, no statistics and no other environment."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ppo_batches import (
    ACTIONS,
    ENVS,
    LATENT,
    TIME,
    flags,
    log_prob,
    loss_and_grads,
    quick_jit,
    random_batch,
)

from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.training.segments import Segment, take_segments

SIZES = dict(
    reference_size=3,
    proprioception_size=2,
    action_size=ACTIONS,
    latent_dim=LATENT,
    encoder_hidden_sizes=(8,),
    decoder_hidden_sizes=(8,),
)
ROW = 1  # of the environment that is poisoned
ALL_TERMS = {
    "policy": 1.0,
    "value": 0.25,
    "negative_entropy": 0.02,
    "latent_kl": 0.1,
    "latent_ar1_kl": 0.1,
    "guidance": 0.5,
    "action_std_distance": 0.3,
}
POLICIES = {
    "mlp": IntentionConfig(**SIZES),
    "lstm": IntentionConfig(**SIZES, memory_sizes=(4,)),
}


def acted_batch(policy: IntentionConfig) -> tuple[ActorCritic, Any, Segment]:
    """A model and a segment that it acted in itself."""
    model = ActorCritic(policy, ValueConfig(policy.observation_size, (8,)))
    params = model.init(jax.random.PRNGKey(0))
    rng = np.random.default_rng(5)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    grid = (TIME, ENVS)
    obs, noise = normal(*grid, policy.observation_size), normal(*grid, LATENT)
    starts = flags((0, slice(None)), (3, 1), (4, 2))
    memory = jax.tree.map(lambda x: normal(*x.shape), model.initial_memory((ENVS,)))
    logits = np.asarray(quick_jit(model.unroll)(params, obs, memory, starts, noise).logits)
    raw_action = logits[..., :ACTIONS] + 0.5 * normal(*grid, ACTIONS)
    steps = random_batch()[1].steps.replace(
        observation=obs,
        latent_noise=noise,
        raw_action=raw_action,
        logits=logits,
        log_prob=log_prob(logits, raw_action),
        guide=np.full((*grid, ACTIONS), 0.1, np.float32),
    )
    return model, params, Segment(steps, starts, ~flags(), memory, obs[-1] + 0.1)


@cache
def acted(name: str) -> tuple[ActorCritic, Any, Segment]:
    return acted_batch(POLICIES[name])


def poisoned(segment: Segment, value: float, row: Any = ROW) -> Segment:
    """Environment `row` is not valid throughout, and `value` is what its simulation gave."""

    def spoil(x, index):
        x = x.copy()
        x[index] = value if np.issubdtype(x.dtype, np.floating) else x[index]
        return x

    steps = jax.tree.map(lambda x: spoil(x, np.s_[:, row]), segment.steps)
    valid = segment.valid.copy()
    valid[:, row] = False
    return Segment(
        steps,
        segment.starts,
        valid,
        jax.tree.map(lambda x: spoil(x, row), segment.memory),
        spoil(segment.last, row),
    )


def environments_of(segment: Segment, rows: np.ndarray) -> Segment:
    """The segment of some of its environments."""
    whole = segment.replace(
        memory=jax.tree.map(lambda x: x[None], segment.memory), last=segment.last[None]
    )
    return take_segments(jax.tree.map(jnp.asarray, whole), jnp.asarray(rows)[None], TIME)


def all_finite(tree) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_has_not_moved_has_ratio_1(name):
    model, params, segment = acted(name)
    found, _ = loss_and_grads(params, segment, ALL_TERMS, model=model)
    assert found["clip_fraction"] == 0
    np.testing.assert_allclose(found["policy_kl"], 0, atol=1e-6)
    np.testing.assert_allclose(found["policy"], 0, atol=1e-5)  # advantages of mean 0


@pytest.mark.parametrize("name", POLICIES)
def test_nan_in_one_environment_changes_no_gradient(name):
    model, params, segment = acted(name)
    # Whatever an invalid environment holds, bit for bit the same.
    expected = loss_and_grads(params, poisoned(segment, 0.5), ALL_TERMS, model=model)
    found = loss_and_grads(params, poisoned(segment, np.nan), ALL_TERMS, model=model)
    assert all_finite(found)
    jax.tree.map(np.testing.assert_array_equal, found, expected)

    # And as if it were not there. (The entropy's sample depends on the shape of the batch.)
    weights = ALL_TERMS | {"negative_entropy": 0.0}
    others = np.delete(np.arange(ENVS), ROW)
    found = loss_and_grads(params, poisoned(segment, np.nan), weights, model=model)
    alone = loss_and_grads(params, environments_of(segment, others), weights, model=model)
    close = dict(rtol=1e-4, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), found[1], alone[1])
    for field in ("total", "policy", "value", "latent_kl", "latent_ar1_kl", "guidance"):
        np.testing.assert_allclose(found[0][field], alone[0][field], **close)


def test_one_diverged_step_leaves_the_gradient_finite():
    """As a task might report it: the step fails, and neither its reward nor what it saw is a number."""
    model, params, segment = acted("mlp")
    at = (2, 3)
    steps, valid = jax.tree.map(np.copy, (segment.steps, segment.valid))
    steps.reward[at], steps.observation[at] = np.nan, np.inf
    steps.terminated[at], valid[at] = True, False
    segment = segment.replace(steps=steps, valid=valid)
    assert all_finite(loss_and_grads(params, segment, ALL_TERMS, model=model))


def test_no_valid_step_is_no_nan():
    model, params, segment = acted("mlp")
    segment = poisoned(segment, np.nan, slice(None))
    found, grads = loss_and_grads(params, segment, ALL_TERMS, model=model)
    assert found["total"] == 0.0 and all_finite((found, grads))


def test_nan_where_it_was_not_announced_is_not_hidden():
    model, params, segment = acted("mlp")
    observation = segment.steps.observation.copy()
    observation[1, 1] = np.nan
    segment = segment.replace(steps=segment.steps.replace(observation=observation))
    assert np.isnan(loss_and_grads(params, segment, ALL_TERMS, model=model)[0]["total"])
