"""A term of a student's loss: its action changes from step to step as the teacher's does.

    python examples/extend/action_change.py [key=value ...]

Distils the bundled teacher for some tiny updates; the log has the term as loss/change.
"""

import os
import sys

import jax.numpy as jnp

from vnl_mjx.cli import main

HERE = os.path.relpath(__file__)
TINY = "num_envs=16 unroll_length=10 segment_length=10 batch_size=80 num_steps=480"


def action_change(output, segment):
    """Squared error of the action's change, mean over actuators, [time, env]; 0 where an episode begins."""
    error = output.action - segment.steps.teacher_action
    change = jnp.mean(jnp.square(jnp.diff(error, axis=0)), axis=-1)
    together = segment.valid[1:] & segment.valid[:-1] & ~segment.starts[1:]
    return jnp.pad(jnp.where(together, change, 0.0), ((1, 0), (0, 0)))


if __name__ == "__main__":
    tiny = [f"training_config.{setting}" for setting in TINY.split()]
    term = "training_config.loss_terms.change"
    own = [f"{term}.function={HERE}:action_change", f"{term}.weight=0.1"]
    sys.exit(main(["distill", *tiny, "eval_config.num_episodes=4", *own, *sys.argv[1:]]))
