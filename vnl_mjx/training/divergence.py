"""Contains steps of a rollout that are not finite, and keeps what it takes to replay the first of them."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.training.rollout import Step


@flax.struct.dataclass
class Divergence:
    """Counts such steps of a rollout, and holds the first one of the lowest environment.

    Attributes:
        count: [] int32 environment steps; the other values mean nothing if it is 0.
        step: [] int32 control step in the rollout.
        env: [] int32 environment.
        physics: simulation before the step; None in an environment without one.
        control: [nu] control of the step, as `Physics.step` takes it; None likewise.
        action: [action_size] the policy's action.
        observation: parts of the policy's observation.
        recorded: what learning reads of the step.
    """

    count: jax.Array
    step: jax.Array
    env: jax.Array
    physics: PhysicsState | None
    control: jax.Array | None
    action: jax.Array
    observation: dict[str, jax.Array]
    recorded: Any


def is_finite(tree: Any) -> jax.Array:
    """Returns, [num_envs] bool, whether all floats of arrays [num_envs, ...] are finite; () is.

    Raises:
        ValueError: there is no array.
    """
    flags = [
        jnp.all(jnp.isfinite(x).reshape(x.shape[0], -1), axis=1) for x in jax.tree.leaves(tree)
    ]
    return jnp.all(jnp.stack(flags), axis=0)


def contained(tree: Any, keep: jax.Array) -> Any:
    """Returns the arrays [num_envs, ...] with zeros for what is not finite where `keep` is false."""

    def contain(x: jax.Array) -> jax.Array:
        return jnp.where(masking.widened(keep, x) | jnp.isfinite(x), x, jnp.zeros_like(x))

    return jax.tree.map(contain, tree)


def divergence_of(step: Step, recorded: Any, diverged: jax.Array) -> Divergence:
    """Returns the divergence of one step of all environments; `diverged` is [num_envs] bool.

    The environment is picked by a masked sum, so that devices exchange sums alone, and only if one diverged.
    """
    num_envs = diverged.shape[0]
    env = jnp.min(jnp.where(diverged, jnp.arange(num_envs, dtype=jnp.int32), num_envs))
    is_first = jnp.arange(num_envs, dtype=jnp.int32) == env
    values = {
        "physics": getattr(step.before, "physics", None),
        "control": getattr(step.after, "control", None),
        "action": step.acted.action,
        "observation": step.observation.parts,
        "recorded": recorded,
    }

    def picked(x: jax.Array) -> jax.Array:
        chosen = jnp.where(masking.widened(is_first, x), x, jnp.zeros_like(x))
        return jnp.any(chosen, axis=0) if x.dtype == jnp.bool_ else jnp.sum(chosen, 0, x.dtype)

    def nothing(x: jax.Array) -> jax.Array:
        return jnp.zeros(x.shape[1:], x.dtype)

    found = jax.lax.cond(
        env < num_envs,
        lambda tree: jax.tree.map(picked, tree),
        lambda tree: jax.tree.map(nothing, tree),
        values,
    )
    count = jnp.sum(diverged, dtype=jnp.int32)
    return Divergence(count=count, step=jnp.int32(0), env=env, **found)


def earliest(each: Divergence) -> Divergence:
    """Returns the divergence of a rollout, given those of its steps [time]."""
    step = jnp.argmax(each.count > 0)
    first = jax.tree.map(lambda x: x[step], each)
    return first.replace(count=jnp.sum(each.count), step=step.astype(jnp.int32))
