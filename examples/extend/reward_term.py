"""A reward term of one's own in a teacher's training: the tip of the tail pays where it is held up.

    python examples/extend/reward_term.py [key=value ...]

Trains for two tiny updates; the log has the term as rollout/tail_up. Its arguments are configuration too:
task.reward.terms.tail_up.arguments.height=0.05.
"""

import os
import sys

import jax.numpy as jnp

from vnl_mjx.cli import main

HERE = os.path.relpath(__file__)
TINY = "ppo.num_envs=8 ppo.unroll_length=8 ppo.num_steps=128 ppo.num_epochs=1 eval_config.video_at_end=false"


def tail_up(state, reference, walker, *, body="vertebra_C30", height=0.1):
    """Height [] of `body` (the tip of the tail) over the floor, as a share of `height` metres, at most 1."""
    tip = walker.body_names.index(body)
    return jnp.clip((state.physics.xpos[tip, 2] - walker.floor_height) / height, 0.0, 1.0)


if __name__ == "__main__":
    term = [
        f"task.reward.terms.tail_up.function={HERE}:tail_up",
        "task.reward.terms.tail_up.weight=0.2",
    ]
    sys.exit(main(["train-teacher", *TINY.split(), *term, *sys.argv[1:]]))
