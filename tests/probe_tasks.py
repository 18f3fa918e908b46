"""Small problems with known answers, that tell the bugs of a learner apart, each an `Environment`.

They are tables of one shape, handed over as the task's data: one compiled trainer solves them all.
"""

from collections.abc import Mapping, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.tasks.environment import Observation, StepOutcome

NUM_STATES = 6


@flax.struct.dataclass
class Tables:
    """A Markov decision process with one action a in (-1, 1).

    Attributes:
        observation: [state, 2] reference, proprioception.
        reward: [state, 3] c0, c1, c2 of c0 + c1 * a + c2 * a^2, for acting in the state.
        following: [state, 2] int32, the next state where a <= 0, where a > 0.
        ends: [state, 2] probability that the step fails, that it is the last for another reason.
        starts: [state] probability of the first state.
        diverged: [env] bool, the environment's simulation never works.
        noise: [env] added to whatever the environment observes and earns.
    """

    observation: jax.Array
    reward: jax.Array
    following: jax.Array
    ends: jax.Array
    starts: jax.Array
    diverged: jax.Array
    noise: jax.Array


@flax.struct.dataclass
class TableState:
    """Environments: their states [env] and random keys [env, 2]."""

    at: jax.Array
    key: jax.Array


class TableTask:
    """Plays the tables that it is given as data."""

    observation_sizes, action_size = {"reference": 1, "proprioception": 1}, 1

    def reset(self, key: jax.Array, num_envs: int, data: Tables) -> TableState:
        return self._start(jax.random.split(key, num_envs), data)

    def observe(self, state: TableState, data: Tables) -> Observation:
        seen = data.observation[state.at] + data.noise[:, None]
        return Observation.of(reference=seen[:, :1], proprioception=seen[:, 1:])

    def step(
        self, state: TableState, action: jax.Array, data: Tables
    ) -> tuple[TableState, StepOutcome]:
        action = action[:, 0]
        split = jax.vmap(jax.random.split)(state.key)
        chance = jax.vmap(jax.random.uniform)(split[:, 1])
        fails, stops = data.ends[state.at].T
        terminated = (chance < fails) | data.diverged
        truncated = (chance < fails + stops) & ~terminated
        powers = jnp.stack([jnp.ones_like(action), action, jnp.square(action)], axis=-1)
        reward = jnp.sum(data.reward[state.at] * powers, axis=-1) + data.noise
        at = data.following[state.at, (action > 0).astype(jnp.int32)]
        outcome = StepOutcome(
            reward=reward,
            terms={},
            distances={},
            failures={"nan": data.diverged},
            terminated=terminated,
            truncated=truncated,
            overflowed=jnp.zeros_like(terminated),
            num_steps=jnp.ones(terminated.shape, jnp.int32),
        )
        return TableState(at, split[:, 0]), outcome

    def reset_finished(self, state: TableState, outcome: StepOutcome, data: Tables) -> TableState:
        done = outcome.terminated | outcome.truncated
        fresh = self._start(state.key, data)
        return TableState(
            jnp.where(done, fresh.at, state.at),
            jnp.where(done[:, None], fresh.key, state.key),
        )

    def _start(self, keys: jax.Array, data: Tables) -> TableState:
        split = jax.vmap(jax.random.split)(keys)
        logits = jnp.log(data.starts)
        at = jax.vmap(lambda key: jax.random.categorical(key, logits))(split[:, 1])
        return TableState(at.astype(jnp.int32), split[:, 0])


def tables(
    num_envs: int,
    observation: Sequence[tuple[float, float]],
    reward: Sequence[tuple[float, float, float]],
    ends: Sequence[tuple[float, float]],
    following: Mapping[int, tuple[int, int]] | None = None,
    starts: Sequence[int] = (0,),
    diverged: Sequence[int] = (),
    noise: float = 0.0,
) -> Tables:
    """Tables of the first states; `following` is the state itself where not given, `noise` of `diverged`."""

    def padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
        result = np.zeros((NUM_STATES, len(rows[0])), np.float32)
        result[: len(rows)] = rows
        return result

    same = {state: (state, state) for state in range(NUM_STATES)}
    is_diverged = np.isin(np.arange(num_envs), diverged)
    return Tables(
        observation=padded(observation),
        reward=padded(reward),
        following=np.array([{**same, **(following or {})}[s] for s in range(NUM_STATES)], np.int32),
        ends=padded(ends),
        starts=np.isin(np.arange(NUM_STATES), starts).astype(np.float32) / len(starts),
        diverged=is_diverged,
        noise=np.where(is_diverged, noise, 0.0).astype(np.float32),
    )


FAILS, STOPS, GOES_ON = (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)


def constant_reward(num_envs: int) -> Tables:
    """Reward 1, once: the value is 1."""
    return tables(num_envs, [(0.0, 0.0)], [(1.0, 0.0, 0.0)], [FAILS])


def observed_reward(num_envs: int) -> Tables:
    """Reward 1 or -2, once, as observed."""
    rewards = [(1.0, 0.0, 0.0), (-2.0, 0.0, 0.0)]
    return tables(num_envs, [(1.0, 0.0), (-1.0, 0.0)], rewards, [FAILS] * 2, starts=(0, 1))


def delayed_reward(num_envs: int) -> Tables:
    """The sign of the first action decides whether two steps after it there is a reward of 1."""
    return tables(
        num_envs,
        observation=[(0.0, 0.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)],
        reward=[(0.0, 0.0, 0.0)] * 3 + [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)],
        ends=[GOES_ON] * 3 + [FAILS] * 2,
        following={0: (2, 1), 1: (3, 3), 2: (4, 4)},
    )


def best_action(num_envs: int) -> Tables:
    """Reward -(a - 0.5)^2, once, and nothing to see."""
    return tables(num_envs, [(0.0, 0.0)], [(-0.25, 1.0, -1.0)], [FAILS])


def observed_action(num_envs: int) -> Tables:
    """Reward -(a - x)^2, x = 0.6 or -0.6 as the reference tells: it must pass through the latent."""
    rewards = [(-0.36, 1.2, -1.0), (-0.36, -1.2, -1.0)]
    return tables(num_envs, [(1.0, 0.0), (-1.0, 0.0)], rewards, [FAILS] * 2, starts=(0, 1))


def truncated_and_failed(num_envs: int) -> Tables:
    """Reward 1 a step; half of the steps are the last, by truncation in state 0, by failure in state 1."""
    return tables(
        num_envs,
        observation=[(1.0, 0.0), (-1.0, 0.0)],
        reward=[(1.0, 0.0, 0.0)] * 2,
        ends=[(0.0, 0.5), (0.5, 0.0)],
        starts=(0, 1),
    )


def remembered_action(num_envs: int) -> Tables:
    """Reward a or -a in the third step, as observed in the first; the other two observe nothing.

    Whatever draws its action from the last observation alone earns 0 on average, since it acts alike in
    both states.
    """
    return tables(
        num_envs,
        observation=[(0.0, 1.0), (0.0, -1.0)],
        reward=[(0.0, 0.0, 0.0)] * 4 + [(0.0, 1.0, 0.0), (0.0, -1.0, 0.0)],
        ends=[GOES_ON] * 4 + [FAILS] * 2,
        following={0: (2, 2), 1: (3, 3), 2: (4, 4), 3: (5, 5)},
        starts=(0, 1),
    )


def broken_simulation(num_envs: int, noise: float) -> Tables:
    """`observed_action`, but that one environment's simulation never works and gives `noise`."""
    rewards = [(-0.36, 1.2, -1.0), (-0.36, -1.2, -1.0)]
    return tables(
        num_envs,
        [(1.0, 0.5), (-1.0, 0.5)],
        rewards,
        [FAILS] * 2,
        starts=(0, 1),
        diverged=(3,),
        noise=noise,
    )
