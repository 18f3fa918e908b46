"""Runs a policy in an environment: the common loop of training, evaluation and viewing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import masking
from vnl_mjx.tasks.environment import Environment, Observation, StepOutcome
from vnl_mjx.tasks.policies import Acted, Policy


@flax.struct.dataclass
class RolloutState:
    """Holds the state from which a rollout continues, [num_envs] each.

    Attributes:
        environments: the environment's state.
        memory: the policy's memory, before the next observation.
        starts: bool, the next step is the first of its episode.
        alive: bool, the episode is running; always true if finished environments are reset.
        episode_reward: reward since the reset.
        episode_steps: int32 control steps since the reset.
    """

    environments: Any
    memory: Any
    starts: jax.Array
    alive: jax.Array
    episode_reward: jax.Array
    episode_steps: jax.Array


class Step(NamedTuple):
    """Holds one step of all environments, for the recording function.

    Attributes:
        before: state of the environments before the step.
        observation: of `before`.
        memory: the policy's memory, before the observation.
        starts: [num_envs] bool, the first step of an episode.
        alive: [num_envs] bool, the episode had not ended before this step.
        acted: the policy's output.
        outcome: outcome of the step.
        after: state of the environments after the step, before any reset.
    """

    before: Any
    observation: Observation
    memory: Any
    starts: jax.Array
    alive: jax.Array
    acted: Acted
    outcome: StepOutcome
    after: Any


@flax.struct.dataclass
class RolloutStatistics:
    """Holds sums over a rollout's [time, num_envs] steps; divide by `num_steps` for means.

    Attributes:
        num_steps: [] control steps summed over environments.
        reward: [] sum of rewards.
        terms: named sums of reward terms.
        distances: named sums of distances to the reference (`StepOutcome.distances`).
        failures: named counts of failure flags ("nan" counts diverged simulations).
        episodes: [] number of episodes that ended.
        survived: [] number of these without a failure.
        episode_reward: [] sum over the ended episodes.
        episode_steps: [] sum over the ended episodes.
        overflowed: [] steps in which the simulation left contacts out.
        left_out: [] steps that learning leaves out because something in them is not finite.
    """

    num_steps: jax.Array
    reward: jax.Array
    terms: dict[str, jax.Array]
    distances: dict[str, jax.Array]
    failures: dict[str, jax.Array]
    episodes: jax.Array
    survived: jax.Array
    episode_reward: jax.Array
    episode_steps: jax.Array
    overflowed: jax.Array
    left_out: jax.Array = flax.struct.field(default_factory=lambda: np.float32(0))


def begin(environments: Any, policy: Policy, num_envs: int) -> RolloutState:
    """Returns the state of a rollout that starts from freshly reset `environments`."""
    return RolloutState(
        environments=environments,
        memory=policy.initial_memory(num_envs),
        starts=jnp.ones(num_envs, bool),
        alive=jnp.ones(num_envs, bool),
        episode_reward=jnp.zeros(num_envs),
        episode_steps=jnp.zeros(num_envs, jnp.int32),
    )


def rollout(
    env: Environment,
    policy: Policy,
    state: RolloutState,
    data: Any,
    key: jax.Array,
    num_steps: int,
    record: Callable[[Step], Any],
    reset: bool = True,
) -> tuple[RolloutState, Any, RolloutStatistics]:
    """Runs every environment for `num_steps` actions.

    Args:
        env: the environments.
        policy: the policy.
        state: current state, [num_envs].
        data: data that the environment reads besides its state.
        key: one random key.
        num_steps: actions, static.
        record: selects what to keep of each step; unread values are not computed.
        reset: restart environments whose episode ended; otherwise they continue with `alive` false.

    Returns:
        The next state, the records [num_steps, num_envs, ...], and the sums.
    """
    num_envs = state.starts.shape[0]

    def step(state: RolloutState, key: jax.Array):
        observation = env.observe(state.environments, data)
        acted = policy.act(observation, state.memory, key)
        after, outcome = env.step(state.environments, acted.action, data)
        done = outcome.done
        recorded = record(
            Step(
                before=state.environments,
                observation=observation,
                memory=state.memory,
                starts=state.starts,
                alive=state.alive,
                acted=acted,
                outcome=outcome,
                after=after,
            )
        )
        moved = RolloutState(
            environments=after,
            memory=acted.memory,
            starts=jnp.zeros(num_envs, bool),
            alive=state.alive & ~done,
            episode_reward=state.episode_reward + outcome.reward,
            episode_steps=state.episode_steps + outcome.num_steps,
        )
        sums = _sums(outcome, moved.episode_reward, moved.episode_steps)
        if reset:
            moved = moved.replace(
                environments=env.reset_finished(after, outcome, data),
                memory=masking.where(done, policy.initial_memory(num_envs), acted.memory),
                starts=done,
                alive=state.alive,
                episode_reward=jnp.where(done, 0.0, moved.episode_reward),
                episode_steps=jnp.where(done, 0, moved.episode_steps),
            )
        return moved, (recorded, sums)

    state, (recorded, sums) = jax.lax.scan(step, state, jax.random.split(key, num_steps))
    return state, recorded, jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)


def _sums(
    outcome: StepOutcome, episode_reward: jax.Array, episode_steps: jax.Array
) -> RolloutStatistics:
    done = outcome.done
    statistics = RolloutStatistics(
        num_steps=outcome.num_steps,
        reward=outcome.reward,
        terms=outcome.terms,
        distances=outcome.distances,
        failures=outcome.failures,
        episodes=done,
        survived=outcome.truncated,
        episode_reward=jnp.where(done, episode_reward, 0.0),
        episode_steps=jnp.where(done, episode_steps, 0),
        overflowed=outcome.overflowed,
    )
    return jax.tree.map(lambda x: jnp.sum(x, dtype=jnp.float32), statistics)
