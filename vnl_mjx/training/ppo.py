"""PPO with the intention network: a rollout, then epochs of minibatches over it."""

from dataclasses import fields
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vnl_mjx import devices
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.episodes import Episodes
from vnl_mjx.training import schedules
from vnl_mjx.training.minibatches import if_finite, minibatch_epochs, num_groups
from vnl_mjx.training.normalizer import fresh_normalizer, normalize, updated_normalizer
from vnl_mjx.training.ppo_acting import ActingState, Actor
from vnl_mjx.training.ppo_losses import LossWeights, Segment, ppo_loss
from vnl_mjx.training.ppo_optimizer import ActorCriticOptimizer, LearningRate
from vnl_mjx.training.rollout import RolloutStatistics
from vnl_mjx.training.trainer import LearningStatistics, Trainer


@flax.struct.dataclass
class PpoState:
    """Everything that a run continues from.

    Attributes:
        params: of policy and value network.
        opt_state: the optimiser's state.
        normalizer: brax's running statistics of the observation.
        learning_rate: [] in force where it is adaptive.
        acting: the environments.
        key: [2] uint32.
        num_updates: [] int32 updates done; environment steps are a multiple of it.
    """

    params: ActorCriticParams
    opt_state: Any
    normalizer: Any
    learning_rate: jax.Array
    acting: ActingState
    key: jax.Array
    num_updates: jax.Array


class Ppo(Trainer[PpoState]):
    """The trainer. The loss of an update is a `PpoLoss`, its weights are `LossWeights`."""

    environments = "acting"

    def __init__(
        self,
        task: Episodes,
        model: ActorCritic,
        data: Any,
        config: PpoSection,
        mesh: Mesh | None = None,
    ):
        """Builds the optimiser; nothing is compiled yet.

        Args:
            task: batched environments, whose observations `model` was sized for.
            model: policy and value network.
            data: what the task reads: the training clips.
            config: validated settings.
            mesh: of the devices to train on (`devices`); None: one.
        """
        super().__init__(task, data, config.num_envs, config.steps_per_update, mesh)
        if config.num_envs % config.num_minibatches:
            raise ValueError(f"{config.num_minibatches=} must divide {config.num_envs=}")
        self.model, self.config = model, config
        self.optimizer = ActorCriticOptimizer(config)
        sections = {field.name: getattr(config, field.name) for field in fields(LossWeights)}
        self._weights = {name: schedules.weight(s.weight, s) for name, s in sections.items()}
        self._learning_rate = LearningRate(config.learning_rate, config.num_steps)
        self._actor = Actor(task, model, config)

    def policy(self, state: PpoState) -> FrozenPolicy:
        """The policy as it stands; its arrays are `state`'s own."""
        statistics = state.normalizer
        return FrozenPolicy(
            state.params.policy, statistics.mean, statistics.std, self.model.policy_config
        )

    def initial_state(self, key: jax.Array, data: Any) -> PpoState:
        """See `Trainer`."""
        key, params_key, env_key = jax.random.split(key, 3)
        params = self.model.init(params_key)
        return PpoState(
            params=params,
            opt_state=self.optimizer.init(params),
            normalizer=fresh_normalizer(self.model.policy_config.observation_size),
            learning_rate=jnp.float32(self.config.learning_rate.initial),
            acting=self._actor.start(env_key, data),
            key=key,
            num_updates=jnp.int32(0),
        )

    def rollout(
        self, state: PpoState, data: Any, key: jax.Array
    ) -> tuple[PpoState, Segment, RolloutStatistics]:
        """See `Trainer`."""
        acting, segment, statistics = self._actor.rollout(
            state.params, state.normalizer, state.acting, data, key
        )
        return state.replace(acting=acting), segment, statistics

    def visited_placement(self) -> Segment:
        """See `Trainer`."""
        over_time, now = devices.split(self.mesh, axis=1), devices.split(self.mesh)
        return Segment(steps=over_time, memory=now, last_observation=now)

    def learn(
        self, state: PpoState, visited: Segment, key: jax.Array
    ) -> tuple[PpoState, LearningStatistics]:
        """See `Trainer`."""
        config = self.config
        env_steps = self.scheduled_steps(state)
        weights = LossWeights(**{name: value(env_steps) for name, value in self._weights.items()})
        rate = self._learning_rate.at(env_steps, state.learning_rate)

        def loss(params: ActorCriticParams, batch: Segment, key: jax.Array):
            scaled = lambda obs: normalize(state.normalizer, obs)  # noqa: E731
            parts = ppo_loss(params, self.model, batch, scaled, key, weights, config)
            return parts.total, parts

        def minibatch(learnt, rows: jax.Array, key: jax.Array):
            params, opt_state, rate = learnt
            batch = visited.environments(rows)
            (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
            rate = self._learning_rate.adapted(rate, parts.policy_kl)
            stepped = (*self.optimizer.step(params, opt_state, grads, rate), rate)
            learnt, grad_norm, skipped = if_finite(grads, stepped, learnt)
            return learnt, LearningStatistics(parts, grad_norm, skipped, rate, weights)

        learnt = (state.params, state.opt_state, rate)
        (params, opt_state, rate), statistics = minibatch_epochs(
            minibatch,
            learnt,
            key,
            config.num_envs,
            config.num_minibatches,
            config.num_epochs,
            num_groups(config.num_envs, config.num_envs // config.num_minibatches),
        )
        state = state.replace(
            params=params,
            opt_state=opt_state,
            learning_rate=rate,
            # After learning, so that the policy is judged with the statistics that it acted with.
            normalizer=updated_normalizer(state.normalizer, visited),
        )
        return state, statistics
