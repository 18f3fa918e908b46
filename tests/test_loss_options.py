"""Options of a distillation on the toy walker: a held KL, the teacher's frozen networks, other latents."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_helpers import untrained_policy
from toy_trainers import TRAINING, toy_distillation

from vnl_mjx.config.losses import KlLossSection
from vnl_mjx.config.schedules import LossTermSection, ScheduleSection
from vnl_mjx.config.schema import VaeSection
from vnl_mjx.errors import UserError
from vnl_mjx.models.student_networks import VaeConfig
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.vae_distillation import StudentPolicy
from vnl_mjx.training.vae_distillation import VaeDistillation


@pytest.fixture(scope="module")
def toy(toy_walker, toy_clips):
    """Task, teacher, student and clips of the toy walker."""
    return toy_distillation(toy_walker, toy_clips)


def task_sizes(student: StudentVAE) -> dict[str, int]:
    return {
        f"{n}_size": getattr(student.config, f"{n}_size")
        for n in ("reference", "proprioception", "action")
    }


def student_of(toy, **changes) -> StudentVAE:
    _, teacher, student, _ = toy
    return StudentVAE(replace(student.config, **changes), teacher.config)


def trainer_of(toy, student: StudentVAE | None = None, **changes) -> VaeDistillation:
    task, teacher, mlp, clips = toy
    return VaeDistillation(task, student or mlp, teacher, clips, replace(TRAINING, **changes))


def host(tree):
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def updates(trainer, state, number):
    results = []
    for _ in range(number):
        state, result = trainer.update(state)
        results.append(result.learning)
    return state, results


# --- a held KL ----------------------------------------------------------------------------------


def test_a_weight_that_is_moved_begins_within_its_bounds(toy):
    with pytest.raises(
        UserError, match=r"kl_loss\.target: .*highest_weight = 1 .*found 2 of the summed"
    ):
        trainer_of(toy, kl_loss=KlLossSection(target=5.0), kl_weight=ScheduleSection(2.0))


@pytest.mark.slow
@pytest.mark.parametrize("first", [1e-5, 1.0])
def test_a_controller_holds_the_kl_at_its_target(toy, first):
    section = KlLossSection(target=1.5)
    trainer = trainer_of(toy, kl_loss=section, kl_weight=ScheduleSection(first), num_epochs=4)
    _, results = updates(trainer, trainer.init(0), 150)
    kl = [float(result.loss["kl"]) for result in results]
    assert kl[0] > 2.0  # it had to be brought there
    assert np.mean(kl[-20:]) == pytest.approx(1.5, rel=0.1)
    weights = np.array([float(result.weights["kl"]) for result in results])
    assert weights[0] == pytest.approx(first, rel=0.4)
    assert (weights >= 0.99 * section.lowest_weight).all()
    assert (weights <= section.highest_weight).all()


@pytest.mark.slow
def test_a_held_weight_goes_on_where_it_was(toy):
    trainer = trainer_of(toy, kl_loss=KlLossSection("mean", target=0.5))
    state, _ = updates(trainer, trainer.init(0), 2)
    assert float(state.held_weights["kl"]) != pytest.approx(1e-4 / 4, rel=1e-3)
    saved = host(state)
    state, _ = updates(trainer, state, 2)
    resumed, _ = updates(trainer, jax.tree.map(jnp.asarray, saved), 2)
    assert_identical(host(state), host(resumed))


def test_without_a_target_a_state_holds_no_weight(toy):
    assert trainer_of(toy).init(0).held_weights == {}


# --- the teacher's own networks -----------------------------------------------------------------


@pytest.fixture(scope="module")
def frozen(toy):
    """A trainer of a prior alone, while the teacher acts."""
    student = student_of(toy, network="teacher", latent_dim=99)
    changes = {"action_weight": 0.0, "teacher_fraction": ScheduleSection(1.0)}
    return trainer_of(toy, student, kl_weight=ScheduleSection(1.0), **changes)


@pytest.mark.slow
def test_only_the_prior_is_learnt_and_the_teacher_changes_by_not_one_byte(toy, frozen):
    _, teacher, *_ = toy
    state = frozen.init(0)
    assert frozen.student.config.latent_dim == teacher.config.latent_dim
    before = host(state.params)
    assert_identical(before["intention"], host(teacher.params["params"]))
    state, results = updates(frozen, state, 30)
    after = host(state.params)
    for old, new in zip(*map(jax.tree.leaves, (before, after)), strict=True):
        assert old.dtype == new.dtype
    old, new = (jax.tree.leaves(params["intention"]) for params in (before, after))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(old, new, strict=True))
    assert_identical(host(frozen.teacher), host(teacher))
    assert results[-1].loss["kl"] < 0.5 * results[0].loss["kl"]
    np.testing.assert_allclose(results[0].loss["total"], results[0].loss["kl"], rtol=1e-6)
    changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), before["prior_network"], after["prior_network"]
    )
    assert all(jax.tree.leaves(changed))


def test_a_student_with_the_teachers_networks_acts_as_the_teacher(toy, frozen):
    env, teacher, _, clips = toy
    state = jax.jit(env.reset, static_argnums=1)(jax.random.key(0), 5, clips)
    observation, params = env.observe(state, clips), frozen.init(0).params
    policy = StudentPolicy(params, teacher, jnp.bool_(False), frozen.student)
    acted = policy.act(observation, policy.initial_memory(5), jax.random.key(1))
    taught = teacher.act(observation.flat())
    np.testing.assert_allclose(acted.action, taught.action, atol=1e-6)
    np.testing.assert_allclose(acted.extra.posterior.mean, taught.latent_mean, atol=1e-6)
    np.testing.assert_allclose(acted.extra.posterior.logvar, taught.latent_logvar, atol=1e-6)


def test_a_gradient_reaches_the_latent_through_a_frozen_decoder_and_not_its_parameters(frozen):
    student, params = frozen.student, frozen.init(0).params
    body, latent = jnp.ones((1, student.config.proprioception_size)), jnp.ones((1, 4))
    of_params, of_latent = jax.grad(
        lambda params, latent: student.decode(params, body, latent).sum(), argnums=(0, 1)
    )(params, latent)
    assert np.any(of_latent)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_params))


def test_a_recurrent_teacher_has_no_networks_to_take_over(toy):
    env, _, student, _ = toy
    teacher = untrained_policy(env.task, lstm_num_layers=1)
    with pytest.raises(UserError, match=r"vae_config\.network: .*LSTM"):
        StudentVAE(replace(student.config, network="teacher"), teacher.config)
    config = VaeConfig.of_teacher(VaeSection(), teacher.config, **task_sizes(student))
    assert not config.begins_as(teacher.config)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_dim": 3},
        {"encoder_hidden_sizes": (16, 16)},
        {"activation": "relu"},
        {"layer_norm": False},
        {"latent": "fsq"},
        {"posterior": "residual"},
        {"start": "fresh"},
    ],
)
def test_a_student_of_another_kind_begins_fresh(toy, changes):
    _, teacher, student, _ = toy
    config = VaeConfig.of_teacher(VaeSection(**changes), teacher.config, **task_sizes(student))
    assert not config.begins_as(teacher.config)
    key = jax.random.key(0)
    assert_identical(*(StudentVAE(config, teacher.config).init(key, t) for t in (None, teacher)))


@pytest.mark.slow
def test_a_student_begins_as_its_teacher_and_learns_all_of_it(toy):
    _, teacher, mlp, _ = toy
    student = StudentVAE(VaeConfig.of_teacher(VaeSection(), teacher.config, **task_sizes(mlp)))
    config, key = student.config, jax.random.key(3)
    params = student.init(key, teacher)
    body = jax.random.normal(key, (5, config.proprioception_size))
    reference = jax.random.normal(key, (5, config.reference_size))
    found = student.forward(params, body, reference)
    raw = jnp.concatenate([reference, body], axis=-1) * teacher.obs_std + teacher.obs_mean
    taught = teacher.act(raw)
    np.testing.assert_allclose(found.action, taught.action, atol=1e-5)
    np.testing.assert_allclose(found.posterior.mean, taught.latent_mean, atol=1e-5)
    fresh = student.init(key)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, params)
    state, _ = updates(trainer_of(toy, student), trainer_of(toy, student).init(0), 2)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.params, params)
    assert all(jax.tree.leaves(moved))


# --- other posteriors and latents ---------------------------------------------------------------


def test_a_residual_posterior_is_around_the_prior(toy):
    absolute, residual = (student_of(toy, posterior=kind) for kind in ("absolute", "residual"))
    config, key = absolute.config, jax.random.key(2)
    body = jax.random.normal(key, (3, config.proprioception_size))
    reference = jax.random.normal(key, (3, config.reference_size))
    params = absolute.init(key)
    plain, found = (student.encode(params, body, reference) for student in (absolute, residual))
    prior = absolute.prior(params, body)
    np.testing.assert_allclose(found.mean, prior.mean + plain.mean, rtol=1e-6)
    np.testing.assert_array_equal(found.logvar, plain.logvar)


def test_a_quantised_latent_is_one_of_its_levels_and_costs_the_nats_to_name_it(toy):
    student = student_of(toy, latent="fsq", fsq_levels=4)
    config, key = student.config, jax.random.key(0)
    params = student.init(key)
    body = jax.random.normal(key, (64, config.proprioception_size))
    reference = 9 * jax.random.normal(key, (64, config.reference_size))
    posterior, prior = student.encode(params, body, reference), student.prior(params, body)
    levels = np.array([-1.0, -1 / 3, 1 / 3, 1.0])
    latent = np.asarray(posterior.mode())
    nearest = np.abs(latent[..., None] - levels).argmin(axis=-1)
    np.testing.assert_allclose(latent, levels[nearest], atol=1e-6)
    assert set(nearest.ravel()) == {0, 1, 2, 3}
    log_prob = np.asarray(jax.nn.log_softmax(prior.logits))
    by_hand = -np.take_along_axis(log_prob, nearest[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(posterior.kl(prior), by_hand, rtol=1e-6)
    for drawn in (prior.mode(), prior.sample(key)):
        assert drawn.shape == latent.shape
        assert np.isin(np.round(3 * np.asarray(drawn)), [-3, -1, 1, 3]).all()
    straight_through = jax.grad(lambda x: posterior.replace(bounded=x).mode().sum())
    np.testing.assert_array_equal(straight_through(posterior.bounded), 1.0)


@pytest.mark.slow
def test_a_quantised_latent_learns_and_takes_no_term_of_a_gaussian(toy):
    student = student_of(toy, latent="fsq")
    smooth = {"smoothness": LossTermSection()}
    trainer = trainer_of(toy, student, loss_terms=smooth, segment_length=4)
    _, results = updates(trainer, trainer.init(0), 20)
    assert results[-1].loss["action_mse"] < 0.8 * results[0].loss["action_mse"]
    with pytest.raises(UserError, match=r"loss_terms\.near: .*Gaussian.*fsq"):
        trainer_of(toy, student, loss_terms={"near": LossTermSection("standard_kl")})
