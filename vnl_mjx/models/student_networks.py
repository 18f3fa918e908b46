"""Defines the networks of a student: context of the body, encoder, prior and decoder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vnl_mjx.config.schema import Activation, VaeSection
from vnl_mjx.models.intention import (
    SQUASHES,
    FrozenPolicy,
    IntentionConfig,
    IntentionNetwork,
    action_distribution,
)
from vnl_mjx.models.latents import Gaussian, Latent, build_family
from vnl_mjx.models.layers import ACTIVATIONS

_TASKS = ("reference_size", "proprioception_size", "action_size")
_TEACHERS = ("latent_dim", "encoder_hidden_sizes", "decoder_hidden_sizes", "activation")


@dataclass(frozen=True, kw_only=True)
class VaeConfig(VaeSection):
    """Holds the sizes of a student: the user's settings, and the sizes of observation and action."""

    # set here, even if the user left them to the teacher
    latent_dim: int = field()
    encoder_hidden_sizes: tuple[int, ...] = field()
    decoder_hidden_sizes: tuple[int, ...] = field()
    activation: Activation = field()
    reference_size: int
    proprioception_size: int
    action_size: int

    @classmethod
    def of_teacher(cls, section: VaeSection, teacher: IntentionConfig, **sizes: int) -> "VaeConfig":
        """Returns a student whose open sizes in `section` come from `teacher`; `sizes` are the task's."""
        given = {name: value for name, value in asdict(section).items() if value is not None}
        open_ = {name: getattr(teacher, name) for name in _TEACHERS if name not in given}
        return cls(**given, **open_, **sizes)

    def begins_as(self, teacher: IntentionConfig) -> bool:
        """Returns whether encoder and decoder can, and should, start as the teacher's."""
        is_like = all(
            getattr(self, name) == getattr(teacher, name) for name in (*_TEACHERS, *_TASKS)
        )
        kind = self.network, self.latent, self.posterior, self.layer_norm, self.start
        return (
            is_like
            and not teacher.is_recurrent
            and not teacher.encoder_reads_body
            and teacher.squash == "tanh"
            and kind == ("mlp", "gaussian", "absolute", True, "teacher")
        )


class _MLP(nn.Module):
    """Applies dense -> activation -> LayerNorm for each hidden size, in the teacher's order."""

    sizes: tuple[int, ...]
    activation: str
    layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, size in enumerate(self.sizes):
            x = nn.Dense(size, kernel_init=nn.initializers.lecun_uniform(), name=f"hidden_{i}")(x)
            x = ACTIVATIONS[self.activation](x)
            if self.layer_norm:
                x = nn.LayerNorm(name=f"norm_{i}")(x)
        return x


class _LatentNetwork(nn.Module):
    """Applies an MLP and a family's layer, which gives a distribution over latents."""

    config: VaeConfig
    sizes: tuple[int, ...]
    is_prior: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Latent:
        x = _MLP(self.sizes, self.config.activation, self.config.layer_norm, name="trunk")(x)
        family = build_family(self.config)
        return family.prior(x) if self.is_prior else family.posterior(x)


class StudentModule(nn.Module):
    """Combines the networks of a student. A subclass may add a memory: `context` and `initial_memory`."""

    config: VaeConfig
    frozen_parts = ()  # names of frozen parameters

    def setup(self) -> None:
        """Names the parts."""
        config = self.config
        self.encoder = _LatentNetwork(config, config.encoder_hidden_sizes)
        self.prior_network = _LatentNetwork(config, config.prior_hidden_sizes, is_prior=True)
        self.decoder = _MLP(config.decoder_hidden_sizes, config.activation, config.layer_norm)
        self.action_head = nn.Dense(config.action_size)

    def __call__(self, proprioception: jax.Array, reference: jax.Array, memory: Any) -> jax.Array:
        """Touches every parameter; for initialisation."""
        context, _ = self.context(proprioception, memory)
        self.prior(context)
        return self.decode(context, self.encode(context, reference).mode())

    @staticmethod
    def initial_memory(config: VaeConfig, batch_shape: tuple[int, ...]) -> Any:
        """Returns the memory at the start of an episode, [*batch_shape, ...]; () without a memory."""
        return ()

    def context(self, proprioception: jax.Array, memory: Any) -> tuple[jax.Array, Any]:
        """Returns what encoder, prior and decoder read of the body, and the next memory."""
        return proprioception, memory

    def encode(self, context: jax.Array, reference: jax.Array) -> Latent:
        """Returns the posterior."""
        posterior = self.encoder(jnp.concatenate([context, reference], axis=-1))
        if self.config.posterior == "residual":
            posterior = posterior.replace(mean=self.prior(context).mean + posterior.mean)
        return posterior

    def prior(self, context: jax.Array) -> Latent:
        """Returns the prior."""
        return self.prior_network(context)

    def decode(self, context: jax.Array, latent: jax.Array) -> jax.Array:
        """Returns the action."""
        features = self.decoder(jnp.concatenate([context, latent], axis=-1))
        return jnp.tanh(self.action_head(features))


def as_students(teacher: FrozenPolicy, student: Any) -> Any:
    """Returns a student's parameters with the teacher's encoder and decoder, whose sizes must agree.

    Proprioception, which only the student's encoder reads, gets zero weights, so at the posterior's mean
    the student acts like the teacher.
    """
    parts = teacher.params["params"]
    encoder, decoder = dict(parts["encoder"]), dict(parts["decoder"])
    config = teacher.config
    mean, logvar = encoder.pop("fc2_mean"), encoder.pop("fc2_logvar")
    action = decoder.pop(config.last_layer_name)
    unread = jnp.zeros_like(student["encoder"]["trunk"]["hidden_0"]["kernel"])
    kernel = unread.at[config.proprioception_size :].set(encoder["hidden_0"]["kernel"])
    # The teacher's decoder reads the latent first, the student's the proprioception.
    latent, body = jnp.split(decoder["hidden_0"]["kernel"], [config.latent_dim])
    return {
        **student,
        "encoder": {"trunk": _trunk(encoder, kernel), "mean": mean, "logvar": logvar},
        "decoder": _trunk(decoder, jnp.concatenate([body, latent])),
        "action_head": jax.tree.map(lambda x: x[..., : config.action_size], action),
    }


def trunk_of(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Renames layers from track-mjx's names to a student's."""
    return {name.replace("LayerNorm", "norm"): layer for name, layer in layers.items()}


def _trunk(layers: Mapping[str, Any], first_kernel: jax.Array) -> dict[str, Any]:
    """Renames a teacher's layers to those of `_MLP`, with another first kernel."""
    renamed = trunk_of(layers)
    return renamed | {"hidden_0": {**renamed["hidden_0"], "kernel": first_kernel}}


class FrozenTeacherModule(StudentModule):
    """Combines the teacher's frozen encoder and decoder with a prior over its latent (track-mjx's SCAMPER).

    The teacher's log-variances are not clamped; the prior's are.
    """

    teacher: IntentionConfig | None = None
    frozen_parts = ("intention",)

    def setup(self) -> None:
        """Names the parts."""
        assert self.teacher is not None
        self.intention = IntentionNetwork(self.teacher)
        self.prior_network = _LatentNetwork(
            self.config, self.config.prior_hidden_sizes, is_prior=True
        )

    # As precise as `FrozenPolicy.act`, whose actions these are.

    def encode(self, context: jax.Array, reference: jax.Array) -> Gaussian:
        """See `StudentModule`; the teacher's encoder may read the reference alone."""
        with jax.default_matmul_precision("highest"):
            return Gaussian(*self.intention.encode(reference, context))

    def decode(self, context: jax.Array, latent: jax.Array) -> jax.Array:
        """See `StudentModule`; the mode of the teacher's action."""
        with jax.default_matmul_precision("highest"):
            logits, _ = self.intention.decode(latent, context)
        return SQUASHES[self.intention.config.squash](action_distribution(logits)[0])
