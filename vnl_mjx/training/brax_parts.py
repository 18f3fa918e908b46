"""The parts of brax that PPO is built from: its estimator, its distribution, its running statistics."""

import contextlib
import io
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.models.intention import MIN_OBSERVATION_STD, normalized
from vnl_mjx.training.segments import Segment

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    # brax imports MJX, which prints that Warp is missing.
    from brax.training.acme import running_statistics
    from brax.training.agents.ppo.losses import compute_gae
    from brax.training.distribution import NormalTanhDistribution

__all__ = ["NormalTanhDistribution", "compute_gae"]


def fresh_normalizer(size: int) -> Any:
    """Statistics of brax of no observation yet: mean 0 and standard deviation 1, [size] each."""
    return running_statistics.init_state(jnp.zeros(size)).replace(
        count=jnp.float32(0.0), std_eps=jnp.float32(0.0)
    )


def normalize(normalizer: Any, obs: jax.Array, clip: float | None = None) -> jax.Array:
    """Returns what the networks read of a raw observation [..., observation], as `FrozenPolicy.normalize`."""
    return normalized(obs, normalizer.mean, normalizer.std, clip)


def updated_normalizer(normalizer: Any, segment: Segment) -> Any:
    """The statistics with the valid steps of `segment` in them; as they were where it has none."""
    valid = segment.valid
    updated = running_statistics.update(
        normalizer,
        segment.contained().steps.observation,
        weights=valid.astype(jnp.float32),
        std_min_value=MIN_OBSERVATION_STD,
    )
    # Without a step ever, brax divides 0 by 0.
    return jax.tree.map(lambda new, old: jnp.where(jnp.any(valid), new, old), updated, normalizer)
