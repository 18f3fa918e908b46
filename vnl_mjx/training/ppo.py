"""Trains the intention network by PPO: a rollout, then epochs of minibatches over it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.environment import Environment, Observation, RepeatedAction
from vnl_mjx.tasks.policies import Acted
from vnl_mjx.training.brax_parts import (
    NormalTanhDistribution,
    fresh_normalizer,
    normalize,
    updated_normalizer,
)
from vnl_mjx.training.learner import Learner, LossFunction
from vnl_mjx.training.losses import further_terms
from vnl_mjx.training.optimizers import ActorCriticAdam
from vnl_mjx.training.ppo_losses import ActedSteps, ppo_loss
from vnl_mjx.training.rollout import RolloutState, Step
from vnl_mjx.training.schedules import LearningRate, constant, schedule
from vnl_mjx.training.segments import Segment
from vnl_mjx.training.trainer import Trainer, TrainState

TRACK_MJX_STEPS_PER_COUNT = 1000  # it counts thousands of environment steps

# Function of the environments' state and the task's data; returns an action [num_envs, action_size].
Guide = Callable[[Any, Any], jax.Array]


@flax.struct.dataclass
class ExploringPolicy:
    """Draws latents and actions, for exploration.

    Attributes:
        params: parameters of the networks.
        normalizer: running statistics of the observation.
        model: static; the networks' functions.
    """

    params: ActorCriticParams
    normalizer: Any
    model: ActorCritic = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return self.model.initial_memory((num_envs,))

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`; `extra` is the part of `ActedSteps` that is known before the step."""
        config = self.model.policy_config
        distribution = NormalTanhDistribution(event_size=config.action_size)
        latent_key, action_key = jax.random.split(key)
        flat = observation.flat()
        noise = jax.random.normal(latent_key, (flat.shape[0], config.latent_dim))
        scaled = normalize(self.normalizer, flat, config.observation_clip)
        output = self.model.act(self.params, scaled, memory, noise)
        raw_action = distribution.sample_no_postprocessing(output.logits, action_key)
        extra = {
            "observation": flat,
            "latent_noise": noise,
            "raw_action": raw_action,
            "logits": output.logits,
            "log_prob": distribution.log_prob(output.logits, raw_action),
        }
        return Acted(distribution.postprocess(raw_action), output.memory, extra)


class Ppo(Trainer):
    """Implements the trainer. `TrainState.extra` holds brax's running statistics of the observation."""

    def __init__(
        self,
        env: Environment,
        model: ActorCritic,
        data: Any,
        config: PpoSection,
        mesh: Mesh | None = None,
        guide: Guide | None = None,
    ):
        """Builds the optimiser; nothing is compiled yet.

        Args:
            env: environments; their observations fit `model`.
            model: policy and value network.
            data: data of the environment: the training clips, or ().
            config: validated settings.
            mesh: mesh of the devices to train on (`devices`); None: one device.
            guide: gives actions to imitate early in training, weighted by `config.guidance`.

        Raises:
            UserError: a function of `config.loss_terms` cannot be found.
        """
        if config.num_envs % config.num_minibatches:
            raise ValueError(f"{config.num_minibatches=} must divide {config.num_envs=}")
        if config.action_repeat > 1:
            env = RepeatedAction(env, config.action_repeat)
        self.model, self.config, self._guide = model, config, guide
        num_steps = config.num_steps
        weights = {
            "policy": constant(1.0),
            "value": constant(config.value_weight),
            "negative_entropy": schedule(config.entropy, num_steps),
            "latent_kl": schedule(config.latent_kl, num_steps),
            "latent_ar1_kl": schedule(config.latent_ar1_kl, num_steps),
            "action_std_distance": schedule(config.action_std, num_steps),
        }
        if guide is not None:
            weights["guidance"] = schedule(config.guidance, num_steps)
        self._terms, extra = further_terms(config.loss_terms, "ppo.loss_terms", weights, num_steps)
        weights |= extra
        learner = Learner(
            weights,
            ActorCriticAdam(config.max_grad_norm, config.value_learning_rate),
            LearningRate(config.learning_rate, num_steps, config.adaptive_rate),
            num_envs=config.num_envs,
            unroll_length=config.unroll_length,
            segment_length=config.unroll_length,
            minibatch_size=config.num_envs // config.num_minibatches,
            num_epochs=config.num_epochs,
            first_step=config.value_only_steps or 0,
        )
        super().__init__(env, data, learner, config.steps_per_update, mesh)

    def frozen_policy(self, state: TrainState) -> FrozenPolicy:
        """Returns the current policy, which shares the arrays of `state`."""
        statistics = state.extra
        return FrozenPolicy(
            state.params.policy, statistics.mean, statistics.std, self.model.policy_config
        )

    def initial_params(self, key: jax.Array, data: Any) -> tuple[ActorCriticParams, Any]:
        """See `Trainer`."""
        return self.model.init(key), fresh_normalizer(self.model.policy_config.observation_size)

    def policy(self, params: Any, extra: Any, data: Any, env_steps: jax.Array) -> ExploringPolicy:
        """See `Trainer`."""
        return ExploringPolicy(params, extra, self.model)

    def record(self, step: Step, data: Any, env_steps: jax.Array) -> ActedSteps:
        """See `Trainer`."""
        outcome = step.outcome
        return ActedSteps(
            **step.acted.extra,
            reward=outcome.reward,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            guide=self._guided(step, data, env_steps),
        )

    def _guided(self, step: Step, data: Any, env_steps: jax.Array) -> jax.Array | None:
        """Returns the guide's action; without guidance, the policy's own action, which has no cost."""
        guide = self._guide
        if guide is None:
            return None
        logits = step.acted.extra["logits"]
        distribution = NormalTanhDistribution(event_size=logits.shape[-1] // 2)
        counts = self.learner.weights["guidance"](env_steps) > 0
        return jax.lax.cond(
            counts, lambda: guide(step.before, data), lambda: distribution.mode(logits)
        )

    def valid(self, step: Step) -> jax.Array:
        """See `Trainer`."""
        return step.outcome.valid

    def last(self, state: RolloutState, data: Any) -> jax.Array:
        """See `Trainer`."""
        return self.env.observe(state.environments, data).flat()

    def loss(self, extra: Any) -> LossFunction:
        """See `Trainer`."""
        clip = self.model.policy_config.observation_clip
        scaled = partial(normalize, extra, clip=clip)
        return lambda params, segment, key: ppo_loss(
            params, self.model, segment, scaled, key, self.config, self._terms
        )

    def learnt(self, extra: Any, visited: Segment) -> Any:
        """Returns the statistics updated with the visited observations.

        This happens after learning, so that the loss uses the statistics with which the policy acted.
        """
        return updated_normalizer(extra, visited)

    def track_mjx_state(self, state: TrainState) -> dict[str, Any]:
        """Returns `state` in the form of track-mjx (`agent/mlp_ppo/ppo.py`, `TrainingState`).

        Its optimiser state has the structure of optax's `chain(clip_by_global_norm, adam)` over policy and
        value network together. Ours keeps the networks apart, but Adam's moments per parameter are the
        same.
        """
        both = ("policy", "value")
        moments = {
            name: {part: optax.tree.get(state.opt_state[part], name) for part in both}
            for name in ("mu", "nu")
        }
        count = optax.tree.get(state.opt_state["policy"], "count")
        adam = optax.ScaleByAdamState(count, moments["mu"], moments["nu"])
        statistics = ("count", "mean", "std", "summed_variance")
        return {
            "env_steps": jnp.int32(self.env_steps(state) // TRACK_MJX_STEPS_PER_COUNT),
            "normalizer_params": {name: getattr(state.extra, name) for name in statistics},
            "optimizer_state": (optax.EmptyState(), (adam, optax.EmptyState())),
            "params": {part: getattr(state.params, part) for part in both},
        }
