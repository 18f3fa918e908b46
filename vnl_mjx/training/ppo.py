"""PPO with the intention network: a rollout, then epochs of minibatches over it.

The trainer holds no state of its own: `PpoState` in, `PpoState` out, so a saved state resumes exactly.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vnl_mjx.config.ppo import PpoSection, WeightSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams
from vnl_mjx.models.intention import MIN_OBSERVATION_STD, FrozenPolicy
from vnl_mjx.tasks.episodes import Episodes
from vnl_mjx.training import schedules
from vnl_mjx.training.brax_parts import running_statistics
from vnl_mjx.training.ppo_acting import ActingState, Actor, normalize
from vnl_mjx.training.ppo_losses import LossWeights, PpoLoss, Segment, ppo_loss
from vnl_mjx.training.ppo_optimizer import ActorCriticOptimizer, LearningRate
from vnl_mjx.training.rollout import RolloutStatistics


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


@flax.struct.dataclass
class LearningStatistics:
    """Means over the minibatches of one update.

    Attributes:
        loss: the objective and its parts.
        grad_norm: [] global norm before clipping.
        skipped: [] share of minibatches whose gradient was not finite and was not applied.
        learning_rate: [] in force.
        weights: in force.
    """

    loss: PpoLoss
    grad_norm: jax.Array
    skipped: jax.Array
    learning_rate: jax.Array
    weights: LossWeights


@flax.struct.dataclass
class PpoUpdate:
    """Statistics of one update (on the device) and where its wall-clock seconds went (host).

    Attributes:
        rollout: sums over the rollout.
        learning: means over the minibatches.
        seconds: static dict of "rollout", "update" and, of the rollout, "physics".
    """

    rollout: RolloutStatistics
    learning: LearningStatistics
    seconds: dict[str, float] = flax.struct.field(pytree_node=False)


class Ppo:
    """The trainer."""

    def __init__(self, task: Episodes, model: ActorCritic, data: Any, config: PpoSection):
        """Builds the optimiser and the two compiled functions; nothing is compiled yet.

        Args:
            task: batched environments, whose observations `model` was sized for.
            model: policy and value network.
            data: what the task reads: the training clips.
            config: validated settings.
        """
        if config.num_envs % config.num_minibatches:
            raise ValueError(f"{config.num_minibatches=} must divide {config.num_envs=}")
        self.task, self.model, self.config = task, model, config
        self.data = jax.device_put(data)
        self.steps_per_update = config.steps_per_update
        self.optimizer = ActorCriticOptimizer(config)
        self._weights = {
            "entropy": _schedule(config.entropy),
            "latent_kl": _schedule(config.latent_kl),
            "latent_ar1_kl": _schedule(config.latent_ar1_kl),
            "guidance": _schedule(config.guidance),
            "action_std": _schedule(config.action_std),
        }
        self._learning_rate = LearningRate(config.learning_rate, config.num_steps)
        self._actor = Actor(task, model, config)
        self._rollout = jax.jit(self._actor.rollout, donate_argnames="acting")
        self._learn = jax.jit(
            self._learn_impl, donate_argnames=("params", "opt_state", "normalizer")
        )
        self._rollout_ready: Future | None = None
        self._learn_ready: Future | None = None

    def init(self, seed: int) -> PpoState:
        """Fresh parameters and environments."""
        return jax.jit(self._init_impl)(jax.random.PRNGKey(seed), self.data)

    def start_compiling(self) -> None:
        """Compiles both functions in the background, while the caller does something else."""
        state = jax.eval_shape(self._init_impl, jax.random.PRNGKey(0), self.data)
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        rollout = self._rollout.lower(**self._rollout_arguments(state, state.key))
        self._rollout_ready = pool.submit(rollout.compile)
        _, segment, _ = rollout.out_info
        learn = self._learn.lower(**self._learn_arguments(state, segment, state.key))
        self._learn_ready = pool.submit(learn.compile)
        pool.shutdown(wait=False)

    def env_steps(self, state: PpoState) -> int:
        """Control steps so far, summed over environments."""
        return int(state.num_updates) * self.steps_per_update

    def policy(self, state: PpoState) -> FrozenPolicy:
        """The policy as it stands; its arrays are `state`'s own."""
        return FrozenPolicy(
            state.params.policy,
            state.normalizer.mean,
            state.normalizer.std,
            self.model.policy_config,
        )

    def update(self, state: PpoState) -> tuple[PpoState, PpoUpdate]:
        """One rollout and its minibatches. `state` is consumed (its buffers are donated)."""
        key, rollout_key, learn_key = jax.random.split(state.key, 3)
        physics_before = self._physics_seconds()
        started = time.perf_counter()
        rollout_fn = self._rollout_ready.result() if self._rollout_ready else self._rollout
        acting, segment, rollout = jax.block_until_ready(
            rollout_fn(**self._rollout_arguments(state, rollout_key))
        )
        rolled_out = time.perf_counter()
        learn_fn = self._learn_ready.result() if self._learn_ready else self._learn
        params, opt_state, normalizer, rate, learning = jax.block_until_ready(
            learn_fn(**self._learn_arguments(state, segment, learn_key))
        )
        seconds = {
            "rollout": rolled_out - started,
            "update": time.perf_counter() - rolled_out,
            "physics": self._physics_seconds() - physics_before,
        }
        state = PpoState(params, opt_state, normalizer, rate, acting, key, state.num_updates + 1)
        return state, PpoUpdate(rollout, learning, seconds)

    def train(
        self,
        state: PpoState,
        num_steps: int,
        on_update: Callable[[PpoState, int, PpoUpdate], bool],
    ) -> PpoState:
        """Updates until `num_steps` environment steps are done or `on_update` returns True.

        Args:
            state: a fresh or restored state.
            num_steps: total environment steps of the run, rounded up to whole updates.
            on_update: called after every update with the state (valid until the next update), the
                environment steps so far and the update's statistics.
        """
        env_steps = self.env_steps(state)
        while env_steps < num_steps:
            state, result = self.update(state)
            env_steps += self.steps_per_update
            if on_update(state, env_steps, result):
                break
        return state

    def _physics_seconds(self) -> float:
        # Only the C back end can tell: its work is done in a callback.
        imitation = getattr(self.task, "imitation", None)
        return getattr(getattr(imitation, "physics", None), "busy_seconds", 0.0)

    def _rollout_arguments(self, state: PpoState, key: jax.Array) -> dict[str, Any]:
        return {
            "params": state.params,
            "normalizer": state.normalizer,
            "acting": state.acting,
            "data": self.data,
            "key": key,
        }

    def _learn_arguments(self, state: PpoState, segment: Segment, key: jax.Array) -> dict[str, Any]:
        return {
            "params": state.params,
            "opt_state": state.opt_state,
            "normalizer": state.normalizer,
            "learning_rate": state.learning_rate,
            "segment": segment,
            "key": key,
            "num_updates": state.num_updates,
        }

    def _init_impl(self, key: jax.Array, data: Any) -> PpoState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = self.model.init(params_key)
        size = self.task.reference_size + self.task.proprioception_size
        return PpoState(
            params=params,
            opt_state=self.optimizer.init(params),
            normalizer=running_statistics.init_state(jnp.zeros(size)).replace(
                count=jnp.float32(0.0), std_eps=jnp.float32(0.0)
            ),
            learning_rate=jnp.float32(self.config.learning_rate.initial),
            acting=self._actor.start(env_key, data),
            key=key,
            num_updates=jnp.int32(0),
        )

    def _learn_impl(
        self, params, opt_state, normalizer, learning_rate, segment: Segment, key, num_updates
    ):
        config = self.config
        env_steps = num_updates.astype(jnp.float32) * self.steps_per_update
        weights = LossWeights(**{name: value(env_steps) for name, value in self._weights.items()})
        learning_rate = self._learning_rate.at(env_steps, learning_rate)

        def loss(params, batch: Segment, key):
            parts = ppo_loss(
                params,
                self.model,
                batch,
                lambda obs: normalize(normalizer, obs),
                key,
                weights,
                config,
            )
            return parts.total, parts

        def minibatch(carry, inputs):
            params, opt_state, rate = carry
            rows, key = inputs
            (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(
                params, segment.environments(rows), key
            )
            grad_norm = optax.tree.norm(grads)
            finite = jnp.isfinite(grad_norm)
            rate = self._learning_rate.adapted(rate, parts.policy_kl)
            # A gradient that is not finite is counted and left out; the optimiser never sees it.
            updated = (*self.optimizer.step(params, opt_state, grads, rate), rate)
            carry = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, carry)
            return carry, LearningStatistics(parts, grad_norm, 1.0 - finite, rate, weights)

        def epoch(carry, key):
            shuffle_key, noise_key = jax.random.split(key)
            rows = jax.random.permutation(shuffle_key, config.num_envs)
            rows = rows.reshape(config.num_minibatches, -1)
            return jax.lax.scan(
                minibatch, carry, (rows, jax.random.split(noise_key, config.num_minibatches))
            )

        keys = jax.random.split(key, config.num_epochs)
        carry = (params, opt_state, learning_rate)
        (params, opt_state, learning_rate), statistics = jax.lax.scan(epoch, carry, keys)
        # After learning, so that the policy is judged with the statistics that it acted with.
        normalizer = running_statistics.update(
            normalizer,
            segment.contained().steps.observation,
            weights=segment.steps.valid.astype(jnp.float32),
            std_min_value=MIN_OBSERVATION_STD,
        )
        means = jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), statistics)
        return params, opt_state, normalizer, learning_rate, means


def _schedule(section: WeightSection) -> schedules.Schedule:
    if section.start_weight is None:
        return schedules.constant(section.weight)
    return schedules.linear(
        section.start_weight, section.weight, section.start_step, section.end_step
    )
