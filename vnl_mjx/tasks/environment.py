"""The interface between tasks and what runs policies in them: many environments, stepped together.

An environment is pure: state in, state out, every function can be jitted and scanned over. Implement
`Environment` directly, or write a `Task` of one environment and let `VectorEnvironment` batch it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.physics.base import PhysicsState


@flax.struct.dataclass
class Observation:
    """Named parts of an observation.

    Attributes:
        parts: [..., size] float each.
        order: static; the order in which `flat` concatenates them.
    """

    parts: dict[str, jax.Array]
    order: tuple[str, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, **parts: jax.Array) -> "Observation":
        """Builds an observation of `parts`, in that order."""
        return cls(parts, tuple(parts))

    def __getitem__(self, name: str) -> jax.Array:
        return self.parts[name]

    def flat(self) -> jax.Array:
        """Concatenates the parts, [..., sum of sizes]."""
        return jnp.concatenate([self.parts[name] for name in self.order], axis=-1)


@flax.struct.dataclass
class StepOutcome:
    """What one control step gave, [num_envs] each ([] in a task of one environment).

    Attributes:
        reward: float, the sum of `terms`; 0 where the step is not valid.
        terms: named, weighted, signed reward terms.
        distances: named distances to the reference; empty in a task that follows none.
        failures: named failure flags, bool; "nan" flags a simulation that diverged.
        terminated: bool, any failure.
        truncated: bool, the episode ended without a failure (end of the clip, time limit).
        overflowed: bool, the simulation left contacts out (`PhysicsState.overflowed`).
        num_steps: int32, control steps made: 1, but for an action that is repeated.
    """

    reward: jax.Array
    terms: dict[str, jax.Array]
    distances: dict[str, jax.Array]
    failures: dict[str, jax.Array]
    terminated: jax.Array
    truncated: jax.Array
    overflowed: jax.Array
    num_steps: jax.Array

    @classmethod
    def of(
        cls,
        physics: PhysicsState,
        terms: dict[str, jax.Array],
        failures: dict[str, jax.Array],
        truncated: jax.Array,
        distances: dict[str, jax.Array] | None = None,
    ) -> "StepOutcome":
        """Builds the outcome of one control step in one environment.

        A simulation that diverged earns and measures nothing, and fails by "nan" alone: its zeroed state
        has no meaning, and that it lies below every height limit is no fall.

        Args:
            physics: after the step.
            terms: named, weighted, signed reward terms.
            failures: named failure flags besides "nan".
            truncated: the episode is over; does not count where it failed.
            distances: named distances to the reference.
        """
        terms, distances = jax.tree.map(
            lambda x: jnp.where(physics.diverged, 0.0, x), (terms, distances or {})
        )
        failed = {name: failure & ~physics.diverged for name, failure in failures.items()}
        failed["nan"] = physics.diverged
        terminated = jnp.any(jnp.stack(list(failed.values())))
        return cls(
            reward=jnp.sum(jnp.stack(list(terms.values()))) if terms else jnp.float32(0),
            terms=terms,
            distances=distances,
            failures=failed,
            terminated=terminated,
            truncated=truncated & ~terminated,
            overflowed=physics.overflowed,
            num_steps=jnp.int32(1),
        )

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended."""
        return self.terminated | self.truncated

    @property
    def valid(self) -> jax.Array:
        """Whether the simulation did not diverge in this step."""
        return ~self.failures["nan"]


class Sized(Protocol):
    """What a policy is sized for."""

    @property
    def observation_sizes(self) -> Mapping[str, int]:
        """Size of each part of the observation, in the order of `Observation.flat`."""
        ...

    @property
    def action_size(self) -> int:
        """Of an action in (-1, 1)."""
        ...


class Environment(Sized, Protocol):
    """Batched environments: arrays of a state that belong to one environment have a leading [num_envs].

    `data` is what the task reads besides its state, such as reference clips: an argument, so that it is no
    constant of a compiled function. A task that follows nothing takes ().
    """

    def reset(self, key: jax.Array, num_envs: int, data: Any, /) -> Any:
        """Starts `num_envs` environments."""
        ...

    def observe(self, state: Any, data: Any, /) -> Observation:
        """Returns what a policy sees, parts of [num_envs, size]."""
        ...

    def step(self, state: Any, action: jax.Array, data: Any, /) -> tuple[Any, StepOutcome]:
        """Makes one control step with `action` [num_envs, action_size]; resets nothing."""
        ...

    def reset_finished(self, state: Any, outcome: StepOutcome, data: Any, /) -> Any:
        """Restarts the environments whose episode `outcome` ended."""
        ...


class Task(Sized, Protocol):
    """One environment; the same functions as of `Environment` without the leading axis.

    Its state has a field `key` [2] uint32: the environment's own random key, which resets draw from.
    """

    def reset(self, key: jax.Array, data: Any, where: jax.Array | bool = True, /) -> Any:
        """Starts an episode; where `where` [] is false the result is not used, and may cost nothing."""
        ...

    def observe(self, state: Any, data: Any, /) -> Observation:
        """Returns what a policy sees, parts of [size]."""
        ...

    def step(self, state: Any, action: jax.Array, data: Any, /) -> tuple[Any, StepOutcome]:
        """Makes one control step with `action` [action_size]."""
        ...


class VectorEnvironment:
    """Many environments of a `Task`, as `Environment`."""

    def __init__(self, task: Task):
        """Takes the task."""
        self.task = task
        self.observation_sizes, self.action_size = task.observation_sizes, task.action_size

    def reset(self, key: jax.Array, num_envs: int, data: Any) -> Any:
        """See `Environment.reset`."""
        return jax.vmap(lambda k: self.task.reset(k, data))(jax.random.split(key, num_envs))

    def observe(self, state: Any, data: Any) -> Observation:
        """See `Environment.observe`."""
        return jax.vmap(lambda s: self.task.observe(s, data))(state)

    def step(self, state: Any, action: jax.Array, data: Any) -> tuple[Any, StepOutcome]:
        """See `Environment.step`."""
        return jax.vmap(lambda s, a: self.task.step(s, a, data))(state, action)

    def reset_finished(self, state: Any, outcome: StepOutcome, data: Any) -> Any:
        """See `Environment.reset_finished`."""
        fresh = jax.vmap(lambda k, d: self.task.reset(k, data, d))(state.key, outcome.done)
        return masking.where(outcome.done, fresh, state)


class RepeatedAction:
    """An environment whose every action lasts several control steps, or fewer where the episode ends.

    Of the outcome, reward, terms and distances are summed over the steps made; flags are those of the last.
    """

    def __init__(self, env: Environment, times: int):
        """Takes the environment and the control steps of an action, at least 1."""
        self.env, self.times = env, times
        self.task = getattr(env, "task", None)
        self.observation_sizes, self.action_size = env.observation_sizes, env.action_size
        self.reset, self.observe = env.reset, env.observe
        self.reset_finished = env.reset_finished

    def step(self, state: Any, action: jax.Array, data: Any) -> tuple[Any, StepOutcome]:
        """See `Environment.step`."""
        state, total = self.env.step(state, action, data)
        for _ in range(self.times - 1):
            moved, outcome = self.env.step(state, action, data)
            goes_on = ~total.done
            state = masking.where(goes_on, moved, state)

            def merged(sum_: jax.Array, new: jax.Array, where: jax.Array = goes_on) -> jax.Array:
                if sum_.dtype == jnp.bool_:
                    return sum_ | (where & new)
                return sum_ + jnp.where(where, new, 0)

            total = jax.tree.map(merged, total, outcome)
        return state, total
