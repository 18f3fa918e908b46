"""Builds the exported functions of a stored teacher or student, which take raw observations.

A further function needs an entry in the command's list: its name, the function in JAX, its inputs and
outputs and, for ONNX and NumPy, its layers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.compat.function_layers import Layer, LayerList
from vnl_mjx.compat.function_networks import (
    has_layers,
    intention_decoder,
    intention_encoder,
    low_level_control,
    student_decoder,
    student_encoder,
    student_prior,
    task_policy,
)
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import (
    SQUASHES,
    FrozenPolicy,
    IntentionNetwork,
    action_distribution,
)
from vnl_mjx.models.student import Student
from vnl_mjx.tasks.downstream.low_level import LowLevel

_TRIED_ACTION = 0.3  # standard deviation of the actions in the test after writing


@dataclass(frozen=True)
class Input:
    """Describes an input of a function.

    Attributes:
        name: name of the input.
        mean: [size] mean of the raw values in the test after writing.
        std: [size] their standard deviation.
    """

    name: str
    mean: np.ndarray
    std: np.ndarray

    @property
    def size(self) -> int:
        """Length of one row."""
        return len(self.mean)


@dataclass(frozen=True, eq=False)  # hashed as itself, for jax.jit
class Function:
    """Describes a function of rows.

    Attributes:
        name: name of the function and its file.
        call: JAX function, with its parameters, of arrays [batch, size] in the order of `inputs`; returns
            arrays [batch, size] in the order of `outputs`.
        inputs: inputs in order.
        outputs: names of the outputs in order.
        layers: the same function as layers; None for networks of the user's own, whose layers are unknown.
    """

    name: str
    call: Callable[..., tuple[jax.Array, ...]]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...] | None = None

    def __call__(self, *values: Any) -> tuple[jax.Array, ...]:
        """Evaluates the function with full float32 products, which are not a GPU's default."""
        with jax.default_matmul_precision("highest"):
            return self.call(*values)

    def output_sizes(self) -> tuple[int, ...]:
        """Returns the length of a row of each output."""
        rows = [jax.ShapeDtypeStruct((1, one.size), jnp.float32) for one in self.inputs]
        return tuple(shape.shape[-1] for shape in jax.eval_shape(self, *rows))

    def draw(self, num: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns random inputs [num, size] by name."""
        rng = np.random.default_rng(seed)
        rows = {
            one.name: one.mean + one.std * rng.normal(size=(num, one.size)) for one in self.inputs
        }
        return {name: values.astype(np.float32) for name, values in rows.items()}


def teacher_functions(policy: FrozenPolicy) -> list[Function]:
    """Returns encoder and decoder of a teacher; `control` is the mode of its action.

    Raises:
        UserError: the teacher has a memory.
    """
    _refuse_memory("teacher", policy.config.is_recurrent)
    network, params = policy.config, policy.params["params"]
    reads = _Inputs(policy)

    module = IntentionNetwork(network)

    def encoder(reference: jax.Array, proprioception: jax.Array) -> tuple[jax.Array, ...]:
        seen = policy.normalize(reference, "reference")
        body = policy.normalize(proprioception, "proprioception")
        mean, logvar = cast(
            tuple[jax.Array, jax.Array],
            module.apply(policy.params, seen, body, method="encode"),
        )
        return mean, jnp.exp(0.5 * logvar)

    def decoder(proprioception: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
        body = policy.normalize(proprioception, "proprioception")
        logits, _ = module.apply(policy.params, latent, body, method="decode")
        return (SQUASHES[network.squash](action_distribution(logits)[0]),)

    body, layers = "proprioception", (LayerList(), LayerList())
    intention_encoder(layers[0], policy, params)
    intention_decoder(layers[1], policy, params)
    return [
        Function("encoder", encoder, reads("reference", body), ("mean", "std"), tuple(layers[0])),
        Function("decoder", decoder, reads(body, "latent"), ("control",), tuple(layers[1])),
    ]


def student_functions(student: Student) -> list[Function]:
    """Returns encoder, prior and decoder of a student.

    Raises:
        UserError: the student has a memory, or its latent is not Gaussian.
    """
    networks = student.networks
    _refuse_memory("student", networks.is_recurrent)
    if not networks.is_gaussian:
        raise UserError(
            "export: expected a student with a Gaussian latent, found vae_config.latent "
            f"{networks.config.latent}; distil one with vae_config.latent=gaussian"
        )
    reads = _Inputs(student.teacher, networks.config.latent_dim)

    def encoder(reference: jax.Array, proprioception: jax.Array) -> tuple[jax.Array, ...]:
        posterior = student.encode(proprioception, reference).parameters()
        return posterior["mean"], posterior["std"]

    def prior(proprioception: jax.Array) -> tuple[jax.Array, ...]:
        found = student.prior(proprioception).parameters()
        return found["mean"], found["std"]

    def decoder(proprioception: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
        return (student.decode(proprioception, latent),)

    def layers(add: Callable[[LayerList, Student], None]) -> tuple[Layer, ...] | None:
        found = LayerList()
        if not has_layers(student):
            return None
        add(found, student)
        return tuple(found)

    body, of_latent = "proprioception", ("mean", "std")
    return [
        Function("encoder", encoder, reads("reference", body), of_latent, layers(student_encoder)),
        Function("prior", prior, reads(body), of_latent, layers(student_prior)),
        Function("decoder", decoder, reads(body, "latent"), ("control",), layers(student_decoder)),
    ]


def task_functions(policy: FrozenPolicy, low_level: LowLevel) -> list[Function]:
    """Returns the policy of a task, and the function from action to control if a student is below it.

    An action of the policy may last several control steps, in each of which the low level acts.
    """
    student, body = low_level.student, "proprioception"
    action = np.zeros(student.latent_dim), np.full(student.latent_dim, _TRIED_ACTION)
    reads = _Inputs(policy, known={"action": action})

    def act(goal: jax.Array, proprioception: jax.Array) -> tuple[jax.Array, ...]:
        seen = low_level.reads(proprioception)
        return (policy.act(jnp.concatenate([goal, seen], axis=-1)).action,)

    def control(proprioception: jax.Array, action: jax.Array) -> tuple[jax.Array, ...]:
        return (low_level.control(low_level.reads(proprioception), action)[0],)

    layers = LayerList(), LayerList()
    task_policy(layers[0], policy, low_level)
    made = [Function("policy", act, reads("goal", body), ("action",), tuple(layers[0]))]
    if low_level.mode == "scratch":
        return made
    found = None
    if has_layers(student):
        low_level_control(layers[1], low_level)
        found = tuple(layers[1])
    return [*made, Function("low_level", control, reads(body, "action"), ("control",), found)]


def _refuse_memory(kind: str, is_recurrent: bool) -> None:
    if is_recurrent:
        raise UserError(
            f"export: expected a {kind} without a memory, found a recurrent one, which these files "
            "cannot hold; a teacher can be written by --to track-mjx"
        )


class _Inputs:
    """Holds inputs by name, with typical values."""

    def __init__(
        self, policy: FrozenPolicy, latent_dim: int | None = None, known: Mapping[str, Any] = {}
    ):
        size, mean, std = policy.config.reference_size, policy.obs_mean, policy.obs_std
        latent = latent_dim or policy.config.latent_dim
        self._known = {
            "reference": (np.asarray(mean[:size]), np.asarray(std[:size])),
            "proprioception": (np.asarray(mean[size:]), np.asarray(std[size:])),
            "latent": (np.zeros(latent), np.ones(latent)),
            "goal": (np.asarray(mean[:size]), np.asarray(std[:size])),
            **known,
        }

    def __call__(self, *names: str) -> tuple[Input, ...]:
        return tuple(Input(name, *self._known[name]) for name in names)
