"""Defines the value network, a perceptron of the whole normalised observation.

Parameters are named as brax's `make_value_network` names them, which track-mjx uses
(`agent/mlp_ppo/ppo_networks.py`).
"""

from dataclasses import dataclass

import flax.linen as nn
import jax

from vnl_mjx.models.layers import ACTIVATIONS, dense, hidden_layers


@dataclass(frozen=True)
class ValueConfig:
    """Holds the sizes of a value network.

    Attributes:
        observation_size: of the flat observation.
        hidden_sizes: hidden layers.
        activation: a key of `ACTIVATIONS`.
        layer_norm: a LayerNorm after each hidden layer; track-mjx has none here.
    """

    observation_size: int
    hidden_sizes: tuple[int, ...]
    activation: str = "silu"
    layer_norm: bool = False

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"{self.activation=} must be one of {sorted(ACTIVATIONS)}")


class ValueNetwork(nn.Module):
    """Maps a normalised observation [..., observation] to the expected return [...]."""

    config: ValueConfig

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        """Applies the network."""
        config = self.config
        if obs.shape[-1] != config.observation_size:
            raise ValueError(f"{obs.shape=} must end in {config.observation_size=}")
        x = hidden_layers(config.activation, config.hidden_sizes, obs, config.layer_norm)
        return dense(1, f"hidden_{len(config.hidden_sizes)}")(x)[..., 0]
