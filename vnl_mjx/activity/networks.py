"""Runs a teacher or a student and gives every layer, latent and action of each step beside the action."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.activity.capture import capture
from vnl_mjx.activity.file import ACTION, LATENT, LAYERS, OBSERVATION
from vnl_mjx.activity.noise import LatentNoise
from vnl_mjx.models.intention import (
    SQUASHES,
    FrozenPolicy,
    IntentionNetwork,
    action_distribution,
)
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.models.value import ValueConfig, ValueNetwork
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.policies import Acted, TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy

OUTPUTS = "outputs"
_SAMPLES = 1  # stream of a step's key for the samples of --samples


class Encoded(NamedTuple):
    """Holds one step of the networks up to the latent.

    Attributes:
        posterior: the distribution of the latent.
        prior: the student's prior; None of a teacher.
        context: what the decoder reads besides the latent, arrays of [num_envs, ...].
        memory: the next memory, but for a teacher's.
    """

    posterior: Any
    prior: Any
    context: Any
    memory: Any


# From what a decoder reads and a latent [..., latent] to an action [..., action] and a teacher's memory.
Decode = Callable[[Any, jax.Array], tuple[jax.Array, Any]]


@flax.struct.dataclass
class StoredValue:
    """Holds a teacher's value network.

    Attributes:
        params: its variables.
        config: static.
    """

    params: Any
    config: ValueConfig = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class RecordingPolicy:
    """Acts like `policy` at the mode; `extra` holds what a record file can hold, by name.

    Attributes:
        policy: the teacher or the student.
        value: the teacher's value network; None without one.
        noise: noise of the decoded latent; None decodes the posterior's mode.
        replaced: layers that pass on given values, see `capture`.
        samples: static; latents drawn from the posterior in each state, 0: none.
        with_outputs: static; `extra` also has "outputs", what the modules of each layer returned.
    """

    policy: TeacherPolicy | StudentPolicy
    value: StoredValue | None = None
    noise: LatentNoise | None = None
    replaced: Any = flax.struct.field(default_factory=dict)
    samples: int = flax.struct.field(pytree_node=False, default=0)
    with_outputs: bool = flax.struct.field(pytree_node=False, default=False)

    @property
    def frozen(self) -> FrozenPolicy:
        """The policy whose statistics normalise the observations."""
        return _frozen(self.policy)

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return self.policy.initial_memory(num_envs)

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`; `extra` maps "group/name" to [num_envs, width]."""
        normalized = self.frozen.normalize(observation.flat())
        encode, decode = _parts(self.policy)
        with capture(self.replaced) as layers:
            encoded = encode(normalized, memory)
            latent = encoded.posterior.mode()
            if self.noise is not None:
                latent = self.noise.drawn(encoded.posterior, key)
            action, next_memory = decode(encoded.context, latent)
        extra: dict[str, Any] = {
            f"{OBSERVATION}/normalized": normalized,
            f"{ACTION}/action": action,
        }
        extra |= {f"{LAYERS}/{name}": values for name, values in layers.values.items()}
        extra |= _latents(encoded, latent)
        with capture(self.replaced):  # replaces the same layers; what it captures is not read
            if self.samples:
                extra |= self._sampled(encoded, latent, decode, jax.random.fold_in(key, _SAMPLES))
        if self.value is not None:
            with capture(self.replaced, "value") as value_layers:
                ValueNetwork(self.value.config).apply(self.value.params, normalized)
            extra |= {f"{LAYERS}/{name}": v for name, v in value_layers.values.items()}
        if self.with_outputs:
            extra[OUTPUTS] = layers.outputs
        if isinstance(self.policy, StudentPolicy):
            teacher_memory, _ = memory
            labelled = self.policy.teacher.act(observation.flat(), teacher_memory)
            extra[f"{ACTION}/teacher"] = labelled.action
            next_memory = labelled.memory, encoded.memory
        return Acted(action, next_memory, extra)

    def _sampled(
        self, encoded: Encoded, latent: jax.Array, decode: Decode, key: jax.Array
    ) -> dict[str, jax.Array]:
        """Returns the action's spread over latents of the posterior, and its slope at the decoded latent."""
        keys = jax.random.split(key, self.samples)
        drawn = jax.vmap(encoded.posterior.sample)(keys)  # [sample, num_envs, latent]
        context = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (self.samples, *x.shape)), encoded.context
        )

        def slope(context: Any, latent: jax.Array) -> jax.Array:
            return jax.jacfwd(lambda z: decode(context, z)[0])(latent)  # [action, latent]

        return {
            f"{ACTION}/spread": jnp.std(decode(context, drawn)[0], axis=0),
            f"{LATENT}/sensitivity": jnp.linalg.norm(
                jax.vmap(slope)(encoded.context, latent), axis=-2
            ),
        }


def _frozen(policy: TeacherPolicy | StudentPolicy) -> FrozenPolicy:
    return policy.teacher if isinstance(policy, StudentPolicy) else policy.policy


def _parts(policy: TeacherPolicy | StudentPolicy) -> tuple[Callable[..., Encoded], Decode]:
    return _student(policy) if isinstance(policy, StudentPolicy) else _teacher(policy.policy)


def _teacher(policy: FrozenPolicy) -> tuple[Callable[..., Encoded], Decode]:
    network, params = IntentionNetwork(policy.config), jax.lax.stop_gradient(policy.params)

    # As precise as `FrozenPolicy.act`, whose actions these are.
    def encode(normalized: jax.Array, memory: Any) -> Encoded:
        reference, body = policy.split(normalized)
        with jax.default_matmul_precision("highest"):
            mean, logvar = network.apply(params, reference, body, method="encode")
        return Encoded(Gaussian(mean, logvar), None, (body, memory), None)

    def decode(context: Any, latent: jax.Array) -> tuple[jax.Array, Any]:
        body, memory = context
        with jax.default_matmul_precision("highest"):
            logits, memory = network.apply(params, latent, body, memory, method="decode")
        return SQUASHES[policy.config.squash](action_distribution(logits)[0]), memory

    return encode, decode


def _student(policy: StudentPolicy) -> tuple[Callable[..., Encoded], Decode]:
    student, params = policy.student, policy.params

    def encode(normalized: jax.Array, memory: Any) -> Encoded:
        reference, body = policy.teacher.split(normalized)
        context, memory = student.context(params, body, memory[1])
        posterior = student.encode(params, context, reference)
        return Encoded(posterior, student.prior(params, context), context, memory)

    def decode(context: Any, latent: jax.Array) -> tuple[jax.Array, Any]:
        return student.decode(params, context, latent), None

    return encode, decode


def _latents(encoded: Encoded, latent: jax.Array) -> dict[str, jax.Array]:
    posterior, prior = encoded.posterior, encoded.prior
    found = {"mean": posterior.mode(), "std": posterior.parameters().get("std"), "sample": latent}
    if prior is not None:
        found |= {
            "kl": posterior.kl(prior),
            "prior_mean": prior.mode(),
            "prior_std": prior.parameters().get("std"),
        }
    return {f"{LATENT}/{name}": values for name, values in found.items() if values is not None}
