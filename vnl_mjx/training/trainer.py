"""What every training is made of: a rollout, learning from what it visited, and again.

A trainer holds no state of its own: state in, state out, so a saved state resumes exactly.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Generic, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vnl_mjx import devices
from vnl_mjx.errors import UserError
from vnl_mjx.training.programs import Stage
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

    def __init__(
        self,
        task: Any,
        data: Any,
        num_envs: int,
        steps_per_update: int,
        mesh: Mesh | None = None,
    ):
        """Prepares the compiled functions; nothing is compiled yet.

        Args:
            task: batched environments.
            data: arrays that training reads besides its state; an argument of the compiled functions,
                so that they are no constants of them.
            num_envs: environments, spread evenly over the devices.
            steps_per_update: environment steps of one rollout.
            mesh: of the devices to train on; None: one.

        Raises:
            UserError: the environments cannot be spread evenly.
        """
        self.task, self.num_envs, self.steps_per_update = task, num_envs, steps_per_update
        self.mesh = devices.single_device() if mesh is None else mesh
        if num_envs % self.mesh.size:
            raise UserError(
                f"num_envs: expected a multiple of the {self.mesh.size} devices, found {num_envs}"
            )
        self.data = jax.device_put(data, devices.replicated(self.mesh))
        self._key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
        self._init = jax.jit(self.initial_state)

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

    environments: str  # the field of the state that holds what there is once per environment

    @abstractmethod
    def visited_placement(self) -> Any:
        """How what `rollout` visited lies on the devices: shardings, one for all arrays below it."""

    # What is the same for all.

    @cached_property
    def placement(self) -> State:
        """How a state lies on the devices: one sharding per array."""
        state = self._init.eval_shape(self._key, self.data)
        whole = jax.tree.map(lambda _: devices.replicated(self.mesh), state)
        environments = getattr(state, self.environments)
        split = devices.by_environment(environments, self.mesh, self.num_envs)
        return whole.replace(**{self.environments: split})

    @cached_property
    def programs(self) -> dict[str, "Stage"]:
        """The compiled functions by name, in the order of an update."""
        whole, visited = devices.replicated(self.mesh), self.visited_placement()
        state = self.placement
        return {
            "rollout": Stage(self.rollout, (state, whole, whole), (state, visited, whole)),
            "update": Stage(self.learn, (state, visited, whole), (state, whole)),
        }

    def init(self, seed: int) -> State:
        """Fresh parameters and environments."""
        return self.place(self._init(jax.random.PRNGKey(seed), self.data))

    def place(self, state: State) -> State:
        """`state` where it belongs: a restored one comes from the host, or from other devices."""
        return jax.device_put(state, self.placement)

    def start_compiling(self) -> None:
        """Compiles both functions in the background, while the caller does something else."""
        state = self._init.eval_shape(self._key, self.data)
        # One thread: the caller compiles too, and each compilation takes some 200 MB.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        rollout, learn = self.programs.values()
        _, visited, _ = rollout.compile_in(pool, state, self.data, self._key)
        learn.compile_in(pool, state, visited, self._key)
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
        state, visited, rollout = self.programs["rollout"](state, self.data, rollout_key)
        rolled_out = time.perf_counter()
        state, learning = self.programs["update"](state, visited, learn_key)
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
        state = self.place(state)
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
