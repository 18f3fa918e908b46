"""Starts a policy from a guide before PPO: regression on the guide's actions, in rounds.

PPO's own guidance takes few gradient steps per environment step, and its limit on the change of the policy
grows with the number of actuators; a body with many of them falls before its policy has learnt the guide.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.config.teacher import GuidedStartSection
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.training.cloning import Demonstrations, clone, observed_statistics
from vnl_mjx.training.ppo import Guide, Ppo
from vnl_mjx.training.trainer import TrainState

_UNROLL = 50  # control steps that run without a look at the progress


def started_from_guide(
    trainer: Ppo,
    state: TrainState,
    guide: Guide,
    config: GuidedStartSection,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[TrainState, float]:
    """Returns the state with a policy regressed on the guide, and the share that it explains.

    The guide acts in the first round, with noise. In the others the policy acts, and the guide says what it
    would do (Ross et al. 2011, "A reduction of imitation learning and structured prediction to no-regret
    online learning"). States with NaN are left out. The observation's statistics become those of all rounds.
    """
    shown, explained, policy = [], 0.0, None
    run = jax.jit(partial(_run, trainer, guide, config.noise))
    num_envs = trainer.num_envs
    unrolls = max(1, round(config.num_steps / config.num_rounds / (num_envs * _UNROLL)))
    for round_, key in enumerate(jax.random.split(jax.random.key(seed), config.num_rounds)):
        environments = trainer.env.reset(key, num_envs, trainer.data)
        for unroll in range(unrolls):
            progress(round_ * unrolls + unroll, config.num_rounds * unrolls)
            key, now = jax.random.split(key)
            environments, rows, actions = run(environments, policy, now)
            found = np.isfinite(rows).all(axis=1) & np.isfinite(actions).all(axis=1)
            shown.append(Demonstrations(np.asarray(rows)[found], np.asarray(actions)[found]))
        both = Demonstrations(*(np.concatenate(column) for column in zip(*shown, strict=True)))
        state = state.replace(extra=observed_statistics(state.extra, both.observation))
        state, explained = clone(trainer, state, both, config, seed)
        policy = trainer.frozen_policy(state)
    progress(1, 1)
    return state, explained


def _run(
    trainer: Ppo,
    guide: Guide,
    noise: float,
    environments: Any,
    policy: FrozenPolicy | None,
    key: jax.Array,
) -> tuple[Any, jax.Array, jax.Array]:
    """Returns the environments after some steps, and observations and the guide's actions, [step, ...]."""
    env, data = trainer.env, trainer.data

    def step(environments: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        row = env.observe(environments, data).flat()
        wanted = guide(environments, data)
        done = wanted if policy is None else policy.act(row).action
        done = jnp.clip(done + noise * jax.random.normal(key, done.shape), -1.0, 1.0)
        environments, outcome = env.step(environments, done, data)
        return env.reset_finished(environments, outcome, data), (row, wanted)

    environments, shown = jax.lax.scan(step, environments, jax.random.split(key, _UNROLL))
    rows, actions = (part.reshape(-1, part.shape[-1]) for part in shown)
    return environments, rows, actions
