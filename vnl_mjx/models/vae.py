"""The student: a conditional VAE over actions.

encoder q(z | proprioception, reference), prior p(z | proprioception), decoder a(proprioception, z).
The learned prior and the decoder are the reusable motor primitives: `prior -> sample -> decode`
needs no reference.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.config.schema import VaeSection
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import is_path, load_object
from vnl_mjx.models.latents import Gaussian, Latent, build_family
from vnl_mjx.models.layers import ACTIVATIONS, as_batch, as_segment


@dataclass(frozen=True, kw_only=True)
class VaeConfig(VaeSection):
    """Sizes of a student: what a user sets, and those of what it reads and does."""

    reference_size: int
    proprioception_size: int
    action_size: int


@flax.struct.dataclass
class VaeOutput:
    """One full pass.

    Attributes:
        posterior: q(z | context, reference).
        prior: p(z | context).
        latent: [..., latent_dim] that was decoded.
        action: [..., action_size] that it decodes to.
        memory: after the step; of the last step, where a segment was passed.
    """

    posterior: Any
    prior: Any
    latent: jax.Array
    action: jax.Array
    memory: Any


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
        return self.encoder(jnp.concatenate([context, reference], axis=-1))

    def prior(self, context: jax.Array) -> Latent:
        """Returns the prior."""
        return self.prior_network(context)

    def decode(self, context: jax.Array, latent: jax.Array) -> jax.Array:
        """Returns the action."""
        features = self.decoder(jnp.concatenate([context, latent], axis=-1))
        return jnp.tanh(self.action_head(features))


class StudentVAE:
    """Pure functions of the student's parameters. Observations are normalised by the teacher's statistics.

    Shapes, with any leading axes: proprioception [..., proprioception_size], reference
    [..., reference_size], latent [..., latent_dim], action [..., action_size] in [-1, 1]. The context is
    what the networks read of the body: the proprioception, or what a recurrent student makes of it.
    """

    def __init__(self, config: VaeConfig):
        """Finds the networks and the latent that `config` names; parameters come from `init`.

        Raises:
            UserError: the network or the latent that is named does not exist.
        """
        if config.activation not in ACTIVATIONS:
            raise ValueError(f"{config.activation=} is not one of {sorted(ACTIVATIONS)}")
        build_family(config)
        kind = StudentModule
        if is_path(config.network):
            kind = load_object(config.network, "vae_config.network")
        elif config.network != "mlp":
            raise UserError(
                "vae_config.network: expected mlp or the path of a StudentModule (my_lab.networks:Gru), "
                f"found {config.network!r}"
            )
        self.config = config
        self._module = kind(config)

    def init(self, key: jax.Array) -> Any:
        """Returns fresh parameters."""
        proprioception = jnp.zeros((1, self.config.proprioception_size))
        reference = jnp.zeros((1, self.config.reference_size))
        memory = self.initial_memory((1,))
        return self._module.init(key, proprioception, reference, memory)["params"]

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Returns the memory at the start of an episode; () for a feed-forward student."""
        return self._module.initial_memory(self.config, batch_shape)

    @property
    def is_recurrent(self) -> bool:
        """Whether the student has a memory."""
        return bool(jax.tree.leaves(jax.eval_shape(self.initial_memory)))

    @property
    def is_gaussian(self) -> bool:
        """Whether the prior is a `Gaussian`, so that noise of another width can be drawn around its mean."""

        def prior() -> Any:
            proprioception = jnp.zeros((1, self.config.proprioception_size))
            params = self.init(jax.random.PRNGKey(0))
            context, _ = self.context(params, proprioception, self.initial_memory((1,)))
            return self.prior(params, context)

        return isinstance(jax.eval_shape(prior), Gaussian)

    def context(
        self, params: Any, proprioception: jax.Array, memory: Any = ()
    ) -> tuple[jax.Array, Any]:
        """Returns what encoder, prior and decoder read of the body, and the next memory."""
        return self._apply(params, "context", proprioception, memory)

    def encode(self, params: Any, context: jax.Array, reference: jax.Array) -> Any:
        """Returns the posterior q(z | context, reference)."""
        return self._apply(params, "encode", context, reference)

    def prior(self, params: Any, context: jax.Array) -> Any:
        """Returns the prior p(z | context)."""
        return self._apply(params, "prior", context)

    def decode(self, params: Any, context: jax.Array, latent: jax.Array) -> jax.Array:
        """Returns the action of a latent."""
        return self._apply(params, "decode", context, latent)

    def forward(
        self,
        params: Any,
        proprioception: jax.Array,
        reference: jax.Array,
        key: jax.Array | None = None,
        memory: Any = (),
    ) -> VaeOutput:
        """Makes one step at a latent drawn from the posterior with `key`, or at its mode without."""
        context, memory = self.context(params, proprioception, memory)
        return self._finish(params, context, reference, key, memory)

    def unroll(
        self,
        params: Any,
        proprioception: jax.Array,
        reference: jax.Array,
        key: jax.Array,
        memory: Any,
        starts: jax.Array,
    ) -> VaeOutput:
        """Passes a segment in the order of time.

        Args:
            params: the student's.
            proprioception: [time, env, proprioception_size].
            reference: [time, env, reference_size].
            key: draws the latents.
            memory: [env, ...] before the first step.
            starts: [time, env] bool, the first step of an episode, before which memory is forgotten.
        """
        if self.is_recurrent:

            def step(memory: Any, inputs: tuple[jax.Array, jax.Array]):
                proprioception, starts = inputs
                memory = masking.where(starts, self.initial_memory(starts.shape), memory)
                context, memory = self.context(params, proprioception, memory)
                return memory, context

            memory, context = jax.lax.scan(step, memory, (proprioception, starts))
        else:
            context, memory = self.context(params, proprioception, memory)
        output = self._finish(params, as_batch(context), as_batch(reference), key, ())
        return jax.tree.map(lambda x: as_segment(x, starts), output).replace(memory=memory)

    def _finish(
        self,
        params: Any,
        context: jax.Array,
        reference: jax.Array,
        key: jax.Array | None,
        memory: Any,
    ) -> VaeOutput:
        posterior = self.encode(params, context, reference)
        latent = posterior.mode() if key is None else posterior.sample(key)
        return VaeOutput(
            posterior=posterior,
            prior=self.prior(params, context),
            latent=latent,
            action=self.decode(params, context, latent),
            memory=memory,
        )

    def _apply(self, params: Any, method: str, *args: Any) -> Any:
        return self._module.apply({"params": params}, *args, method=method)
