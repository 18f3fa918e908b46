"""Defines the student, a conditional VAE over actions.

encoder q(z | proprioception, reference), prior p(z | proprioception), decoder a(proprioception, z).
The learned prior and the decoder are the reusable motor primitives: `prior -> sample -> decode`
needs no reference.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import is_path, load_object
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.latents import Gaussian, build_family
from vnl_mjx.models.layers import ACTIVATIONS, as_batch, as_segment
from vnl_mjx.models.student_networks import (
    FrozenTeacherModule,
    StudentModule,
    VaeConfig,
    as_students,
)


@flax.struct.dataclass
class VaeOutput:
    """Holds the outputs of one full pass.

    Attributes:
        posterior: q(z | context, reference).
        prior: p(z | context).
        latent: [..., latent_dim] the decoded latent.
        action: [..., action_size] its action.
        memory: memory after the step, or after the last step of a segment.
    """

    posterior: Any
    prior: Any
    latent: jax.Array
    action: jax.Array
    memory: Any


class StudentVAE:
    """Defines pure functions of the student's parameters, on observations normalised by the teacher.

    Shapes, with any leading axes: proprioception [..., proprioception_size], reference
    [..., reference_size], latent [..., latent_dim], action [..., action_size] in [-1, 1]. The context is
    the networks' input from the body: the proprioception, or a recurrent student's encoding of it.
    """

    def __init__(self, config: VaeConfig, teacher: IntentionConfig | None = None):
        """Finds the networks and the latent that `config` names; parameters come from `init`.

        Args:
            config: sizes and names.
            teacher: teacher whose networks, and so the latent's size, `config.network` "teacher" takes over.

        Raises:
            UserError: the named network or latent does not exist, or the teacher is recurrent.
        """
        if config.activation not in ACTIVATIONS:
            raise ValueError(f"{config.activation=} is not one of {sorted(ACTIVATIONS)}")
        kind = StudentModule
        if is_path(config.network):
            kind = load_object(config.network, "vae_config.network")
        elif config.network == "teacher" and teacher is not None:
            if teacher.is_recurrent:
                raise UserError(
                    "vae_config.network: teacher needs a teacher without a memory, found one with an LSTM "
                    "decoder; give mlp"
                )
            config = replace(config, latent_dim=teacher.latent_dim)
            kind = partial(FrozenTeacherModule, teacher=teacher)
        elif config.network != "mlp":
            raise UserError(
                "vae_config.network: expected mlp, teacher or the path of a StudentModule "
                f"(my_lab.networks:Gru), found {config.network!r}"
            )
        build_family(config)
        self.config, self.teacher = config, teacher
        self._module = kind(config)

    def init(self, key: jax.Array, teacher: Any = None) -> Any:
        """Returns fresh parameters; a given `FrozenPolicy` supplies the teacher's parts."""
        proprioception = jnp.zeros((1, self.config.proprioception_size))
        reference = jnp.zeros((1, self.config.reference_size))
        memory = self.initial_memory((1,))
        params = self._module.init(key, proprioception, reference, memory)["params"]
        if teacher is None:
            return params
        if self.config.begins_as(teacher.config):
            return as_students(teacher, params)
        frozen = {name: teacher.params["params"] for name in self._module.frozen_parts}
        return {**params, **frozen}

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Returns the memory at the start of an episode; () for a feed-forward student."""
        return self._module.initial_memory(self.config, batch_shape)

    @property
    def is_recurrent(self) -> bool:
        """Whether the student has a memory."""
        return bool(jax.tree.leaves(jax.eval_shape(self.initial_memory)))

    @property
    def is_gaussian(self) -> bool:
        """Whether the prior is a `Gaussian`, so that noise of any width can be drawn around its mean."""

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
        from_prior: jax.Array | None = None,
    ) -> VaeOutput:
        """Runs one step at a latent drawn from the posterior with `key`, or at its mode without a key.

        Where `from_prior`, [...] bool, is true, the latent comes from the prior.
        """
        context, memory = self.context(params, proprioception, memory)
        return self._finish(params, context, reference, key, memory, from_prior)

    def unroll(
        self,
        params: Any,
        proprioception: jax.Array,
        reference: jax.Array,
        key: jax.Array,
        memory: Any,
        starts: jax.Array,
    ) -> VaeOutput:
        """Runs a segment in the order of time.

        Args:
            params: the student's parameters.
            proprioception: [time, env, proprioception_size].
            reference: [time, env, reference_size].
            key: draws the latents.
            memory: [env, ...] before the first step.
            starts: [time, env] bool, the first step of an episode, which resets the memory.
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
        from_prior: jax.Array | None = None,
    ) -> VaeOutput:
        posterior, prior = self.encode(params, context, reference), self.prior(params, context)
        latent = posterior.mode() if key is None else posterior.sample(key)
        if from_prior is not None:
            drawn = prior.mode() if key is None else prior.sample(key)
            latent = jnp.where(from_prior[..., None], drawn, latent)
        return VaeOutput(
            posterior=posterior,
            prior=prior,
            latent=latent,
            action=self.decode(params, context, latent),
            memory=memory,
        )

    def _apply(self, params: Any, method: str, *args: Any) -> Any:
        frozen = {name: params[name] for name in self._module.frozen_parts}
        params = {**params, **jax.lax.stop_gradient(frozen)}
        return self._module.apply({"params": params}, *args, method=method)
