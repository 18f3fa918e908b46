"""PPO teaches the toy walker to follow sines, of phases and a frequency that it has not seen too."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ppo_batches import quick_jit
from toy_trainers import NUM_UPDATES, SINE_PPO, sine_clips, sine_ppo

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.environment import RepeatedAction
from vnl_mjx.training.ppo import Ppo


@dataclass(frozen=True)
class Run:
    """A trainer, what it learnt and how well that does."""

    trainer: Ppo
    before: FrozenPolicy
    after: FrozenPolicy
    failure_rate: np.ndarray
    updates: list[Any]

    def reward(self, policy: FrozenPolicy, clips: ReferenceClips, scale: float = 1.0) -> float:
        """Mean reward of half a second from the start of every clip; control is the mode, scaled."""
        return float(self._mean_reward(policy, jax.device_put(clips), scale))

    def __post_init__(self):
        task = self.trainer.env.task
        every = jnp.arange(4)

        @jax.jit
        def mean_reward(policy, clips, scale):
            def one(clip):
                key = jax.random.PRNGKey(0)
                state = task.reset_to(key, clips, clip, jnp.int32(0), key)

                def step(state, _):
                    action = scale * policy.act(task.observe(state, clips).flat()).action
                    state, outcome = task.step(state, action, clips)
                    return state, outcome.reward

                return jax.lax.scan(step, state, length=50)[1]

            return jnp.mean(jax.vmap(one)(every % clips.num_clips))

        object.__setattr__(self, "_mean_reward", mean_reward)


@pytest.fixture(scope="module")
def clips(toy_walker) -> ReferenceClips:
    return sine_clips(toy_walker, [1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 1.5, 4.5])


@pytest.fixture(scope="module")
def trainer(toy_walker, clips) -> Ppo:
    """One trainer, compiled once: it holds no state."""
    return sine_ppo(toy_walker, clips)


@pytest.fixture(scope="module")
def run(trainer) -> Run:
    state = trainer.init(0)
    # Copies: the state's own buffers are given away to the next update.
    before = jax.tree.map(jnp.copy, trainer.frozen_policy(state))
    updates = []
    for _ in range(NUM_UPDATES):
        state, update = trainer.update(state)
        updates.append(jax.device_get((update.rollout, update.learning)))
    failure_rate = np.asarray(state.rollout.environments.failure_rate)
    return Run(trainer, before, trainer.frozen_policy(state), failure_rate, updates)


@pytest.mark.slow
def test_it_learns_to_follow(run, clips):
    """1.2 is perfect; what stands still earns a part of it, since a sine comes by where it stands."""
    still, untrained = run.reward(run.before, clips, 0.0), run.reward(run.before, clips)
    trained = run.reward(run.after, clips)
    assert trained > 0.9
    assert trained > max(still, untrained) + 0.3


@pytest.mark.slow
def test_it_follows_what_it_has_not_seen(run, toy_walker):
    unseen = sine_clips(toy_walker, [1.0, 1.5, 1.5, 2.0], [1.5, 0.0, 3.0, 3.0])
    still = run.reward(run.before, unseen, 0.0)
    assert run.reward(run.after, unseen) > still + 0.25


@pytest.mark.slow
def test_learning_is_as_its_statistics_say(run):
    first, last = run.updates[0], run.updates[-1]

    def mean_reward(rollout):
        return rollout.reward / rollout.num_steps

    assert mean_reward(last[0]) > mean_reward(first[0]) + 0.2
    # The less there is left to explain, the lower it is again.
    assert max(learning.loss["explained_variance"] for _, learning in run.updates) > 0.6
    rates = np.array([learning.learning_rate for _, learning in run.updates])
    section = SINE_PPO.adaptive_rate
    assert ((section.lowest <= rates) & (rates <= 1.0001 * section.highest)).all()
    assert len(np.unique(rates)) > 3
    kl = np.mean([learning.loss["policy_kl"] for _, learning in run.updates[10:]])
    assert 0.2 * section.target_kl < kl < 3 * section.target_kl
    assert not any(learning.skipped for _, learning in run.updates)
    assert ((run.failure_rate >= 0) & (run.failure_rate < 1)).all()  # 1 before the first episode


@pytest.mark.slow
def test_a_seed_gives_the_same_run_bit_for_bit(run):
    ends = []
    for seed in (0, 0, 1):
        state = run.trainer.init(seed)
        for _ in range(2):
            state, _ = run.trainer.update(state)
        ends.append(jax.device_get(state))
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])
    differs = jax.tree.map(lambda a, b: np.any(a != b), ends[0].params, ends[2].params)
    assert all(jax.tree.leaves(differs.policy["params"]["encoder"]))


def test_an_action_is_repeated_whatever_the_number_of_clips(trainer, clips):
    """What the task knows of its four clips is no environment's own; there are five."""
    task = trainer.env
    state = quick_jit(task.reset, static_argnums=1)(jax.random.PRNGKey(0), 5, clips)
    action = np.zeros((5, task.action_size), np.float32)
    repeated = RepeatedAction(task, 3)
    moved, outcome = quick_jit(lambda state: repeated.step(state, action, clips))(state)
    made = outcome.num_steps
    assert moved.failure_rate.shape == (4,) and outcome.reward.shape == (5,)
    np.testing.assert_array_equal(moved.imitation.num_steps, made)
    np.testing.assert_array_equal(made, 3)
