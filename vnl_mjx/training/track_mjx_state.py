"""A training state as track-mjx stores it (`agent/mlp_ppo/ppo.py`, `TrainingState`)."""

from typing import Any

import jax.numpy as jnp
import optax

from vnl_mjx.training.trainer import TrainState

STEPS_PER_COUNT = 1000  # track-mjx counts thousands of environment steps


def track_mjx_state(state: TrainState, env_steps: int) -> dict[str, Any]:
    """The `train_state` item of a checkpoint: `state`'s own arrays, renamed.

    The optimiser's state has the structure of optax's `chain(clip_by_global_norm, adam)` over policy and
    value network together; ours keeps them apart, but Adam's moments are the same per parameter.
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
        "env_steps": jnp.int32(env_steps // STEPS_PER_COUNT),
        "normalizer_params": {name: getattr(state.extra, name) for name in statistics},
        "optimizer_state": (optax.EmptyState(), (adam, optax.EmptyState())),
        "params": {part: getattr(state.params, part) for part in both},
    }
