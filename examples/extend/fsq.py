"""A discrete latent: finite scalar quantisation (Mentzer et al. 2023) with a learned categorical prior.

    python examples/extend/fsq.py [key=value ...]

Each dimension of the latent is one of `LEVELS` numbers evenly spaced in [-1, 1]. Distils the bundled teacher
for some tiny updates; loss/kl is then the nats that the prior needs to name the code.
"""

import os
import sys

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.cli import main

HERE = os.path.relpath(__file__)
LEVELS = 5  # odd: one of them is 0
TINY = """vae_config.latent_dim=8 training_config.kl_weight=1e-3 training_config.num_envs=16
    training_config.unroll_length=8 training_config.batch_size=64 training_config.num_steps=384
    eval_config.num_episodes=4"""


@flax.struct.dataclass
class Categorical:
    """The prior: `logits` [..., latent_dim, LEVELS] of the levels of each dimension."""

    logits: jax.Array

    def sample(self, key):
        return to_latent(jax.random.categorical(key, self.logits))

    def mode(self):
        return to_latent(jnp.argmax(self.logits, axis=-1))

    def parameters(self):
        log_prob = jax.nn.log_softmax(self.logits)
        return {"entropy": -jnp.sum(jnp.exp(log_prob) * log_prob, axis=-1)}


@flax.struct.dataclass
class Code:
    """The posterior: all its probability is at one code, `bounded` [..., latent_dim] in (-1, 1) rounded."""

    bounded: jax.Array

    def mode(self):  # straight through: rounded forward, as if not rounded backward
        return self.bounded + jax.lax.stop_gradient(to_latent(self.level()) - self.bounded)

    def sample(self, key):
        return self.mode()

    def level(self):
        return jnp.round((self.bounded + 1) * (LEVELS - 1) / 2).astype(jnp.int32)

    def kl(self, prior):  # of a point mass: minus the log probability of the code
        log_prob = jax.nn.log_softmax(prior.logits)
        return -jnp.take_along_axis(log_prob, self.level()[..., None], axis=-1)[..., 0]

    def parameters(self):
        return {"level": self.level()}


class FSQ:
    """The family; its layers are part of the student's networks."""

    def __init__(self, config):
        self.latent_dim = config.latent_dim

    def posterior(self, features):
        return Code(jnp.tanh(nn.Dense(self.latent_dim, name="code")(features)))

    def prior(self, features):
        logits = nn.Dense(self.latent_dim * LEVELS, name="logits")(features)
        return Categorical(logits.reshape(*logits.shape[:-1], self.latent_dim, LEVELS))


def to_latent(level):
    """The numbers [..., latent_dim] in [-1, 1] of `level` [..., latent_dim], 0 ... LEVELS - 1."""
    return 2.0 * level / (LEVELS - 1) - 1.0


if __name__ == "__main__":
    sys.exit(
        main(
            [
                "distill",
                f"vae_config.latent={HERE}:FSQ",
                *TINY.split(),
                *sys.argv[1:],
            ]
        )
    )
