"""A recurrent student: encoder, prior and decoder read what a GRU makes of the body's past.

    python examples/extend/recurrent.py [key=value ...]

Distils the bundled teacher for some tiny updates, with back-propagation through segments of ten steps.
"""

import os
import sys

import flax.linen as nn
import jax.numpy as jnp

from vnl_mjx.cli import main
from vnl_mjx.models.vae import StudentModule

HERE = os.path.relpath(__file__)
WIDTH = 64
TINY = "num_envs=16 unroll_length=10 segment_length=10 batch_size=80 num_steps=480"


class GruStudent(StudentModule):
    """The context is the proprioception beside the GRU's state, which is the memory [..., WIDTH]."""

    def setup(self):
        super().setup()
        self.gru = nn.GRUCell(WIDTH)

    @staticmethod
    def initial_memory(config, batch_shape):
        return jnp.zeros((*batch_shape, WIDTH))

    def context(self, proprioception, memory):
        memory, seen = self.gru(memory, proprioception)
        return jnp.concatenate([proprioception, seen], axis=-1), memory


if __name__ == "__main__":
    tiny = [f"training_config.{setting}" for setting in TINY.split()]
    own = [
        f"vae_config.network={HERE}:GruStudent",
        "eval_config.num_episodes=4",
    ]
    sys.exit(main(["distill", *own, *tiny, *sys.argv[1:]]))
