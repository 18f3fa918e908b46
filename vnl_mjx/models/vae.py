"""The student: a conditional VAE over actions.

encoder q(z | proprioception, reference), prior p(z | proprioception), decoder a(proprioception, z).
The learned prior and the decoder are the reusable motor primitives: `prior -> sample -> decode`
needs no reference.
"""

from dataclasses import asdict, dataclass
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import gaussians
from vnl_mjx.models.layers import ACTIVATIONS


@dataclass(frozen=True)
class VaeConfig:
    """Sizes of a student; see `config.schema.VaeSection` for what a user sets."""

    reference_size: int
    proprioception_size: int
    action_size: int
    latent_dim: int = 32
    encoder_hidden_sizes: tuple[int, ...] = (512, 512, 256)
    decoder_hidden_sizes: tuple[int, ...] = (512, 512, 256)
    prior_hidden_sizes: tuple[int, ...] = (512, 256)
    activation: str = "silu"
    layer_norm: bool = True
    logvar_min: float = -5.0
    logvar_max: float = 2.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VaeConfig":
        """The inverse of `to_dict` (JSON turns tuples into lists)."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@flax.struct.dataclass
class Gaussian:
    """Mean and log-variance of a diagonal Gaussian, [..., latent_dim] each."""

    mean: jax.Array
    logvar: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised draw, [..., latent_dim]."""
        return gaussians.sample(key, self.mean, self.logvar)


@flax.struct.dataclass
class VaeOutput:
    """One full pass: posterior, prior, the sampled latent and the action it decodes to."""

    posterior: Gaussian
    prior: Gaussian
    latent: jax.Array
    action: jax.Array


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


class _GaussianHead(nn.Module):
    """An MLP whose last features give a mean and a clamped log-variance."""

    config: VaeConfig
    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> Gaussian:
        x = _MLP(self.sizes, self.config.activation, self.config.layer_norm, name="trunk")(x)
        mean = nn.Dense(self.config.latent_dim, name="mean")(x)
        logvar = nn.Dense(self.config.latent_dim, name="logvar")(x)
        return Gaussian(mean, jnp.clip(logvar, self.config.logvar_min, self.config.logvar_max))


class _StudentModule(nn.Module):
    config: VaeConfig

    def setup(self) -> None:
        config = self.config
        self.encoder = _GaussianHead(config, config.encoder_hidden_sizes)
        self.prior_network = _GaussianHead(config, config.prior_hidden_sizes)
        self.decoder = _MLP(config.decoder_hidden_sizes, config.activation, config.layer_norm)
        self.action_head = nn.Dense(config.action_size)

    def __call__(self, proprioception: jax.Array, reference: jax.Array) -> jax.Array:
        """Touches every parameter; for initialisation."""
        self.prior(proprioception)
        return self.decode(proprioception, self.encode(proprioception, reference).mean)

    def encode(self, proprioception: jax.Array, reference: jax.Array) -> Gaussian:
        return self.encoder(jnp.concatenate([proprioception, reference], axis=-1))

    def prior(self, proprioception: jax.Array) -> Gaussian:
        return self.prior_network(proprioception)

    def decode(self, proprioception: jax.Array, latent: jax.Array) -> jax.Array:
        features = self.decoder(jnp.concatenate([proprioception, latent], axis=-1))
        return jnp.tanh(self.action_head(features))


class StudentVAE:
    """Pure functions of the student's parameters. Observations are normalised by the teacher's statistics.

    Shapes, with any leading axes: proprioception [..., proprioception_size], reference
    [..., reference_size], latent [..., latent_dim], action [..., action_size] in [-1, 1].
    """

    def __init__(self, config: VaeConfig):
        """Checks the activation's name; parameters come from `init`."""
        if config.activation not in ACTIVATIONS:
            raise ValueError(f"{config.activation=} is not one of {sorted(ACTIVATIONS)}")
        self.config = config
        self._module = _StudentModule(config)

    def init(self, key: jax.Array) -> Any:
        """Fresh parameters."""
        proprioception = jnp.zeros((1, self.config.proprioception_size))
        reference = jnp.zeros((1, self.config.reference_size))
        return self._module.init(key, proprioception, reference)["params"]

    def encode(self, params: Any, proprioception: jax.Array, reference: jax.Array) -> Gaussian:
        """The posterior q(z | proprioception, reference)."""
        return self._apply(params, "encode", proprioception, reference)

    def prior(self, params: Any, proprioception: jax.Array) -> Gaussian:
        """The prior p(z | proprioception)."""
        return self._apply(params, "prior", proprioception)

    def decode(self, params: Any, proprioception: jax.Array, latent: jax.Array) -> jax.Array:
        """The action of a latent."""
        return self._apply(params, "decode", proprioception, latent)

    def act(
        self,
        params: Any,
        proprioception: jax.Array,
        reference: jax.Array,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The action that follows the reference: at the posterior mean, or at a sample with `key`."""
        posterior = self.encode(params, proprioception, reference)
        latent = posterior.mean if key is None else posterior.sample(key)
        return self.decode(params, proprioception, latent)

    def sample_prior(
        self, params: Any, proprioception: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """A latent drawn from the prior and its action: motion without a reference."""
        latent = self.prior(params, proprioception).sample(key)
        return latent, self.decode(params, proprioception, latent)

    def forward(
        self, params: Any, proprioception: jax.Array, reference: jax.Array, key: jax.Array
    ) -> VaeOutput:
        """Everything that the distillation loss reads."""
        posterior = self.encode(params, proprioception, reference)
        latent = posterior.sample(key)
        return VaeOutput(
            posterior=posterior,
            prior=self.prior(params, proprioception),
            latent=latent,
            action=self.decode(params, proprioception, latent),
        )

    def _apply(self, params: Any, method: str, *args: jax.Array) -> Any:
        return self._module.apply({"params": params}, *args, method=method)
