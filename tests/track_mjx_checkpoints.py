"""Small checkpoints in track-mjx's layout."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.compat.track_mjx_config import OWN_KEY
from vnl_mjx.compat.track_mjx_writer import save_track_mjx, track_mjx_config
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.models.intention import IntentionConfig, IntentionNetwork

NETWORK = IntentionConfig(
    reference_size=470,
    proprioception_size=226,
    action_size=38,
    latent_dim=4,
    encoder_hidden_sizes=(8, 6),
    decoder_hidden_sizes=(8,),
)


def make_params(network: IntentionConfig, seed: int = 0) -> Any:
    obs = jnp.zeros(network.observation_size)
    return IntentionNetwork(network).init(jax.random.key(seed), obs, network.initial_memory())


def make_normalizer(size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, size).astype(np.float32)
    return {
        "count": np.float32(1084),
        "mean": rng.normal(size=size).astype(np.float32),
        "std": std,
        "summed_variance": std**2 * 1084,
    }


def upstream_config(network: IntentionConfig = NETWORK) -> dict[str, Any]:
    """As track-mjx of September 2025 writes it: without our own section."""
    config = track_mjx_config(ImitationConfig(), network)
    del config[OWN_KEY]
    return config


def write(
    path: Path, config: dict[str, Any], network=NETWORK, step: int = 3, seed: int = 0
) -> Path:
    params, normalizer = make_params(network, seed), make_normalizer(network.observation_size)
    save_track_mjx(path, step, params, normalizer, config)
    return path
