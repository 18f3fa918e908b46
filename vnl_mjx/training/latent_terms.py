"""Defines loss terms of the latent besides the KL to the learned prior.

A student's term, which `loss_terms` names, is a function of its `VaeOutput` and the segment, [time, env].
"""

import jax
import jax.numpy as jnp
import optax

from vnl_mjx import gaussians
from vnl_mjx.models.vae import VaeOutput
from vnl_mjx.training.segments import Segment

AR1_COEFFICIENT = 0.95  # track-mjx's, of the latent mean one control step ago
SMOOTHNESS_COEFFICIENT = 0.99  # PULSE's, likewise


def latent_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """Returns KL(N(mean, exp(logvar)) || N(0, 1)) of each latent dimension, [..., latent], nats."""
    zeros = jnp.zeros_like(mean)
    return gaussians.kl_divergence(mean, logvar, zeros, zeros)


def latent_ar1_kl(
    mean: jax.Array, logvar: jax.Array, starts: jax.Array, coefficient: float = AR1_COEFFICIENT
) -> jax.Array:
    """Returns each latent dimension's KL to N(c * previous mean, 1 - c^2), or N(0, 1) at a start.

    Args:
        mean: [time, env, latent].
        logvar: [time, env, latent].
        starts: [time, env] bool, the first step of an episode; the first row always counts as a start.
        coefficient: c.

    Returns:
        [time, env, latent], nats.
    """
    previous = jnp.concatenate([jnp.zeros_like(mean[:1]), mean[:-1]])
    is_first = starts.at[0].set(True)[..., None]
    prior_mean = jnp.where(is_first, 0.0, coefficient * previous)
    prior_logvar = jnp.where(is_first, 0.0, jnp.log(1.0 - coefficient**2))
    return gaussians.kl_divergence(mean, logvar, prior_mean, prior_logvar)


def standard_kl(output: VaeOutput, segment: Segment) -> jax.Array:
    """Returns KL(posterior || N(0, I)), summed over the latent: [time, env], nats."""
    return jnp.sum(latent_kl(output.posterior.mean, output.posterior.logvar), axis=-1)


def ar1_kl(output: VaeOutput, segment: Segment, coefficient: float = AR1_COEFFICIENT) -> jax.Array:
    """Returns KL(posterior || N(c * previous mean, 1 - c^2)), summed over the latent: [time, env], nats.

    The KL is to N(0, I) at the start of an episode, and 0 if the previous step is in another segment.
    """
    posterior = output.posterior
    kl = latent_ar1_kl(posterior.mean, posterior.logvar, segment.starts, coefficient)
    return jnp.where(segment.starts | _follows(segment), jnp.sum(kl, axis=-1), 0.0)


def smoothness(
    output: VaeOutput, segment: Segment, coefficient: float = SMOOTHNESS_COEFFICIENT
) -> jax.Array:
    """Returns the norm of the posterior's mode minus c times the previous one, [time, env]; 0 at a start.

    PULSE (`phc/learning/amp_agent.py`) and track-mjx (`agent/mlp_distill`) have this term.
    """
    mode = output.posterior.mode()
    change = mode[1:] - coefficient * mode[:-1]
    norm = jnp.pad(optax.safe_norm(change, 0.0, axis=-1), ((1, 0), (0, 0)))
    return jnp.where(_follows(segment), norm, 0.0)


STUDENT_TERMS = {term.__name__: term for term in (standard_kl, ar1_kl, smoothness)}
GAUSSIAN_TERMS = ("standard_kl", "ar1_kl")  # read mean and log-variance


def _follows(segment: Segment) -> jax.Array:
    """Returns whether the previous step is of the same episode and segment, [time, env] bool."""
    return ~segment.starts.at[0].set(True)
