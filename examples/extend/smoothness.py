"""A smoothness term in a student's loss: the posterior's mode changes little from step to step.

    python examples/extend/smoothness.py [key=value ...]

Distils the bundled teacher for some tiny updates; the log has the term as loss/smooth.
"""

import os
import sys

import jax.numpy as jnp

from vnl_mjx.cli import main

HERE = os.path.relpath(__file__)
TINY = "num_envs=16 unroll_length=10 segment_length=10 batch_size=80 num_steps=480"


def smoothness(output, segment):
    """Squared change of the latent since the step before, [time, env]; 0 at the first step of an episode."""
    change = jnp.mean(jnp.square(jnp.diff(output.posterior.mode(), axis=0)), axis=-1)
    together = segment.valid[1:] & segment.valid[:-1] & ~segment.starts[1:]
    return jnp.pad(jnp.where(together, change, 0.0), ((1, 0), (0, 0)))


if __name__ == "__main__":
    tiny = [f"training_config.{setting}" for setting in TINY.split()]
    term = "training_config.loss_terms.smooth"
    own = [f"{term}.function={HERE}:smoothness", f"{term}.weight=0.1"]
    sys.exit(main(["distill", *tiny, "eval_config.num_episodes=4", *own, *sys.argv[1:]]))
