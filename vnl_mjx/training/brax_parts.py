"""Provides the parts of brax that PPO uses: advantage estimator, distribution, running statistics."""

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
    """Returns brax's statistics before any observation: mean 0 and standard deviation 1, [size] each."""
    return running_statistics.init_state(jnp.zeros(size)).replace(
        count=jnp.float32(0.0), std_eps=jnp.float32(0.0)
    )


def normalize(normalizer: Any, obs: jax.Array, clip: float | None = None) -> jax.Array:
    """Normalises a raw observation [..., observation] like `FrozenPolicy.normalize`."""
    return normalized(obs, normalizer.mean, normalizer.std, clip)


def updated_normalizer(normalizer: Any, segment: Segment) -> Any:
    """Updates the statistics with the valid steps of `segment`; leaves them unchanged without any."""
    valid = segment.valid
    updated = running_statistics.update(
        normalizer,
        segment.contained().steps.observation,
        weights=valid.astype(jnp.float32),
        std_min_value=MIN_OBSERVATION_STD,
    )
    # Without any step, brax would divide 0 by 0.
    return jax.tree.map(lambda new, old: jnp.where(jnp.any(valid), new, old), updated, normalizer)
