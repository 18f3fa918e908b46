"""Distillation losses. The parts are returned unreduced; only the total is a scalar."""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import gaussians
from vnl_mjx.models.vae import Gaussian


def action_error(action: jax.Array, target: jax.Array) -> jax.Array:
    """Squared difference of post-tanh actions, not reduced: [..., action_size]."""
    if action.shape != target.shape:
        raise ValueError(f"{action.shape=} differs from {target.shape=}")
    return jnp.square(action - target)


def latent_kl(posterior: Gaussian, prior: Gaussian) -> jax.Array:
    """KL(posterior || prior) of each latent dimension, not reduced: [..., latent_dim], nats."""
    if posterior.mean.shape != prior.mean.shape:
        raise ValueError(f"{posterior.mean.shape=} differs from {prior.mean.shape=}")
    return gaussians.kl_divergence(posterior.mean, posterior.logvar, prior.mean, prior.logvar)


@flax.struct.dataclass
class DistillationLoss:
    """The weighted sum and what it is made of.

    Attributes:
        total: [] action_weight * action_mse + kl_weight * kl.
        action_mse: [] mean over samples and action dimensions.
        kl: [] nats, summed over latent dimensions, mean over samples.
    """

    total: jax.Array
    action_mse: jax.Array
    kl: jax.Array


def distillation_loss(
    action: jax.Array,
    target: jax.Array,
    posterior: Gaussian,
    prior: Gaussian,
    action_weight: float | jax.Array,
    kl_weight: float | jax.Array,
) -> DistillationLoss:
    """The objective of the VAE student (DESIGN: action MSE plus weighted KL to the learned prior)."""
    action_mse = jnp.mean(action_error(action, target))
    kl = jnp.mean(jnp.sum(latent_kl(posterior, prior), axis=-1))
    return DistillationLoss(action_weight * action_mse + kl_weight * kl, action_mse, kl)
