"""Draws latents with the posterior's variance spread over the dimensions in another way."""

from typing import Any, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp

Scheme = Literal["standard", "uniform", "inverted"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
_MIN_VARIANCE = 1e-12


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
        """Returns latents [..., latent] around the mode of a `Latent` that has a standard deviation."""
        mean, std = posterior.mode(), posterior.parameters()["std"]
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        return mean + self.gain * spread_std(std, self.scheme) * noise


def spread_std(std: jax.Array, scheme: str) -> jax.Array:
    """Returns standard deviations [..., latent] by one of `SCHEMES`, from the posterior's [..., latent]."""
    if scheme == "standard":
        return std
    variance = jnp.maximum(jnp.square(std), _MIN_VARIANCE)
    total = jnp.sum(variance, axis=-1, keepdims=True)
    weight = jnp.ones_like(variance) if scheme == "uniform" else 1.0 / variance
    return jnp.sqrt(total * weight / jnp.sum(weight, axis=-1, keepdims=True))
