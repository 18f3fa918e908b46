"""The student's loss by named terms. Every term is [time, env]; the learner weights and reduces them."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.config.schedules import LossTermSection
from vnl_mjx.extensions import check_own_name, load_object
from vnl_mjx.models.vae import StudentVAE, VaeOutput
from vnl_mjx.tasks.vae_distillation import LabelledSteps
from vnl_mjx.training.schedules import Schedule, schedule
from vnl_mjx.training.segments import Segment

# Of the output of the network and the segment: [time, env].
LossTerm = Callable[[Any, Segment], jax.Array]


def distillation_loss(
    student: StudentVAE, extra_terms: Mapping[str, LossTerm] | None = None
) -> Callable[[Any, Segment, jax.Array], dict[str, jax.Array]]:
    """Returns the loss function of a VAE student.

    Its terms are "action_mse", the squared error of the post-tanh action, mean over actuators; "kl",
    KL(posterior || prior) summed over latent dimensions, nats; and `extra_terms`.

    Args:
        student: the student's functions.
        extra_terms: further terms, of the `VaeOutput` and the segment.
    """

    def loss(params: Any, segment: Segment, key: jax.Array) -> dict[str, jax.Array]:
        steps: LabelledSteps = segment.steps
        output = student.unroll(
            params, steps.proprioception, steps.reference, key, segment.memory, segment.starts
        )
        error = action_error(output.action, steps.teacher_action)
        kl = output.posterior.kl(output.prior)
        return {
            "action_mse": jnp.mean(jnp.square(error), axis=-1),
            "kl": jnp.sum(kl, axis=-1),
            **{name: term(output, segment) for name, term in (extra_terms or {}).items()},
            "action_abs_error": jnp.abs(error),
            "kl_per_dim": kl,
            **_latent_statistics(output),
        }

    return loss


def action_error(action: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the difference of post-tanh actions [..., action_size]; refuses silent broadcasting."""
    if action.shape != target.shape:
        raise ValueError(f"{action.shape=} differs from {target.shape=}")
    return action - target


def user_terms(
    sections: Mapping[str, LossTermSection], key: str, built_in: Collection[str], num_steps: int
) -> tuple[dict[str, LossTerm], dict[str, Schedule]]:
    """Returns the functions and the weights of the loss terms that a configuration names.

    Args:
        sections: by name.
        key: of the configuration, for messages.
        built_in: names of the loss's own terms.
        num_steps: environment steps of the run.

    Raises:
        UserError: a function cannot be found, or a name is one of `built_in`.
    """
    for name in sections:
        check_own_name(name, f"{key}.{name}", built_in)
    terms = {
        name: partial(load_object(section.function, f"{key}.{name}.function"), **section.arguments)
        for name, section in sections.items()
    }
    return terms, {name: schedule(item.weight, num_steps) for name, item in sections.items()}


def _latent_statistics(output: VaeOutput) -> dict[str, jax.Array]:
    mode = output.posterior.mode()
    found = {"posterior_mean": mode, "posterior_mean_square": jnp.square(mode)}
    for name in ("posterior", "prior"):
        parameters = getattr(output, name).parameters()
        if "std" in parameters:
            found[f"{name}_std"] = jnp.mean(parameters["std"], axis=-1)
    return found
