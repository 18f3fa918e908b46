"""Control steps per second of the Gymnasium environments, against the package's own rollout; random actions.

python examples/compat/gymnasium_speed.py [NUM_ENVS]
"""

import sys
import time

import flax.struct
import gymnasium
import jax

import vnl_mjx
from vnl_mjx.tasks.environment import VectorEnvironment
from vnl_mjx.tasks.policies import Acted
from vnl_mjx.training.rollout import begin, rollout

NUM_STEPS, REPEATS = 100, 5
ID = "vnl_mjx.gymnasium_ids:vnl_mjx/Imitation-v0"


@flax.struct.dataclass
class RandomPolicy:
    """Uniform actions."""

    action_size: int = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs):
        return ()

    def act(self, observation, memory, key):
        shape = (len(observation.flat()), self.action_size)
        return Acted(jax.random.uniform(key, shape, minval=-1.0), memory, ())


def single():
    env = gymnasium.make(ID)
    env.reset(seed=0)

    def steps():
        for _ in range(NUM_STEPS):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        return NUM_STEPS

    return steps


def vector(num_envs):
    envs = gymnasium.make_vec(ID, num_envs=num_envs)
    envs.reset(seed=0)

    def steps():
        for _ in range(NUM_STEPS):
            envs.step(envs.action_space.sample())
        return NUM_STEPS * num_envs

    return steps


def own(num_envs):
    loaded = vnl_mjx.load("demo")
    env, data = VectorEnvironment(loaded.env.task), loaded.clips
    policy, key = RandomPolicy(env.action_size), jax.random.key(0)
    roll = jax.jit(
        lambda state, data: rollout(env, policy, state, data, key, NUM_STEPS, lambda step: ())
    )
    state = begin(jax.jit(env.reset, static_argnums=1)(key, num_envs, data), policy, num_envs)

    def steps():
        jax.block_until_ready(roll(state, data))
        return NUM_STEPS * num_envs

    return steps


if __name__ == "__main__":
    num_envs = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    ways = {
        "one environment": single(),
        f"vector of {num_envs}": vector(num_envs),
        f"own rollout of {num_envs}": own(num_envs),
    }
    best = dict.fromkeys(ways, 0.0)
    for repeat in range(1 + REPEATS):  # in turn, so that what else runs here hits all alike
        for name, steps in ways.items():
            started = time.perf_counter()
            rate = steps() / (time.perf_counter() - started)
            best[name] = max(best[name], rate) if repeat else 0.0  # the first one compiles
    reference = list(best.values())[-1]
    for name, rate in best.items():
        print(f"{name:20} {rate:8,.0f} steps/s  {rate / reference:6.1%}")
