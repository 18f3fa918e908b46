"""Episodes of the imitation task draw their body anew, from the environment's key."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toy_run import toy_task
from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.randomization import draw_variants
from vnl_mjx.tasks.imitation import ImitationTask

NUM_ENVS = 16
VARIED = DomainRandomizationConfig(num_variants=8, friction=(0.5, 1.5), link_mass=(0.7, 1.3))


def build(walker, randomization: DomainRandomizationConfig) -> ImitationTask:
    config = replace(toy_task(walker.config), randomization=randomization)
    variants = draw_variants(walker.model, walker.root_body, config.randomization)
    physics = make_physics(walker.model, config.physics, num_threads=1, variants=variants)
    return ImitationTask(config, walker, physics)


@pytest.fixture(scope="module")
def task(toy_walker):
    return build(toy_walker, VARIED)


def resets(task, clips):
    reset = jax.jit(jax.vmap(lambda k: task.reset(k, clips)))
    return lambda seed=0: reset(jax.random.split(jax.random.PRNGKey(seed), NUM_ENVS))


@pytest.fixture(scope="module")
def start(task, toy_clips):
    return resets(task, toy_clips)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def roll(task, toy_clips):
    """Steps and restarts; returns the state, the variants [step, env] and what was done [step, env]."""

    def body(state, _):
        action = 0.5 * jnp.ones((NUM_ENVS, task.action_size))
        moved, outcome = jax.vmap(lambda s, a: task.step(s, a, toy_clips))(state, action)
        done = outcome.terminated | outcome.truncated
        state = jax.vmap(lambda d, s: task.reset_where(d, s, toy_clips))(done, moved)
        return state, (state.physics.variant, done)

    return jax.jit(lambda state: jax.lax.scan(body, state, length=30))


def test_same_key_same_body(start):
    first, again, other = (start(seed) for seed in (0, 0, 1))
    variant = np.asarray(first.physics.variant)
    assert variant.min() >= 0 and variant.max() < VARIED.num_variants
    assert len(np.unique(variant)) > 3
    assert_identical(first, again)
    assert not np.array_equal(variant, other.physics.variant)


def test_every_restart_draws_again_and_nothing_else_does(start, roll):
    state = start()
    _, (variants, done) = roll(state)
    variants = np.concatenate([np.asarray(state.physics.variant)[None], np.asarray(variants)])
    done = np.asarray(done)
    changed = variants[1:] != variants[:-1]
    assert done.any() and not changed[~done].any()
    # one in `num_variants` restarts draws the body it had
    assert changed[done].mean() > 0.6


def test_a_stored_state_continues_bit_for_bit(start, roll):
    middle, _ = roll(start())
    saved = jax.tree.map(np.array, middle)
    direct = roll(middle)
    roll(start(5))
    assert_identical(direct, roll(jax.tree.map(jnp.asarray, saved)))


def test_off_starts_as_ever(start, toy_walker, toy_clips):
    plain = resets(build(toy_walker, DomainRandomizationConfig()), toy_clips)()
    assert plain.physics.variant is None
    drawn = start()
    # clip, frame and the environment's stream of keys are those of a task that varies nothing
    np.testing.assert_array_equal(plain.clip, drawn.clip)
    np.testing.assert_array_equal(plain.start_frame, drawn.start_frame)
    np.testing.assert_array_equal(plain.key, drawn.key)


def test_physics_without_the_variants_is_refused(toy_walker):
    config = replace(toy_task(toy_walker.config), randomization=VARIED)
    with pytest.raises(ValueError, match="asks for 8"):
        ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))
