"""The policy acts: what a PPO update learns from."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams, forget
from vnl_mjx.models.intention import Memory
from vnl_mjx.tasks.episodes import Episodes
from vnl_mjx.tasks.imitation import StepOutcome
from vnl_mjx.training.brax_parts import NormalTanhDistribution
from vnl_mjx.training.normalizer import normalize
from vnl_mjx.training.ppo_losses import Segment, Steps
from vnl_mjx.training.rollout import RolloutStatistics


@flax.struct.dataclass
class ActingState:
    """What a rollout goes on from, [num_envs] each.

    Attributes:
        environments: the task's state.
        memory: the policy's, before the next observation.
        starts: bool, the next step is the first of its episode.
        episode_reward: summed since the reset.
        episode_steps: control steps since the reset.
    """

    environments: Any
    memory: Memory
    starts: jax.Array
    episode_reward: jax.Array
    episode_steps: jax.Array


class Actor:
    """Starts environments and runs the stochastic policy in them."""

    def __init__(self, task: Episodes, model: ActorCritic, config: PpoSection):
        """Takes the task, the networks that were sized for it and how long a rollout is."""
        self.task, self.model, self.config = task, model, config
        self._distribution = NormalTanhDistribution(event_size=task.action_size)

    def start(self, key: jax.Array, data: Any) -> ActingState:
        """Fresh environments."""
        num_envs = self.config.num_envs
        return ActingState(
            environments=self.task.reset(key, num_envs, data),
            memory=self.model.initial_memory((num_envs,)),
            starts=jnp.ones(num_envs, bool),
            episode_reward=jnp.zeros(num_envs),
            episode_steps=jnp.zeros(num_envs, jnp.int32),
        )

    def rollout(
        self,
        params: ActorCriticParams,
        normalizer: Any,
        acting: ActingState,
        data: Any,
        key: jax.Array,
    ) -> tuple[ActingState, Segment, RolloutStatistics]:
        """Runs every environment for `unroll_length` actions.

        Args:
            params: of the networks.
            normalizer: running statistics of the observation.
            acting: where the environments stand.
            data: what the task reads.
            key: one random key.

        Returns:
            The environments afterwards, what was visited [unroll_length, num_envs, ...], and sums.
        """

        def step(acting: ActingState, key: jax.Array):
            return self.control_step(params, normalizer, acting, data, key)

        keys = jax.random.split(key, self.config.unroll_length)
        moved, (steps, statistics) = jax.lax.scan(step, acting, keys)
        segment = Segment(steps, acting.memory, self.task.observe(moved.environments, data))
        return moved, segment, jax.tree.map(lambda x: jnp.sum(x, axis=0), statistics)

    def control_step(
        self,
        params: ActorCriticParams,
        normalizer: Any,
        acting: ActingState,
        data: Any,
        key: jax.Array,
    ) -> tuple[ActingState, tuple[Steps, RolloutStatistics]]:
        """One action in every environment: what it led to, and sums over the environments."""
        task, num_envs = self.task, self.config.num_envs
        latent_key, action_key = jax.random.split(key)
        observation = task.observe(acting.environments, data)
        noise = jax.random.normal(latent_key, (num_envs, self.model.policy_config.latent_dim))
        output = self.model.act(params, normalize(normalizer, observation), acting.memory, noise)
        raw_action = self._distribution.sample_no_postprocessing(output.logits, action_key)
        action = self._distribution.postprocess(raw_action)
        environments, outcome, num_steps = repeated_step(
            task, acting.environments, action, data, self.config.action_repeat
        )
        done = outcome.terminated | outcome.truncated
        steps = Steps(
            observation=observation,
            latent_noise=noise,
            raw_action=raw_action,
            logits=output.logits,
            log_prob=self._distribution.log_prob(output.logits, raw_action),
            starts=acting.starts,
            reward=outcome.reward,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            valid=~outcome.failures["nan"],
            guide=task.guide(acting.environments, data),
        )
        episode_reward = acting.episode_reward + outcome.reward
        episode_steps = acting.episode_steps + num_steps
        statistics = RolloutStatistics(
            num_steps=num_steps,
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
        acting = ActingState(
            environments=task.reset_finished(environments, outcome, data),
            memory=forget(output.memory, self.model.initial_memory((num_envs,)), done),
            starts=done,
            episode_reward=jnp.where(done, 0.0, episode_reward),
            episode_steps=jnp.where(done, 0, episode_steps),
        )
        sums = jax.tree.map(lambda x: jnp.sum(x, dtype=jnp.float32), statistics)
        return acting, (steps, sums)


def repeated_step(
    task: Episodes, environments: Any, action: jax.Array, data: Any, times: int
) -> tuple[Any, StepOutcome, jax.Array]:
    """Applies `action` for several control steps, or fewer where the episode ends before.

    Returns:
        The environments, the outcome (reward, terms and distances summed over the steps made, flags of
        the last) and the number of steps made [num_envs] int32.
    """
    environments, total = task.step(environments, action, data)
    made = jnp.ones(total.reward.shape, jnp.int32)
    for _ in range(times - 1):
        moved, outcome = task.step(environments, action, data)
        goes_on = ~(total.terminated | total.truncated)
        environments = masking.where(goes_on, moved, environments)
        add = lambda sum_, x, where=goes_on: sum_ + jnp.where(where, x, 0)  # noqa: E731
        raise_ = lambda flag, x, where=goes_on: flag | (where & x)  # noqa: E731
        total = StepOutcome(
            reward=add(total.reward, outcome.reward),
            terms=jax.tree.map(add, total.terms, outcome.terms),
            distances=jax.tree.map(add, total.distances, outcome.distances),
            failures=jax.tree.map(raise_, total.failures, outcome.failures),
            terminated=raise_(total.terminated, outcome.terminated),
            truncated=raise_(total.truncated, outcome.truncated),
            overflowed=raise_(total.overflowed, outcome.overflowed),
        )
        made += goes_on
    return environments, total, made
