"""Draws latents with the posterior's variance spread over the dimensions in another way."""

from typing import Any, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp

Scheme = Literal["standard", "uniform", "inverted"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
MIN_VARIANCE = 1e-12


@flax.struct.dataclass
class LatentNoise:
    """Defines the noise of a decoded latent.

    All schemes have the posterior's total variance over dimensions, times `gain` squared.

    Attributes:
        gain: [] factor of every standard deviation.
        scheme: static; "standard" keeps each dimension's variance, "uniform" gives all dimensions the mean
            variance, "inverted" gives each a variance in proportion to one over its own.
    """

    gain: jax.Array
    scheme: str = flax.struct.field(pytree_node=False, default="standard")

    def drawn(self, posterior: Any, key: jax.Array) -> jax.Array:
        """Returns latents [..., latent] around the posterior's mean; `posterior` is a `Gaussian`."""
        noise = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
        return posterior.mean + self.gain * spread_std(posterior.logvar, self.scheme) * noise


def spread_std(logvar: jax.Array, scheme: str) -> jax.Array:
    """Returns standard deviations [..., latent] by one of `SCHEMES`, from log-variances [..., latent]."""
    if scheme == "standard":
        return jnp.exp(0.5 * logvar)
    variance = jnp.maximum(jnp.exp(logvar), MIN_VARIANCE)
    total = jnp.sum(variance, axis=-1, keepdims=True)
    weight = jnp.ones_like(variance) if scheme == "uniform" else 1.0 / variance
    return jnp.sqrt(total * weight / jnp.sum(weight, axis=-1, keepdims=True))
