"""Implements the loop of every training: a rollout, learning from its steps, and so on.

A trainer has no internal state, so a saved state resumes exactly.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vnl_mjx import devices
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.environment import Environment
from vnl_mjx.tasks.policies import Policy
from vnl_mjx.training.compiled import CompiledFunction
from vnl_mjx.training.divergence import (
    Divergence,
    contained,
    divergence_of,
    earliest,
    is_finite,
)
from vnl_mjx.training.learner import Learner, LearningStatistics, LossFunction
from vnl_mjx.training.rollout import RolloutState, RolloutStatistics, Step, begin, rollout
from vnl_mjx.training.segments import Segment


@flax.struct.dataclass
class TrainState:
    """Holds everything from which a run resumes.

    Attributes:
        params: the learnt parameters.
        opt_state: the optimiser's state.
        learning_rate: [] learning rate in force.
        held_weights: [] controlled weights of the loss's terms; {} without a controller.
        extra: other values that change with training, such as statistics of the observation; or ().
        rollout: the environments and the policy's memory in them.
        key: [2] uint32 random key.
        num_updates: [] int32 updates done; environment steps are a multiple of it.
    """

    params: Any
    opt_state: Any
    learning_rate: jax.Array
    held_weights: dict[str, jax.Array]
    extra: Any
    rollout: RolloutState
    key: jax.Array
    num_updates: jax.Array


@flax.struct.dataclass
class Update:
    """Holds statistics of one update (on the device) and its wall-clock seconds (on the host).

    Attributes:
        rollout: sums over the rollout.
        learning: means over the minibatches.
        divergence: the steps that are not finite and were left out of learning.
        seconds: static dict of "rollout", "update" and, of the rollout, "physics".
    """

    rollout: RolloutStatistics
    learning: LearningStatistics
    divergence: Divergence
    seconds: dict[str, float] = flax.struct.field(pytree_node=False)


class Trainer(ABC):
    """Compiles and repeats rollout and learning; a subclass defines policy, records and loss."""

    def __init__(
        self,
        env: Environment,
        data: Any,
        learner: Learner,
        steps_per_update: int,
        mesh: Mesh | None = None,
    ):
        """Prepares the compiled functions; nothing is compiled yet.

        Args:
            env: batched environments.
            data: arrays that training reads besides its state; compiled functions take them as an argument
                and not as constants.
            learner: makes the gradient steps; devices share its environments evenly.
            steps_per_update: environment steps of one rollout.
            mesh: mesh of the devices to train on; None: one device.

        Raises:
            UserError: the environments cannot be spread evenly.
        """
        self.env, self.learner = env, learner
        self.num_envs = learner.num_envs
        self.steps_per_update = steps_per_update
        self.mesh = devices.single_device() if mesh is None else mesh
        if self.num_envs % self.mesh.size:
            raise UserError(
                f"num_envs: expected a multiple of the {self.mesh.size} devices, found {self.num_envs}"
            )
        self.data = jax.device_put(data, devices.replicated(self.mesh))
        self._key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
        self._init = jax.jit(self.initial_state)

    # Pure functions that a subclass defines.

    @abstractmethod
    def initial_params(self, key: jax.Array, data: Any) -> tuple[Any, Any]:
        """Returns fresh parameters and what `TrainState.extra` starts as."""

    @abstractmethod
    def policy(self, params: Any, extra: Any, data: Any, env_steps: jax.Array) -> Policy:
        """Returns the policy of a rollout."""

    @abstractmethod
    def record(self, step: Step, data: Any, env_steps: jax.Array) -> Any:
        """Returns the record of a step for learning, [num_envs, ...]; `env_steps` [] as in `policy`."""

    @abstractmethod
    def loss(self, extra: Any) -> LossFunction:
        """Returns the loss of an update."""

    # Functions that a subclass may override.

    def env_data(self, data: Any) -> Any:
        """Returns the part of `data` that the environment reads."""
        return data

    def memory(self, step: Step) -> Any:
        """Returns the part of the policy's memory that learning needs."""
        return step.memory

    def valid(self, step: Step) -> jax.Array:
        """Returns whether to learn from each environment's step, [num_envs] bool."""
        return jnp.ones_like(step.starts)

    def last(self, state: RolloutState, data: Any) -> Any:
        """Returns the needed part of the state after the last step, [num_envs, ...]."""
        return ()

    def learnt(self, extra: Any, visited: Segment) -> Any:
        """Returns `extra` after an update."""
        return extra

    # Functions of all trainers.

    def initial_state(self, key: jax.Array, data: Any) -> TrainState:
        """Returns fresh parameters and environments."""
        key, params_key, env_key = jax.random.split(key, 3)
        params, extra = self.initial_params(params_key, data)
        policy = self.policy(params, extra, data, jnp.float32(0))
        environments = self.env.reset(env_key, self.num_envs, self.env_data(data))
        return TrainState(
            params=params,
            opt_state=self.learner.optimizer.init(params),
            learning_rate=jnp.float32(self.learner.learning_rate.initial),
            held_weights={
                name: jnp.float32(weight.initial)
                for name, weight in self.learner.held_weights.items()
            },
            extra=extra,
            rollout=begin(environments, policy, self.num_envs),
            key=key,
            num_updates=jnp.int32(0),
        )

    def rollout(
        self, state: TrainState, data: Any, key: jax.Array
    ) -> tuple[TrainState, Segment, RolloutStatistics, Divergence]:
        """Steps the environments; returns state, visited steps [time, num_envs, ...] and sums.

        Learning leaves out the steps of an environment that are not finite, and all its steps if what comes
        after the last one is not.
        """
        env_steps = self.scheduled_steps(state)
        policy = self.policy(state.params, state.extra, data, env_steps)
        env_data, length = self.env_data(data), self.learner.segment_length

        def record(step: Step) -> tuple[Any, ...]:
            recorded = (self.record(step, env_data, env_steps), self.memory(step))
            finite = is_finite(recorded)
            diverged = ~finite | step.outcome.failures["nan"]
            kept, memory = contained(recorded, finite)
            divergence = divergence_of(step, recorded, diverged)
            return kept, step.starts, self.valid(step) & finite, memory, divergence

        after, (steps, starts, valid, memory, divergences), statistics = rollout(
            self.env, policy, state.rollout, env_data, key, self.learner.unroll_length, record
        )
        last = self.last(after, env_data)
        finite = is_finite((last, jnp.zeros_like(valid[0])))
        valid &= finite
        last = jax.tree.map(lambda x: x[None], contained(last, finite))
        memory = jax.tree.map(lambda x: x[::length], memory)
        visited = Segment(steps, starts, valid, memory, last)
        statistics = statistics.replace(left_out=jnp.sum(~valid, dtype=jnp.float32))
        return state.replace(rollout=after), visited, statistics, earliest(divergences)

    def learn(
        self, state: TrainState, visited: Segment, key: jax.Array
    ) -> tuple[TrainState, LearningStatistics]:
        """Learns from the steps that `rollout` visited."""
        params, opt_state, rate, held, statistics = self.learner.learn(
            self.loss(state.extra),
            state.params,
            state.opt_state,
            state.learning_rate,
            visited,
            self.scheduled_steps(state),
            key,
            state.held_weights,
        )
        state = state.replace(
            params=params,
            opt_state=opt_state,
            learning_rate=rate,
            held_weights=held,
            extra=self.learnt(state.extra, visited),
        )
        return state, statistics

    @cached_property
    def placement(self) -> TrainState:
        """Returns how a state lies on the devices: one sharding per array."""
        state = self._init.eval_shape(self._key, self.data)
        whole = jax.tree.map(lambda _: devices.replicated(self.mesh), state)
        split = devices.by_environment(state.rollout, self.mesh, self.num_envs)
        return whole.replace(rollout=split)

    @cached_property
    def programs(self) -> dict[str, CompiledFunction]:
        """The compiled functions by name, in the order of an update."""
        whole, visited = devices.replicated(self.mesh), devices.split(self.mesh, axis=1)
        state = self.placement
        return {
            "rollout": CompiledFunction(
                self.rollout, (state, whole, whole), (state, visited, whole, whole)
            ),
            "update": CompiledFunction(self.learn, (state, visited, whole), (state, whole)),
        }

    def init(self, seed: int) -> TrainState:
        """Returns fresh parameters and environments."""
        return self.place(self._init(jax.random.PRNGKey(seed), self.data))

    def place(self, state: TrainState) -> TrainState:
        """Places `state` on its devices, for example a restored one from the host or other devices."""
        return jax.device_put(state, self.placement)

    def start_compiling(self) -> None:
        """Compiles both functions in the background, while the caller does something else."""
        state = self._init.eval_shape(self._key, self.data)
        # One thread, because the caller compiles too, and each compilation takes some 200 MB.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        rollout, learn = self.programs.values()
        _, visited, *_ = rollout.compile_in(pool, state, self.data, self._key)
        learn.compile_in(pool, state, visited, self._key)
        pool.shutdown(wait=False)

    def env_steps(self, state: TrainState) -> int:
        """Returns the control steps so far, summed over environments."""
        return int(state.num_updates) * self.steps_per_update

    def scheduled_steps(self, state: TrainState) -> jax.Array:
        """Returns `env_steps` as [] float32, for schedules inside compiled functions."""
        return state.num_updates.astype(jnp.float32) * self.steps_per_update

    def update(self, state: TrainState) -> tuple[TrainState, Update]:
        """Runs one rollout and its minibatches. Consumes `state` (its buffers are donated)."""
        key, rollout_key, learn_key = jax.random.split(state.key, 3)
        physics_before = self._physics_seconds()
        started = time.perf_counter()
        program = self.programs["rollout"]
        state, visited, rollout, divergence = program(state, self.data, rollout_key)
        rolled_out = time.perf_counter()
        state, learning = self.programs["update"](state, visited, learn_key)
        seconds = {
            "rollout": rolled_out - started,
            "update": time.perf_counter() - rolled_out,
            "physics": self._physics_seconds() - physics_before,
        }
        state = state.replace(key=key, num_updates=state.num_updates + 1)
        return state, Update(rollout, learning, divergence, seconds)

    def train(
        self,
        state: TrainState,
        num_steps: int,
        on_update: Callable[[TrainState, int, Update], bool],
    ) -> TrainState:
        """Updates until `num_steps` environment steps are done or `on_update` returns True.

        Args:
            state: a fresh or restored state.
            num_steps: total environment steps of the run, rounded up to whole updates.
            on_update: called after every update with the state (valid until the next update), the
                environment steps so far and the update's statistics.
        """
        state = self.place(state)
        env_steps = self.env_steps(state)
        while env_steps < num_steps:
            state, result = self.update(state)
            env_steps += self.steps_per_update
            if on_update(state, env_steps, result):
                break
        return state

    def _physics_seconds(self) -> float:
        # Only the C back end can measure this, because it works in a callback.
        task = getattr(self.env, "task", None)
        return getattr(getattr(task, "physics", None), "busy_seconds", 0.0)
