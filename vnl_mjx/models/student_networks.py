"""The networks of a student: what reads the body, encoder, prior and decoder."""

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
    """Sizes of a student: what a user sets, and those of what it reads and does."""

    # known here, whatever the user left to the teacher
    latent_dim: int = field()
    encoder_hidden_sizes: tuple[int, ...] = field()
    decoder_hidden_sizes: tuple[int, ...] = field()
    activation: Activation = field()
    reference_size: int
    proprioception_size: int
    action_size: int

    @classmethod
    def of_teacher(cls, section: VaeSection, teacher: IntentionConfig, **sizes: int) -> "VaeConfig":
        """Returns a student of `teacher`, whose sizes `section` leaves open; `sizes` are of the task."""
        given = {name: value for name, value in asdict(section).items() if value is not None}
        open_ = {name: getattr(teacher, name) for name in _TEACHERS if name not in given}
        return cls(**given, **open_, **sizes)

    def begins_as(self, teacher: IntentionConfig) -> bool:
        """Whether encoder and decoder can begin as the teacher's, and are to."""
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
    """Dense -> activation -> LayerNorm for each hidden size, as the teacher's own layers are ordered."""

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
    """An MLP whose last features give a distribution over latents."""

    config: VaeConfig
    sizes: tuple[int, ...]
    is_prior: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Latent:
        x = _MLP(self.sizes, self.config.activation, self.config.layer_norm, name="trunk")(x)
        family = build_family(self.config)
        return family.prior(x) if self.is_prior else family.posterior(x)


class StudentModule(nn.Module):
    """The networks of a student. A subclass may add a memory: `context` and `initial_memory`."""

    config: VaeConfig
    frozen_parts = ()  # names of parameters that no gradient reaches

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
    """Returns a student's parameters with encoder and decoder of the teacher, whose sizes they have.

    What the student's encoder reads and the teacher's does not, the proprioception, has weights of zero; so
    at the posterior's mean the student does what the teacher does.
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
    """Layers in track-mjx's names under those of a student's."""
    return {name.replace("LayerNorm", "norm"): layer for name, layer in layers.items()}


def _trunk(layers: Mapping[str, Any], first_kernel: jax.Array) -> dict[str, Any]:
    """Layers of a teacher under the names of `_MLP`, with another kernel at their beginning."""
    renamed = trunk_of(layers)
    return renamed | {"hidden_0": {**renamed["hidden_0"], "kernel": first_kernel}}


class FrozenTeacherModule(StudentModule):
    """The teacher's own encoder and decoder, frozen, and a prior over its latent (track-mjx's SCAMPER).

    Its log-variances are the teacher's, not clamped; the prior's are.
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
