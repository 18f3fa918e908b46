"""Which trainers of brax run here: a few steps of each, on the imitation task of the bundled teacher.

    python examples/compat/brax_trainers.py [--replicate] [--playground] [NAME ...]

--replicate gives JAX back `jax.device_put_replicated`, which it no longer has and brax still calls.
--playground trains through MuJoCo Playground's own wrapper in place of ours (needs the package `playground`).
"""

import argparse
import importlib
import logging
import time

import jax
import jax.numpy as jnp

import vnl_mjx
from vnl_mjx.compat.brax_env import BraxTaskEnv, PlaygroundTaskEnv, wrap_for_training
from vnl_mjx.errors import first_line

EPISODE = {"episode_length": 16, "num_eval_envs": 2}
FEW = {**EPISODE, "num_timesteps": 256, "num_envs": 8}
TRAINERS = {
    "ppo": FEW | {"unroll_length": 4, "batch_size": 8, "num_minibatches": 2, "num_evals": 2},
    "sac": FEW | {"min_replay_size": 64, "max_replay_size": 512, "batch_size": 16},
    "ars": EPISODE | {"num_timesteps": 256, "number_of_directions": 4, "top_directions": 2},
    "es": EPISODE | {"num_timesteps": 256, "population_size": 4},
    "apg": EPISODE | {"policy_updates": 2, "num_envs": 2, "horizon_length": 4},
}


def replicate(tree, devices):
    """What `jax.device_put_replicated` did, on one device."""
    assert len(devices) == 1, "one device, please"
    return jax.tree.map(lambda x: jnp.asarray(x)[None], tree)


def run(name, env, wrap):
    """Trains; returns what came of it."""
    train = importlib.import_module(f"brax.training.agents.{name}.train").train
    params = train(env, wrap_env_fn=wrap, **TRAINERS[name])[1]
    finite = all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(params))
    return "runs" if finite else "parameters are not finite"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[], help=", ".join(TRAINERS))
    parser.add_argument("--replicate", action="store_true")
    parser.add_argument("--playground", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    if args.replicate:
        jax.device_put_replicated = replicate
    loaded = vnl_mjx.load("demo")
    env, wrap = BraxTaskEnv(loaded.env.task, loaded.clips), wrap_for_training
    if args.playground:
        from mujoco_playground import wrapper

        env = PlaygroundTaskEnv(loaded.env.task, loaded.clips, auto_reset=False)
        wrap = wrapper.wrap_for_brax_training
    for name in args.names or TRAINERS:
        started = time.perf_counter()
        try:
            result = run(name, env, wrap)
        except Exception as error:  # whatever comes is the answer
            result = f"{type(error).__name__}: {first_line(error)}"
        print(f"{name:4} {time.perf_counter() - started:5.1f} s  {result}", flush=True)


if __name__ == "__main__":
    main()
