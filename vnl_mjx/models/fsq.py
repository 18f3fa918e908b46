"""Defines a discrete latent: finite scalar quantisation with a learned categorical prior.

Each dimension takes one of a few values, evenly spaced in [-1, 1] (Mentzer et al. 2023, "Finite scalar
quantization: VQ-VAE made simple"). `kl` is the prior's code length in nats.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Categorical:
    """Defines the prior.

    Attributes:
        logits: [..., latent_dim, levels] logits of the levels of each dimension.
    """

    logits: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """See `Latent.sample`; no gradient flows."""
        return self._latent(jax.random.categorical(key, self.logits))

    def mode(self) -> jax.Array:
        """See `Latent.mode`."""
        return self._latent(jnp.argmax(self.logits, axis=-1))

    def parameters(self) -> dict[str, jax.Array]:
        """See `Latent.parameters`."""
        log_prob = jax.nn.log_softmax(self.logits)
        return {"entropy": -jnp.sum(jnp.exp(log_prob) * log_prob, axis=-1)}

    def _latent(self, level: jax.Array) -> jax.Array:
        return to_latent(level, self.logits.shape[-1])


@flax.struct.dataclass
class Code:
    """Defines the posterior, a point mass at one code.

    Attributes:
        bounded: [..., latent_dim] in (-1, 1), rounded to the nearest level when read.
        levels: static; number of levels.
    """

    bounded: jax.Array
    levels: int = flax.struct.field(pytree_node=False)

    def mode(self) -> jax.Array:
        """See `Latent.mode`; rounded in the forward pass, with a straight-through gradient."""
        rounded = to_latent(self.level(), self.levels)
        return self.bounded + jax.lax.stop_gradient(rounded - self.bounded)

    def sample(self, key: jax.Array) -> jax.Array:
        """See `Latent.sample`."""
        return self.mode()

    def level(self) -> jax.Array:
        """Returns the level of each dimension, [..., latent_dim] int32."""
        return jnp.round((self.bounded + 1) * (self.levels - 1) / 2).astype(jnp.int32)

    def kl(self, prior: Categorical) -> jax.Array:
        """See `Latent.kl`; for a point mass, minus the log-probability of the code."""
        log_prob = jax.nn.log_softmax(prior.logits)
        return -jnp.take_along_axis(log_prob, self.level()[..., None], axis=-1)[..., 0]

    def parameters(self) -> dict[str, jax.Array]:
        """See `Latent.parameters`."""
        return {"level": self.level()}


class FsqFamily:
    """Builds posterior and prior, each from one dense layer of the features."""

    def __init__(self, config: Any):
        """Takes latent_dim and fsq_levels of a `VaeConfig`."""
        self._latent_dim, self._levels = config.latent_dim, config.fsq_levels

    def posterior(self, features: jax.Array) -> Code:
        """See `LatentFamily.posterior`."""
        return Code(jnp.tanh(nn.Dense(self._latent_dim, name="code")(features)), self._levels)

    def prior(self, features: jax.Array) -> Categorical:
        """See `LatentFamily.prior`."""
        logits = nn.Dense(self._latent_dim * self._levels, name="logits")(features)
        return Categorical(logits.reshape(*logits.shape[:-1], self._latent_dim, self._levels))


def to_latent(level: jax.Array, levels: int) -> jax.Array:
    """Returns the values in [-1, 1] of `level` [..., latent_dim], 0 ... levels - 1."""
    return 2.0 * level / (levels - 1) - 1.0
