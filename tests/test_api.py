"""`vnl_mjx.load`: what a person needs of a stored teacher or student, from raw observations."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vnl_mjx
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow
from vnl_mjx.models.student import Student
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.training.rollout import begin, rollout

NUM_ENVS = 3


@pytest.fixture(scope="module")
def folder(distilled):
    """A toy teacher and a run of a student of it."""
    return distilled[0]


@pytest.fixture(scope="module")
def loaded(folder):
    return vnl_mjx.load(folder / "run")


@pytest.fixture(scope="module")
def observation(loaded):
    state = loaded.env.reset(jax.random.key(0), NUM_ENVS, loaded.clips)
    observation = loaded.env.observe(state, loaded.clips)
    return observation.replace(parts=jax.tree.map(lambda x: x + 0.3, observation.parts))


def test_parts_of_a_student_agree_with_its_policy(loaded, observation):
    student, body, reference = (
        loaded.student,
        *(observation[k] for k in ("proprioception", "reference")),
    )
    # other statistics than 0 and 1, so that a part that is not normalised shows
    size = loaded.teacher.obs_mean.shape
    mean, std = jax.random.normal(jax.random.key(2), (2, *size))
    teacher = loaded.teacher.replace(obs_mean=mean, obs_std=jnp.exp(std))
    student, policy = student.replace(teacher=teacher), loaded.policy.replace(teacher=teacher)
    seen = policy.act(observation, policy.initial_memory(NUM_ENVS), jax.random.key(1)).extra
    found = student.encode(body, reference), student.prior(body)
    for distribution, expected in zip(found, (seen.posterior, seen.prior), strict=True):
        jax.tree.map(np.testing.assert_array_equal, distribution, expected)
    np.testing.assert_array_equal(student.act(body, reference), seen.student_action)
    latent = student.encode(body, reference).mode()
    np.testing.assert_array_equal(student.decoder.act(body, latent), seen.student_action)
    latents = student.prior(body).sample(jax.random.key(3))
    assert latents.shape == (NUM_ENVS, student.latent_dim)
    single = student.decoder.act(body[0], latents[0])
    np.testing.assert_allclose(single, student.decoder.act(body, latents)[0], atol=1e-6)


def test_a_student_is_an_argument_of_compiled_functions(loaded, observation):
    body = observation["proprioception"]
    compiled = jax.jit(lambda student, body: student.prior(body).mode())(loaded.student, body)
    np.testing.assert_allclose(compiled, loaded.student.prior(body).mode(), atol=1e-5)


def test_observations_of_another_size_are_refused(loaded, observation):
    with pytest.raises(ValueError, match=r"proprioception: shape \(3, 2\) must end in"):
        loaded.student.prior(observation["proprioception"][:, :2])


def test_memory_of_a_recurrent_student(observation, loaded, monkeypatch):
    config = loaded.student.networks.config
    gru = "examples/extend/recurrent.py:GruStudent"
    monkeypatch.chdir(Path(__file__).parents[1])
    allow(gru)
    networks = StudentVAE(replace(config, network=gru))
    student = Student(networks.init(jax.random.key(0)), loaded.teacher, networks)
    body = observation["proprioception"]
    first = student.prior(body)
    memory = student.remember(body)
    assert memory.shape == student.initial_memory((NUM_ENVS,)).shape
    jax.tree.map(
        np.testing.assert_array_equal,
        first,
        student.prior(body, student.initial_memory((NUM_ENVS,))),
    )
    assert not np.allclose(first.mode(), student.prior(body, memory).mode())


def test_policies_act_in_their_environment(loaded, folder):
    teacher = vnl_mjx.load(folder / "teacher", clips=folder / "clips.h5")
    for given in (loaded, teacher):
        key = jax.random.key(0)
        start = begin(given.env.reset(key, NUM_ENVS, given.clips), given.policy, NUM_ENVS)
        record = lambda step: step.acted.action  # noqa: E731
        run = jax.jit(
            lambda state, given=given, record=record: rollout(
                given.env, given.policy, state, given.clips, jax.random.key(1), 5, record
            )
        )
        _, actions, sums = run(start)
        assert actions.shape == (5, NUM_ENVS, given.walker.model.nu)
        assert sums.num_steps == 5 * NUM_ENVS and sums.reward > 0
    with pytest.raises(UserError, match="student: expected a student, found a teacher"):
        _ = teacher.student


def test_the_bundled_teacher():
    demo = vnl_mjx.load("demo")
    state = demo.env.reset(jax.random.key(0), 1, demo.clips)
    observation = demo.env.observe(state, demo.clips).flat()
    assert demo.teacher.act(observation).action.shape == (1, demo.walker.model.nu)


def test_what_is_no_run_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="expected a run folder or a checkpoint, found a file"):
        vnl_mjx.load(folder / "clips.h5")
    with pytest.raises(UserError, match="does not exist"):
        vnl_mjx.load(tmp_path / "nothing")
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = vnl_mjx.lod
