"""Every option and built-in term of a student's loss against numbers worked by hand."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import check_grad

from vnl_mjx.config.losses import STUDENT_TERMS, ActionLossSection, KlLossSection
from vnl_mjx.config.schedules import LossTermSection, ScheduleSection
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.models.vae import VaeOutput
from vnl_mjx.training import latent_terms, losses
from vnl_mjx.training.losses import action_distance, distillation_loss, further_terms, latent_cost
from vnl_mjx.training.segments import Segment

CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def segment_of(starts, steps: Any = ()) -> Segment:
    starts = jnp.asarray(starts, bool)
    return Segment(steps, starts, jnp.ones_like(starts))


# --- the action ---------------------------------------------------------------------------------

# Errors 0.3 and -0.4 of two actuators; 0.05 and 0.2 for the Huber loss.
ACTION, TARGET = jnp.array([0.5, -0.2]), jnp.array([0.2, 0.2])


@pytest.mark.parametrize(
    ("section", "action", "expected"),
    [
        (ActionLossSection(), ACTION, (0.09 + 0.16) / 2),
        (ActionLossSection("l2"), ACTION, 0.5),
        # half a square within 0.1, then 0.1 * (distance - 0.05)
        (ActionLossSection("huber"), jnp.array([0.25, 0.4]), (0.00125 + 0.015) / 2),
        (ActionLossSection("huber", huber_delta=1.0), ACTION, (0.045 + 0.08) / 2),
        # atanh of 0.5, -0.2 and 0.2: 0.549306, -0.202733, 0.202733
        (ActionLossSection(before_tanh=True), ACTION, (0.346574**2 + 0.405465**2) / 2),
        (ActionLossSection("l2", before_tanh=True), ACTION, np.hypot(0.346574, 0.405465)),
    ],
)
def test_the_distance_of_an_action(section, action, expected):
    np.testing.assert_allclose(action_distance(action, TARGET, section), expected, **CLOSE)


def test_squashed_actions_are_compared_where_they_are_finite():
    section = ActionLossSection(before_tanh=True)
    ones, zeros = jnp.ones(3), jnp.zeros(3)
    value, grad = jax.value_and_grad(lambda x: action_distance(x, zeros, section))(ones)
    limit = np.arctanh(np.float64(np.float32(1 - 1e-6)))
    np.testing.assert_allclose(value, limit**2, rtol=1e-6)
    assert np.isfinite(grad).all()


def test_the_norm_of_no_error_has_no_gradient():
    grad = jax.grad(lambda x: action_distance(x, TARGET, ActionLossSection("l2")))(TARGET)
    np.testing.assert_array_equal(grad, 0.0)


# --- the KL -------------------------------------------------------------------------------------

LOG_4 = float(np.log(4.0))
# One step of one environment, two dimensions: KL(N(1, 1) || N(0, 1)) = 1/2 and
# KL(N(0, 4) || N(0, 1)) = (4 - 1 - log 4) / 2.
POSTERIOR = Gaussian(jnp.array([[[1.0, 0.0]]]), jnp.array([[[0.0, LOG_4]]]))
PRIOR = Gaussian(jnp.zeros((1, 1, 2)), jnp.zeros((1, 1, 2)))
KL = np.array([0.5, (3.0 - LOG_4) / 2])
ONE_STEP = segment_of([[True]])


def cost(section, posterior=POSTERIOR, prior=PRIOR, segment=ONE_STEP):
    return latent_cost(posterior, prior, segment, section)


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_balancing_shares_the_gradient_out_and_changes_no_value(share):
    def value(posterior, prior):
        return cost(KlLossSection(prior_share=share), posterior, prior).sum()

    np.testing.assert_allclose(value(POSTERIOR, PRIOR), KL.sum(), **CLOSE)
    of_posterior, of_prior = jax.grad(value, argnums=(0, 1))(POSTERIOR, PRIOR)
    to_posterior, to_prior = (1.0, 1.0) if share is None else (1.0 - share, share)
    # d/d mean_q = mean_q - mean_p, d/d logvar_q = (var_q - 1) / 2 at a prior of N(0, 1)
    np.testing.assert_allclose(of_posterior.mean[0, 0], to_posterior * np.array([1.0, 0]), **CLOSE)
    np.testing.assert_allclose(
        of_posterior.logvar[0, 0], to_posterior * np.array([0.0, 1.5]), **CLOSE
    )
    # d/d mean_p = -(mean_q - mean_p), d/d logvar_p = (1 - var_q - (mean_q - mean_p)^2) / 2
    np.testing.assert_allclose(of_prior.mean[0, 0], to_prior * np.array([-1.0, 0.0]), **CLOSE)
    np.testing.assert_allclose(of_prior.logvar[0, 0], to_prior * np.array([-0.5, -1.5]), **CLOSE)


def test_free_nats_are_of_the_mean_of_each_dimension():
    """Two environments; dimension means of KL are 0.25 and 2.25."""
    mean = jnp.array([[[1.0, 3.0], [0.0, 0.0]]])
    posterior, zeros = Gaussian(mean, jnp.zeros_like(mean)), jnp.zeros_like(mean)
    segment = segment_of([[True, True]])

    def value(posterior):
        section = KlLossSection(free_nats=0.5)
        return cost(section, posterior, Gaussian(zeros, zeros), segment)

    np.testing.assert_allclose(value(posterior), [[0.5 + 4.5, 0.5]], **CLOSE)
    grad = jax.grad(lambda posterior: segment.mean(value(posterior)))(posterior)
    np.testing.assert_allclose(grad.mean, [[[0.0, 1.5], [0.0, 0.0]]], **CLOSE)


def test_the_mean_over_dimensions_is_a_weight_of_their_sum():
    weight = ScheduleSection(0.3, start=0.6, end_step=0.5)
    assert KlLossSection("sum").summed_weight(weight, 3) == weight
    found = KlLossSection("mean").summed_weight(weight, 3)
    assert (found.value, found.start, found.end_step) == pytest.approx((0.1, 0.2, 0.5))


# --- built-in terms -----------------------------------------------------------------------------

# Three steps of two environments, one dimension; the second environment begins an episode at step 1.
MEAN = jnp.array([[[1.0], [2.0]], [[3.0], [0.5]], [[2.97], [0.0]]])
STARTS = [[False, True], [False, True], [False, False]]
OUTPUT = VaeOutput(Gaussian(MEAN, jnp.zeros_like(MEAN)), PRIOR, MEAN, jnp.zeros((3, 2, 2)), ())
SEGMENT = segment_of(STARTS)


def ar1(mean, before, c=0.95):
    """KL(N(mean, 1) || N(c before, 1 - c^2)) in one dimension."""
    variance = 1 - c**2
    return 0.5 * (1 / variance + (mean - c * before) ** 2 / variance - 1 + np.log(variance))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("standard_kl", {}, [[0.5, 2.0], [4.5, 0.125], [0.5 * 2.97**2, 0.0]]),
        ("smoothness", {}, [[0, 0], [3 - 0.99, 0], [0.0, 0.495]]),
        ("smoothness", {"coefficient": 1.0}, [[0, 0], [2.0, 0], [0.03, 0.5]]),
        # left out where the step before is unknown, to N(0, 1) where an episode begins
        ("ar1_kl", {}, [[0, 2.0], [ar1(3, 1), 0.125], [ar1(2.97, 3), ar1(0, 0.5)]]),
        (
            "ar1_kl",
            {"coefficient": 0.5},
            [[0, 2.0], [ar1(3, 1, 0.5), 0.125], [ar1(2.97, 3, 0.5), ar1(0, 0.5, 0.5)]],
        ),
    ],
)
def test_a_term_by_its_name(name, arguments, expected):
    sections = {
        name: LossTermSection(arguments=arguments),
        "other": LossTermSection(name, ScheduleSection(0.3), arguments),
    }
    terms, weights = further_terms(sections, "terms", (), 100, latent_terms.STUDENT_TERMS)
    for term in terms.values():
        np.testing.assert_allclose(term(OUTPUT, SEGMENT), expected, **CLOSE)
    found = [float(weight(jnp.float32(0))) for weight in weights.values()]
    np.testing.assert_allclose(found, [1.0, 0.3], rtol=1e-6)


def test_the_configuration_knows_the_terms_that_there_are():
    assert STUDENT_TERMS.keys() == latent_terms.STUDENT_TERMS.keys()


@pytest.mark.parametrize("name", ["ar1_kl", "smoothness"])
def test_a_term_that_compares_steps_has_the_gradient_of_its_value(name):
    term = latent_terms.STUDENT_TERMS[name]

    @jax.jit
    def value(flat):
        mean = flat.reshape(MEAN.shape)
        posterior = Gaussian(mean, jnp.zeros_like(mean))
        return jnp.sum(term(OUTPUT.replace(posterior=posterior), SEGMENT))

    with jax.enable_x64(True):
        start = np.asarray(MEAN, np.float64).ravel() + 0.1 * np.arange(MEAN.size)
        assert check_grad(value, jax.grad(value), start) < 1e-5


# --- together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kl"),
    [
        (ActionLossSection(), KlLossSection()),
        (ActionLossSection("l2"), KlLossSection(free_nats=0.6)),
        (ActionLossSection("huber", before_tanh=True), KlLossSection(prior_share=1.0)),
    ],
)
def test_what_is_logged_is_the_same_whatever_the_loss_is(action, kl):
    output = VaeOutput(POSTERIOR, PRIOR, POSTERIOR.mean, ACTION[None, None], ())
    student: Any = SimpleNamespace(unroll=lambda *_: output)
    nothing = jnp.zeros((1, 1, 1))
    segment = segment_of([[True]], losses.LabelledSteps(nothing, nothing, TARGET[None, None]))
    terms = distillation_loss(student, None, action, kl)({}, segment, jax.random.key(0))
    np.testing.assert_allclose(terms["action_mse"], [[0.125]], **CLOSE)
    np.testing.assert_allclose(terms["kl"], [[KL.sum()]], **CLOSE)
    np.testing.assert_allclose(terms["kl_per_dim"], KL[None, None], **CLOSE)
    expected = action_distance(ACTION, TARGET, action)
    np.testing.assert_allclose(terms[action.term], [[expected]], **CLOSE)
    np.testing.assert_allclose(terms[kl.term], cost(kl), **CLOSE)
