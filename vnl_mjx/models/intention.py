"""Defines the intention network: an encoder of the reference, a latent, a decoder with proprioception.

Order of layers, names of parameters and arithmetic are those of track-mjx, so its parameters fit
(`agent/mlp_ppo/intention_network.py`, `agent/lstm_ppo/intention_network.py`,
`agent/recurrent_ppo/networks.py`, `agent/mlp_distill/student_network.py`).
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vnl_mjx.models.layers import ACTIVATIONS, dense, hidden_layers

MIN_ACTION_STD = 1e-3
MIN_OBSERVATION_STD = 1e-6

# Flax's carry of each layer: (cell, hidden) for an LSTM, else the hidden state.
Memory = tuple[Any, ...]
Cell = Literal["lstm", "gru", "simple"]
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "simple": nn.SimpleCell}
SQUASHES = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


@dataclass(frozen=True)
class IntentionConfig:
    """Holds the sizes of an intention network.

    Attributes:
        reference_size: leading entries of the observation, which the encoder reads.
        proprioception_size: the entries after them, which the decoder reads.
        activation: a key of `ACTIVATIONS`.
        memory_sizes: widths of a recurrent decoder's layers. It has no other hidden layers:
            `decoder_hidden_sizes` is then ignored, as upstream ignores it. Empty: feed-forward.
        cell: cell of the recurrent layers.
        observation_clip: standard deviations at which normalised observations are clipped; None: never, as
            in track-mjx.
        encoder_reads_body: the encoder reads the whole observation, as in track-mjx's students.
        squash: bounds the actions: "tanh" to (-1, 1), "sigmoid" to (0, 1).
        logvar_range: range to which the posterior's log-variance is clipped; None: no clipping.
    """

    reference_size: int
    proprioception_size: int
    action_size: int
    latent_dim: int
    encoder_hidden_sizes: tuple[int, ...]
    decoder_hidden_sizes: tuple[int, ...]
    activation: str = "silu"
    memory_sizes: tuple[int, ...] = ()
    cell: Cell = "lstm"
    observation_clip: float | None = None
    encoder_reads_body: bool = False
    squash: Literal["tanh", "sigmoid"] = "tanh"
    logvar_range: tuple[float | None, float | None] | None = None

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"{self.activation=} must be one of {sorted(ACTIVATIONS)}")

    @property
    def observation_size(self) -> int:
        """Size of the flat observation."""
        return self.reference_size + self.proprioception_size

    @property
    def is_recurrent(self) -> bool:
        """Whether the decoder carries a memory."""
        return bool(self.memory_sizes)

    @property
    def decoder_name(self) -> str:
        """The name of the decoder's parameters, under "params"."""
        return f"{self.cell}_decoder" if self.is_recurrent else "decoder"

    @property
    def last_layer_name(self) -> str:
        """The name of the decoder's last layer, in the decoder's parameters."""
        number = len(self.decoder_hidden_sizes)
        return f"{self.cell}_projection" if self.is_recurrent else f"hidden_{number}"

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Memory:
        """Returns the memory at the start of an episode, zeros [*batch_shape, size] per layer; () without."""
        zeros = (jnp.zeros((*batch_shape, size)) for size in self.memory_sizes)
        return tuple((layer, layer) if self.cell == "lstm" else layer for layer in zeros)


@struct.dataclass
class IntentionOutput:
    """Holds the output of the network.

    Attributes:
        logits: [..., 2 * action] location, then raw scale, of the action before the squash.
        latent: [..., latent] the decoded latent.
        latent_mean: [..., latent] mean of the posterior.
        latent_logvar: [..., latent] log-variance of the posterior.
        memory: the next memory.
    """

    logits: jax.Array
    latent: jax.Array
    latent_mean: jax.Array
    latent_logvar: jax.Array
    memory: Memory


@struct.dataclass
class PolicyOutput(IntentionOutput):
    """Holds the network's output and the action.

    Attributes:
        action: [..., action] in (-1, 1), or (0, 1) of a sigmoid.
    """

    action: jax.Array


class Encoder(nn.Module):
    """Maps its normalised input [..., size] to posterior mean and log-variance [..., latent]."""

    config: IntentionConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Applies the encoder."""
        config = self.config
        x = hidden_layers(config.activation, config.encoder_hidden_sizes, x)
        mean = dense(config.latent_dim, "fc2_mean")(x)
        logvar = dense(config.latent_dim, "fc2_logvar")(x)
        if config.logvar_range is not None:
            logvar = jnp.clip(logvar, *config.logvar_range)
        return mean, logvar


class Decoder(nn.Module):
    """Maps latent and normalised proprioception [..., latent + proprioception] to logits."""

    config: IntentionConfig

    @nn.compact
    def __call__(self, x: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Applies the decoder; returns logits and the next memory."""
        sizes = self.config.decoder_hidden_sizes
        x = hidden_layers(self.config.activation, sizes, x)
        return dense(2 * self.config.action_size, self.config.last_layer_name)(x), memory


class RecurrentDecoder(nn.Module):
    """Decodes like `Decoder`, through stacked recurrent cells and one projection."""

    config: IntentionConfig

    @nn.compact
    def __call__(self, x: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Applies the decoder; returns logits and the next memory."""
        cell, carries = self.config.cell, []
        for i, (size, carry) in enumerate(zip(self.config.memory_sizes, memory, strict=True)):
            layer = CELLS[cell](
                size, kernel_init=nn.initializers.lecun_uniform(), name=f"{cell}_{i}"
            )
            carry, x = layer(carry, x)
            carries.append(carry)
        return dense(2 * self.config.action_size, self.config.last_layer_name)(x), tuple(carries)


class IntentionNetwork(nn.Module):
    """Combines encoder, latent and decoder; the decoder is recurrent if the config says so."""

    config: IntentionConfig

    def setup(self):
        """Names the parts as track-mjx does."""
        self.encoder = Encoder(self.config)
        kind = RecurrentDecoder if self.config.is_recurrent else Decoder
        setattr(self, self.config.decoder_name, kind(self.config))

    def encode(
        self, reference: jax.Array, proprioception: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log-variance [..., latent] of the posterior, from normalised parts."""
        parts = [reference, proprioception] if self.config.encoder_reads_body else [reference]
        return self.encoder(jnp.concatenate(parts, axis=-1))

    def decode(
        self, latent: jax.Array, proprioception: jax.Array, memory: Memory = ()
    ) -> tuple[jax.Array, Memory]:
        """Returns logits [..., 2 * action] and next memory, from a latent and normalised proprioception."""
        decoder = getattr(self, self.config.decoder_name)
        return decoder(jnp.concatenate([latent, proprioception], axis=-1), memory)

    def __call__(
        self,
        obs: jax.Array,
        memory: Memory = (),
        *,
        key: jax.Array | None = None,
        noise: jax.Array | None = None,
        latent: jax.Array | None = None,
    ) -> IntentionOutput:
        """Encodes the reference and decodes a latent.

        Args:
            obs: [..., observation], normalised.
            memory: as `IntentionConfig.initial_memory` gives it, with the batch shape of `obs`.
            key: draws the latent from the posterior. Without a key the latent is the posterior mean; a
                recurrent network decodes the mean in either case, as upstream does.
            noise: [..., latent] standard normal, in place of `key`.
            latent: [..., latent] to decode instead.
        """
        self._check(obs, memory)
        reference, proprioception = jnp.split(obs, [self.config.reference_size], axis=-1)
        mean, logvar = self.encode(reference, proprioception)
        if latent is None:
            latent = mean
            if noise is None and key is not None:
                noise = jax.random.normal(key, mean.shape, mean.dtype)
            if noise is not None and not self.config.is_recurrent:
                latent = mean + jnp.exp(0.5 * logvar) * noise
        logits, memory = self.decode(latent, proprioception, memory)
        return IntentionOutput(logits, latent, mean, logvar, memory)

    def _check(self, obs: jax.Array, memory: Memory) -> None:
        if obs.shape[-1] != self.config.observation_size:
            raise ValueError(f"{obs.shape=} must end in {self.config.observation_size=}")
        wanted = jax.eval_shape(lambda: self.config.initial_memory(obs.shape[:-1]))
        found, expected = (jax.tree.map(jnp.shape, tree) for tree in (memory, wanted))
        if found != expected:
            raise ValueError(f"memory shapes {found} must be {expected}; see initial_memory")


def action_distribution(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns mean and standard deviation [..., action] of the action before it is squashed.

    The scale is that of brax's `NormalTanhDistribution`: softplus, then a floor is added.
    """
    loc, raw_scale = jnp.split(logits, 2, axis=-1)
    return loc, jax.nn.softplus(raw_scale) + MIN_ACTION_STD


def raw_scale(std: float) -> float:
    """Inverts `action_distribution`: returns the raw scale of a deviation above `MIN_ACTION_STD`."""
    return float(np.log(np.expm1(std - MIN_ACTION_STD)))


def normalized(obs: jax.Array, mean: jax.Array, std: jax.Array, clip: float | None) -> jax.Array:
    """Returns (obs - mean) / std [..., observation], clipped to +-`clip` if given."""
    scaled = (obs - mean) / jnp.maximum(std, MIN_OBSERVATION_STD)
    return scaled if clip is None else jnp.clip(scaled, -clip, clip)


@struct.dataclass
class FrozenPolicy:
    """Holds a trained intention network with its observation statistics, as one pytree.

    No gradient flows to its parameters or to the observation.

    Attributes:
        params: variables of `IntentionNetwork`, {"params": ...}.
        obs_mean: [observation].
        obs_std: [observation].
        config: static.
    """

    params: Any
    obs_mean: jax.Array
    obs_std: jax.Array
    config: IntentionConfig = struct.field(pytree_node=False)

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Memory:
        """Returns the memory at the start of an episode; () for a feed-forward policy."""
        return self.config.initial_memory(batch_shape)

    def normalize(self, values: jax.Array, part: str = "observation") -> jax.Array:
        """Normalises a raw observation [..., observation], or a part of it, for the network.

        Args:
            values: [..., size].
            part: "observation", or "reference" or "proprioception" alone.
        """
        size = self.config.reference_size
        parts = {"reference": slice(size), "proprioception": slice(size, None)}
        rows = parts.get(part, slice(None))
        mean, std = self.obs_mean[rows], self.obs_std[rows]
        if values.shape[-1:] != mean.shape:
            raise ValueError(f"{part}: shape {values.shape} must end in {mean.shape[0]}")
        clip = self.config.observation_clip
        return jax.lax.stop_gradient(normalized(values, mean, std, clip))

    def split(self, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Splits an observation into reference [..., reference] and proprioception [..., proprioception]."""
        size = self.config.reference_size
        return obs[..., :size], obs[..., size:]

    def act(
        self,
        obs: jax.Array,
        memory: Memory = (),
        *,
        key: jax.Array | None = None,
        latent: jax.Array | None = None,
    ) -> PolicyOutput:
        """Runs one step of the policy.

        Args:
            obs: [..., observation], raw, reference before proprioception.
            memory: of the previous step, or `initial_memory(obs.shape[:-1])`.
            key: draws the latent (unless given) and the action. Without a key both are modes.
            latent: [..., latent] latent to decode instead of the encoder's.
        """
        latent_key, action_key = (None, None) if key is None else jax.random.split(key)
        # Full float32 products, because a GPU's default precision changes the actions by about 1e-3.
        with jax.default_matmul_precision("highest"):
            applied = IntentionNetwork(self.config).apply(
                self.params, self.normalize(obs), memory, key=latent_key, latent=latent
            )
        output = cast(IntentionOutput, applied)
        raw_action, std = action_distribution(output.logits)
        if action_key is not None:
            noise = jax.random.normal(action_key, raw_action.shape, raw_action.dtype)
            raw_action = raw_action + std * noise
        action = SQUASHES[self.config.squash](raw_action)
        return jax.lax.stop_gradient(PolicyOutput(**vars(output), action=action))
