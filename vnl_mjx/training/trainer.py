"""What every training is made of: a rollout, learning from what it visited, and again.

A trainer holds no state of its own: state in, state out, so a saved state resumes exactly.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.training.rollout import RolloutStatistics

State = TypeVar("State", bound=Any)  # has `key` [2] uint32 and `num_updates` [] int32


@flax.struct.dataclass
class LearningStatistics:
    """Means over the minibatches of one update.

    Attributes:
        loss: the objective and its parts, a dataclass of the trainer's own.
        grad_norm: [] global norm before clipping.
        skipped: [] share of minibatches whose gradient was not finite and was not applied.
        learning_rate: [] in force.
        weights: of the terms of the objective, in force.
    """

    loss: Any
    grad_norm: jax.Array
    skipped: jax.Array
    learning_rate: jax.Array
    weights: Any


@flax.struct.dataclass
class Update:
    """Statistics of one update (on the device) and where its wall-clock seconds went (host).

    Attributes:
        rollout: sums over the rollout.
        learning: means over the minibatches.
        seconds: static dict of "rollout", "update" and, of the rollout, "physics".
    """

    rollout: RolloutStatistics
    learning: LearningStatistics
    seconds: dict[str, float] = flax.struct.field(pytree_node=False)


class Trainer(ABC, Generic[State]):
    """Compiles and repeats what a subclass says: `initial_state`, `rollout` and `learn`."""

    def __init__(self, task: Any, data: Any, steps_per_update: int):
        """Prepares the compiled functions; nothing is compiled yet.

        Args:
            task: batched environments.
            data: arrays that training reads besides its state; an argument of the compiled functions,
                so that they are no constants of them.
            steps_per_update: environment steps of one rollout.
        """
        self.task, self.steps_per_update = task, steps_per_update
        self.data = jax.device_put(data)
        self._init = jax.jit(self.initial_state)
        self._rollout, self._learn = _Stage(self.rollout), _Stage(self.learn)

    # What a subclass says, in pure functions.

    @abstractmethod
    def initial_state(self, key: jax.Array, data: Any) -> State:
        """Fresh parameters and environments."""

    @abstractmethod
    def rollout(
        self, state: State, data: Any, key: jax.Array
    ) -> tuple[State, Any, RolloutStatistics]:
        """Moves the environments; the state, what was visited [time, num_envs, ...] and sums."""

    @abstractmethod
    def learn(self, state: State, visited: Any, key: jax.Array) -> tuple[State, LearningStatistics]:
        """Learns from what `rollout` visited."""

    # What is the same for all.

    def init(self, seed: int) -> State:
        """Fresh parameters and environments."""
        return self._init(jax.random.PRNGKey(seed), self.data)

    def start_compiling(self) -> None:
        """Compiles both functions in the background, while the caller does something else."""
        key = jax.random.PRNGKey(0)
        state = jax.eval_shape(self.initial_state, key, self.data)
        # One thread: the caller compiles too, and each compilation takes some 200 MB.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        _, visited, _ = self._rollout.compile_in(pool, state, self.data, key)
        self._learn.compile_in(pool, state, visited, key)
        pool.shutdown(wait=False)

    def env_steps(self, state: State) -> int:
        """Control steps so far, summed over environments."""
        return int(state.num_updates) * self.steps_per_update

    def scheduled_steps(self, state: State) -> jax.Array:
        """As `env_steps`, [] float32 inside of compiled functions: what schedules go by."""
        return state.num_updates.astype(jnp.float32) * self.steps_per_update

    def update(self, state: State) -> tuple[State, Update]:
        """One rollout and its minibatches. `state` is consumed (its buffers are donated)."""
        key, rollout_key, learn_key = jax.random.split(state.key, 3)
        physics_before = self._physics_seconds()
        started = time.perf_counter()
        state, visited, rollout = self._rollout(state, self.data, rollout_key)
        rolled_out = time.perf_counter()
        state, learning = self._learn(state, visited, learn_key)
        seconds = {
            "rollout": rolled_out - started,
            "update": time.perf_counter() - rolled_out,
            "physics": self._physics_seconds() - physics_before,
        }
        state = state.replace(key=key, num_updates=state.num_updates + 1)
        return state, Update(rollout, learning, seconds)

    def train(
        self,
        state: State,
        num_steps: int,
        on_update: Callable[[State, int, Update], bool],
    ) -> State:
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


class _Stage:
    """A function of a state, which it consumes; compiled at its first call, or ahead of it."""

    def __init__(self, function: Callable[..., Any]):
        self.jitted = jax.jit(function, donate_argnums=0)
        self._ready: Future | None = None

    def compile_in(self, pool: ThreadPoolExecutor, *shapes: Any) -> Any:
        """Begins to compile for arguments of these shapes; the shapes of what it will return."""
        lowered = self.jitted.lower(*shapes)
        self._ready = pool.submit(lowered.compile)
        return lowered.out_info

    def __call__(self, *arguments: Any) -> Any:
        function = self.jitted if self._ready is None else self._ready.result()
        return jax.block_until_ready(function(*arguments))
