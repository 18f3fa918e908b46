"""A latent of one's own: Laplace distributions, whose long tails let a dimension jump.

    python examples/extend/laplace.py [key=value ...]

Distils the bundled teacher for some tiny updates.
"""

import os
import sys

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.cli import main

HERE = os.path.relpath(__file__)
TINY = """vae_config.latent_dim=8 training_config.num_envs=16 training_config.unroll_length=8
    training_config.batch_size=64 training_config.num_steps=384 eval_config.num_episodes=4"""


@flax.struct.dataclass
class Laplace:
    """Independent dimensions around `center`; both are [..., latent_dim]."""

    center: jax.Array
    log_scale: jax.Array

    def sample(self, key):
        noise = jax.random.laplace(key, self.center.shape)
        return self.center + jnp.exp(self.log_scale) * noise

    def mode(self):
        return self.center

    def kl(self, prior):
        distance = jnp.abs(self.center - prior.center)
        log_ratio = self.log_scale - prior.log_scale
        tail = jnp.exp(log_ratio - distance * jnp.exp(-self.log_scale))
        return distance * jnp.exp(-prior.log_scale) + tail - log_ratio - 1.0

    def parameters(self):
        return {"scale": jnp.exp(self.log_scale)}


class Family:
    """Posterior and prior; their layers are part of the student's networks."""

    def __init__(self, config):
        self.config = config

    def posterior(self, features):
        center = nn.Dense(self.config.latent_dim, name="center")(features)
        log_scale = nn.Dense(self.config.latent_dim, name="log_scale")(features)
        return Laplace(center, jnp.clip(log_scale, -3.0, 1.0))

    prior = posterior


if __name__ == "__main__":
    own = f"vae_config.latent={HERE}:Family"
    sys.exit(main(["distill", own, *TINY.split(), *sys.argv[1:]]))
