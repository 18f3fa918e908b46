"""Computes with diagonal Gaussians, given by mean and log-variance; broadcasts over leading axes."""

import jax
import jax.numpy as jnp


def kl_divergence(
    mean_q: jax.Array, logvar_q: jax.Array, mean_p: jax.Array, logvar_p: jax.Array
) -> jax.Array:
    """Returns KL(q || p) of each dimension in nats, not reduced: [..., dim] in, [..., dim] out."""
    variance_ratio = jnp.exp(logvar_q - logvar_p)
    squared_shift = jnp.square(mean_q - mean_p) * jnp.exp(-logvar_p)
    return 0.5 * (variance_ratio + squared_shift - 1.0 + logvar_p - logvar_q)
