"""The student: shapes, clamps, and that it can learn at all."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.training import losses
from vnl_mjx.training.segments import Segment

CONFIG = VaeConfig(
    reference_size=11,
    proprioception_size=7,
    action_size=3,
    activation="silu",
    latent_dim=5,
    encoder_hidden_sizes=(32, 16),
    decoder_hidden_sizes=(32,),
    prior_hidden_sizes=(16,),
)


@pytest.fixture(scope="module")
def vae():
    return StudentVAE(CONFIG)


@pytest.fixture(scope="module")
def params(vae):
    return vae.init(jax.random.key(0))


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_shapes_for_any_leading_axes(vae, params, batch):
    proprioception, reference = jnp.ones((*batch, 7)), jnp.ones((*batch, 11))
    output = vae.forward(params, proprioception, reference, jax.random.key(1))
    assert output.action.shape == (*batch, 3)
    assert output.latent.shape == output.posterior.mean.shape == (*batch, 5)
    latent = vae.prior(params, proprioception).sample(jax.random.key(2))
    action = vae.decode(params, proprioception, latent)
    assert latent.shape == (*batch, 5) and action.shape == (*batch, 3)


def test_actions_are_squashed_and_logvars_clamped(vae, params):
    huge = jax.tree.map(lambda x: 100 * x, params)
    output = vae.forward(huge, 10 * jnp.ones((8, 7)), jnp.ones((8, 11)), jax.random.key(1))
    assert np.abs(output.action).max() <= 1
    for distribution in (output.posterior, output.prior):
        assert distribution.logvar.min() >= CONFIG.logvar_min
        assert distribution.logvar.max() <= CONFIG.logvar_max


def test_prior_and_decoder_need_no_reference(vae, params):
    """The prior sees proprioception alone; with the latent fixed, so does the decoder."""
    a = vae.forward(params, jnp.ones((1, 7)), jnp.zeros((1, 11)), jax.random.key(0))
    b = vae.forward(params, jnp.ones((1, 7)), jnp.ones((1, 11)), jax.random.key(0))
    np.testing.assert_array_equal(a.prior.mean, b.prior.mean)
    assert np.any(a.posterior.mean != b.posterior.mean)


def test_config_round_trip():
    assert from_dict(VaeConfig, to_dict(CONFIG)) == CONFIG


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation"):
        StudentVAE(replace(CONFIG, activation="sulu"))


def test_overfits_one_batch(vae, params):
    keys = jax.random.split(jax.random.key(3), 3)
    proprioception = jax.random.normal(keys[0], (64, 7))
    reference = jax.random.normal(keys[1], (64, 11))
    target = jnp.tanh(jax.random.normal(keys[2], (64, 3)))
    steps = losses.LabelledSteps(reference[None], proprioception[None], target[None])
    everywhere = jnp.ones((1, 64), bool)
    batch = Segment(steps, everywhere, everywhere)
    optimizer = optax.adam(3e-3)

    def loss_fn(params, key):
        terms = losses.distillation_loss(vae)(params, batch, key)
        action_mse = batch.mean(terms["action_mse"])
        return action_mse + 1e-5 * batch.mean(terms["kl"]), action_mse

    @jax.jit
    def train(params):
        def step(carry, key):
            params, opt_state = carry
            (_, action_mse), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, key)
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), action_mse

        carry = (params, optimizer.init(params))
        return jax.lax.scan(step, carry, jax.random.split(jax.random.key(4), 1500))[1]

    errors = train(params)
    assert errors[-50:].mean() < 0.02 < 0.2 < errors[0]
