"""Defines the latent distributions of a student: types of posterior and prior.

A latent type consists of a family, which builds distributions inside a network, and the distributions. This
module has the diagonal Gaussian, and `fsq` another; `vae_config.latent` names a user's own by its path
("my_lab.latents:Laplace").
"""

from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import gaussians
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import is_path, load_object
from vnl_mjx.models.fsq import FsqFamily


class Latent(Protocol):
    """Defines a distribution over latents, a pytree of [..., *] arrays."""

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws a latent [..., latent_dim], through which gradients flow."""
        ...

    def mode(self) -> jax.Array:
        """Returns the most likely latent [..., latent_dim]."""
        ...

    def kl(self, prior: Any) -> jax.Array:
        """Returns KL(self || prior) of each dimension, not reduced: [..., latent_dim], nats."""
        ...

    def parameters(self) -> dict[str, jax.Array]:
        """Returns named arrays [..., latent_dim] for logs and analyses; "std" where there is one."""
        ...


class LatentFamily(Protocol):
    """Builds posterior and prior from a network's features.

    Both methods run inside a compact Flax method, so they may call `nn.Dense(..., name=...)`. The
    constructor takes the `VaeConfig`.
    """

    def posterior(self, features: jax.Array) -> Latent:
        """Returns q(z | context, reference) from features [..., features]."""
        ...

    def prior(self, features: jax.Array) -> Latent:
        """Returns p(z | context) from features [..., features]."""
        ...


@flax.struct.dataclass
class Gaussian:
    """Defines a diagonal Gaussian.

    Attributes:
        mean: [..., latent_dim].
        logvar: [..., latent_dim] log-variance.
    """

    mean: jax.Array
    logvar: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """See `Latent.sample`."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(0.5 * self.logvar) * noise

    def mode(self) -> jax.Array:
        """See `Latent.mode`."""
        return self.mean

    def kl(self, prior: "Gaussian") -> jax.Array:
        """See `Latent.kl`."""
        if self.mean.shape != prior.mean.shape:
            raise ValueError(f"{self.mean.shape=} differs from {prior.mean.shape=}")
        return gaussians.kl_divergence(self.mean, self.logvar, prior.mean, prior.logvar)

    def parameters(self) -> dict[str, jax.Array]:
        """See `Latent.parameters`."""
        return {"mean": self.mean, "std": jnp.exp(0.5 * self.logvar)}


class GaussianFamily:
    """Builds Gaussians: mean and clamped log-variance, each from one dense layer of the features."""

    def __init__(self, config: Any):
        """Takes latent_dim, logvar_min and logvar_max of a `VaeConfig`."""
        self._config = config

    def posterior(self, features: jax.Array) -> Gaussian:
        """See `LatentFamily.posterior`."""
        config = self._config
        mean = nn.Dense(config.latent_dim, name="mean")(features)
        logvar = nn.Dense(config.latent_dim, name="logvar")(features)
        return Gaussian(mean, jnp.clip(logvar, config.logvar_min, config.logvar_max))

    prior = posterior


def build_family(config: Any) -> LatentFamily:
    """Returns the latent family that `config.latent` of a `VaeConfig` names.

    Raises:
        UserError: there is no family of that name or path.
    """
    if is_path(config.latent):
        return load_object(config.latent, "vae_config.latent")(config)
    families = {"gaussian": GaussianFamily, "fsq": FsqFamily}
    if config.latent not in families:
        raise UserError(
            "vae_config.latent: expected gaussian, fsq or the path of a latent family "
            f"(my_lab.latents:Laplace), found {config.latent!r}"
        )
    return families[config.latent](config)
