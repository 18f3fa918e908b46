"""Defines the interface between tasks and rollouts: many environments, stepped together.

Environments are pure functions of their state, which can be jitted and scanned. Implement `Environment`
directly, or write a `Task` of one environment and let `VectorEnvironment` batch it.
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
    """Holds the named parts of an observation.

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
    """Holds the outcome of one control step, [num_envs] each ([] in a task of one environment).

    Attributes:
        reward: float, the sum of `terms`; 0 where the step is not valid.
        terms: named, weighted, signed reward terms.
        distances: named distances to the reference; empty in a task that follows none.
        failures: named failure flags, bool; "nan" flags a simulation that diverged.
        terminated: bool, any failure.
        truncated: bool, the episode ended without a failure (end of the clip, time limit).
        overflowed: bool, the simulation left contacts out (`PhysicsState.overflowed`).
        num_steps: int32, control steps made: 1, or more for a repeated action.
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

        A diverged simulation has no reward and no measures, and fails by "nan" alone: its zeroed state is
        meaningless, and lies below every height limit without a fall. So does an environment whose reward
        or measures are not finite.

        Args:
            physics: simulation after the step.
            terms: named, weighted, signed reward terms.
            failures: named failure flags besides "nan".
            truncated: the episode is over; ignored if it failed.
            distances: named distances to the reference.
        """
        measured = (terms, distances or {})
        finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(measured)]
        diverged = physics.diverged | ~jnp.all(jnp.stack([jnp.bool_(True), *finite]))
        terms, distances = jax.tree.map(lambda x: jnp.where(diverged, 0.0, x), measured)
        failed = {name: failure & ~diverged for name, failure in failures.items()}
        failed["nan"] = diverged
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
    """Gives the sizes of a policy's inputs and outputs."""

    @property
    def observation_sizes(self) -> Mapping[str, int]:
        """Size of each part of the observation, in the order of `Observation.flat`."""
        ...

    @property
    def action_size(self) -> int:
        """The size of an action in (-1, 1)."""
        ...


class Environment(Sized, Protocol):
    """Defines batched environments: per-environment arrays of a state have a leading [num_envs].

    `data` holds what the task reads besides its state, such as reference clips. It is an argument, so that
    it is no constant of a compiled function; a task without data takes ().
    """

    def reset(self, key: jax.Array, num_envs: int, data: Any, /) -> Any:
        """Starts `num_envs` environments."""
        ...

    def observe(self, state: Any, data: Any, /) -> Observation:
        """Returns the policy's observation, parts of [num_envs, size]."""
        ...

    def step(self, state: Any, action: jax.Array, data: Any, /) -> tuple[Any, StepOutcome]:
        """Makes one control step with `action` [num_envs, action_size], without resets."""
        ...

    def reset_finished(self, state: Any, outcome: StepOutcome, data: Any, /) -> Any:
        """Restarts the environments whose episode `outcome` ended."""
        ...


class Task(Sized, Protocol):
    """Defines one environment; has the functions of `Environment` without the leading axis.

    Its state has a field `key` [2] uint32, the environment's own random key for resets.
    """

    def reset(self, key: jax.Array, data: Any, where: jax.Array | bool = True, /) -> Any:
        """Starts an episode; if `where` [] is false, the result is not used and the work may be skipped."""
        ...

    def observe(self, state: Any, data: Any, /) -> Observation:
        """Returns the policy's observation, parts of [size]."""
        ...

    def step(self, state: Any, action: jax.Array, data: Any, /) -> tuple[Any, StepOutcome]:
        """Makes one control step with `action` [action_size]."""
        ...


class VectorEnvironment:
    """Batches environments of a `Task` as an `Environment`."""

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
    """Repeats every action for several control steps, or fewer if the episode ends.

    The outcome sums reward, terms and distances over the steps made; its flags are those of the last step.
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
