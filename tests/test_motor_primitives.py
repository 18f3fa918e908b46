"""Actors without a reference: what they decode, that their noise is as asked, that they are one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_student import untrained_student

from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.policies import LatentPolicy, prior_policy
from vnl_mjx.tasks.vae_distillation import StudentPolicy

NUM_EPISODES = 200


@pytest.fixture(scope="module")
def observation(task) -> jax.Array:
    size = task.layout.reference_size + task.layout.proprioception_size
    return jax.random.normal(jax.random.key(5), (NUM_EPISODES, size))


@jax.jit
def act(actor, observation, memory, key):
    return actor.act(Observation.of(everything=observation), memory, key)


def several(actor, observation, num_steps: int) -> list:
    """What it does in states that are all alike."""
    memory, done = actor.initial_memory(len(observation)), []
    for key in jax.random.split(jax.random.key(1), num_steps):
        done.append(act(actor, observation, memory, key))
        memory = done[-1].memory
    return done


def test_the_mean_decodes_the_prior_mean_of_the_normalised_body(toy, observation):
    actor = prior_policy(*toy, NUM_EPISODES, std_scale=0.0)
    acted = several(actor, observation, 1)[0]
    body = toy.teacher.split(toy.teacher.normalize(observation))[1]
    prior = jax.jit(toy.student.prior)(toy.params, body)
    np.testing.assert_array_equal(acted.extra.latent, acted.extra.prior.mean)
    np.testing.assert_allclose(acted.extra.prior.mean, prior.mean, atol=1e-6)
    expected = jax.jit(toy.student.decode)(toy.params, body, prior.mean)
    np.testing.assert_allclose(acted.action, expected, atol=1e-6)
    # nothing of the reference enters, all of the body does
    cut = toy.teacher.config.reference_size
    elsewhere = several(actor, observation.at[:, :cut].add(3.0), 1)[0]
    np.testing.assert_array_equal(elsewhere.action, acted.action)
    moved = several(actor, observation.at[:, cut:].add(3.0), 1)[0]
    assert np.abs(moved.action - acted.action).max() > 1e-3


def test_statistics_of_the_teacher_normalise(toy, observation):
    other = toy.teacher.replace(
        obs_mean=toy.teacher.obs_mean + 0.5, obs_std=toy.teacher.obs_std * 2
    )
    actor = prior_policy(*toy, NUM_EPISODES, std_scale=0.0)
    theirs = several(actor.replace(teacher=other), 2.0 * observation + 0.5, 1)[0]
    np.testing.assert_allclose(theirs.action, several(actor, observation, 1)[0].action, atol=1e-5)


def test_an_offset_moves_each_episode_by_itself(toy, observation):
    offset = np.zeros((NUM_EPISODES, 3), np.float32)
    offset[7, 1] = 2.0
    acted = several(prior_policy(*toy, NUM_EPISODES, std_scale=0.0, offset=offset), observation, 1)
    moved = acted[0].extra.latent - acted[0].extra.prior.mean
    np.testing.assert_allclose(moved, offset, atol=1e-6)
    with pytest.raises(ValueError, match="offset"):
        prior_policy(*toy, NUM_EPISODES, offset=offset[:3])


@pytest.mark.parametrize(
    ("settings", "std"), [({}, None), ({"std_scale": 0.5}, 0.5), ({"fixed_std": 0.3}, 0.3)]
)
def test_noise_has_the_deviation_that_was_asked_for(toy, observation, settings, std):
    acted = several(prior_policy(*toy, NUM_EPISODES, **settings), observation, 4)
    for step in acted:
        noise = np.asarray(step.extra.latent - step.extra.prior.mean)
        if "fixed_std" not in settings:
            noise = noise / np.exp(0.5 * np.asarray(step.extra.prior.logvar))
        assert noise.std() == pytest.approx(std or 1.0, rel=0.1)
    first, second = (np.asarray(s.extra.latent - s.extra.prior.mean).ravel() for s in acted[:2])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_correlated_noise_is_stationary_from_the_first_step_on(toy, observation):
    acted = several(prior_policy(*toy, NUM_EPISODES, correlation=0.8), observation, 12)
    noise = np.stack([np.asarray(step.memory.noise) for step in acted]).reshape(12, -1)
    np.testing.assert_allclose(noise.std(axis=1), 1.0, rtol=0.12)
    for lag in (1, 2, 3):
        assert np.mean(noise[lag:] * noise[:-lag]) == pytest.approx(0.8**lag, abs=0.06)
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="correlation"):
            prior_policy(*toy, 4, correlation=wrong)


def test_whatever_the_numbers_it_is_one_program(task, toy, observation):
    few, key = observation[:2], jax.random.key(3)
    program = jax.jit(lambda actor, memory: act(actor, few, memory, key).extra.latent)
    latents = []
    for other, settings in (
        (toy, {}),
        (toy, {"std_scale": 0.0}),
        (toy, {"fixed_std": 1}),
        (toy, {"correlation": 0.5, "offset": np.ones((2, 3))}),
        (untrained_student(task, seed=1)._replace(student=toy.student), {}),
    ):
        actor = prior_policy(*other, 2, **settings)
        latents.append(program(actor, actor.initial_memory(2)))
    assert program._cache_size() == 1
    assert len(np.unique(np.stack(latents)[:, 0, 0])) == len(latents)


def test_the_latent_of_a_student_decodes_to_its_action(toy, observation):
    following = StudentPolicy(toy.params, toy.teacher, jnp.bool_(False), toy.student)
    told = several(following, observation, 1)[0]
    latents = told.extra.posterior.mean[None]
    back = several(LatentPolicy(toy.params, toy.teacher, latents, toy.student), observation, 1)[0]
    np.testing.assert_allclose(back.action, told.action, atol=1e-6)
    np.testing.assert_allclose(back.extra.prior.mean, told.extra.prior.mean, atol=1e-6)


def test_given_latents_come_in_their_order_and_the_last_stays(toy, observation):
    latents = np.random.default_rng(0).normal(size=(2, NUM_EPISODES, 3)).astype(np.float32)
    actor = LatentPolicy(toy.params, toy.teacher, latents, toy.student)
    acted = several(actor, observation, 4)
    for step, row in zip(acted, (0, 1, 1, 1), strict=True):
        np.testing.assert_array_equal(step.extra.latent, latents[row])
    with pytest.raises(ValueError, match="latents"):
        actor.initial_memory(NUM_EPISODES - 1)
