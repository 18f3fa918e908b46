"""Wraps a trained student: takes raw observations, returns latents and actions."""

from typing import Any

import flax.struct
import jax

from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.latents import Latent
from vnl_mjx.models.vae import StudentVAE


@flax.struct.dataclass
class Student:
    """Holds a trained student as one pytree, which may be an argument of a compiled function.

    Proprioception [..., proprioception_size] and reference [..., reference_size] are raw, as from an
    environment's `observe`, with any leading axes; the student normalises them with the teacher's frozen
    statistics.

    `memory` is for recurrent students (`initial_memory`, then `remember` once per control step); None is
    the start of an episode. Leave it out for a feed-forward student.

    Attributes:
        params: parameters of the networks.
        teacher: the policy that the student was distilled from.
        networks: static; the networks as functions of parameters and normalised observations.
    """

    params: Any
    teacher: FrozenPolicy
    networks: StudentVAE = flax.struct.field(pytree_node=False)

    @property
    def latent_dim(self) -> int:
        """Size of the latent."""
        return self.networks.config.latent_dim

    @property
    def decoder(self) -> "PrimitiveDecoder":
        """The decoder alone, from a latent to an action."""
        return PrimitiveDecoder(self)

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Returns the memory at the start of an episode; () for a feed-forward student."""
        return self.networks.initial_memory(batch_shape)

    def remember(self, proprioception: jax.Array, memory: Any = None) -> Any:
        """Returns the memory after this control step."""
        return self._context(proprioception, memory)[1]

    def prior(self, proprioception: jax.Array, memory: Any = None) -> Latent:
        """Returns p(z | proprioception): `sample(key)` and `mode()` give latents [..., latent_dim]."""
        context, _ = self._context(proprioception, memory)
        return self.networks.prior(self.params, context)

    def encode(self, proprioception: jax.Array, reference: jax.Array, memory: Any = None) -> Latent:
        """Returns the posterior q(z | proprioception, reference)."""
        context, _ = self._context(proprioception, memory)
        normalized = self.teacher.normalize(reference, "reference")
        return self.networks.encode(self.params, context, normalized)

    def decode(self, proprioception: jax.Array, latent: jax.Array, memory: Any = None) -> jax.Array:
        """Returns the action [..., action_size] in [-1, 1] of a latent [..., latent_dim]."""
        context, _ = self._context(proprioception, memory)
        return self.networks.decode(self.params, context, latent)

    def act(self, proprioception: jax.Array, reference: jax.Array, memory: Any = None) -> jax.Array:
        """Returns the action [..., action_size] in [-1, 1] at the posterior's mode."""
        latent = self.encode(proprioception, reference, memory).mode()
        return self.decode(proprioception, latent, memory)

    def _context(self, proprioception: jax.Array, memory: Any) -> tuple[jax.Array, Any]:
        if memory is None:
            memory = self.initial_memory(proprioception.shape[:-1])
        normalized = self.teacher.normalize(proprioception, "proprioception")
        return self.networks.context(self.params, normalized, memory)


@flax.struct.dataclass
class PrimitiveDecoder:
    """Holds the decoder of a student: the reusable motor primitives."""

    student: Student

    def act(self, proprioception: jax.Array, latent: jax.Array, memory: Any = None) -> jax.Array:
        """Returns the action of a latent; see `Student.decode`."""
        return self.student.decode(proprioception, latent, memory)
