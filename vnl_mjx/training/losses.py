"""Computes the student's loss by named terms, [time, env] each; the learner weights and reduces them."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vnl_mjx.config.losses import ActionLossSection, KlLossSection
from vnl_mjx.config.schedules import LossTermSection
from vnl_mjx.extensions import check_own_name, load_object
from vnl_mjx.models.latents import Latent
from vnl_mjx.models.vae import StudentVAE, VaeOutput
from vnl_mjx.tasks.vae_distillation import LabelledSteps
from vnl_mjx.training.schedules import Schedule, schedule
from vnl_mjx.training.segments import Segment

# Function of the network's output and the segment; returns [time, env].
LossTerm = Callable[[Any, Segment], jax.Array]

# Post-tanh actions are clipped to this before they are compared before tanh, at 7.25.
LARGEST_ACTION = 1.0 - 1e-6


def distillation_loss(
    student: StudentVAE,
    extra_terms: Mapping[str, LossTerm] | None = None,
    action_loss: ActionLossSection | None = None,
    kl_loss: KlLossSection | None = None,
) -> Callable[[Any, Segment, jax.Array], dict[str, jax.Array]]:
    """Returns the loss function of a VAE student.

    Its terms are those of the sections (`action_distance`, `latent_cost`) by their names, and
    `extra_terms`. In any case "action_mse" is the squared error of the post-tanh action, mean over
    actuators, and "kl" is KL(posterior || prior) summed over latent dimensions, nats.

    Args:
        student: the student's functions.
        extra_terms: further terms, of the `VaeOutput` and the segment.
        action_loss: definition of the action's term; None: "action_mse".
        kl_loss: definition of the KL's term; None: "kl".
    """
    action_loss, kl_loss = action_loss or ActionLossSection(), kl_loss or KlLossSection()

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
            action_loss.term: action_distance(output.action, steps.teacher_action, action_loss),
            kl_loss.term: latent_cost(output.posterior, output.prior, segment, kl_loss),
            **{name: term(output, segment) for name, term in (extra_terms or {}).items()},
            "action_abs_error": jnp.abs(error),
            "kl_per_dim": kl,
            **_latent_statistics(output),
        }

    return loss


def action_distance(action: jax.Array, target: jax.Array, section: ActionLossSection) -> jax.Array:
    """Returns the distance [...] of post-tanh actions [..., action_size] that the section describes."""
    if section.before_tanh:
        action, target = (
            jnp.arctanh(jnp.clip(x, -LARGEST_ACTION, LARGEST_ACTION)) for x in (action, target)
        )
    error = action_error(action, target)
    if section.kind == "l2":
        return optax.safe_norm(error, 0.0, axis=-1)
    if section.kind == "huber":
        return jnp.mean(optax.huber_loss(error, delta=section.huber_delta), axis=-1)
    return jnp.mean(jnp.square(error), axis=-1)


def latent_cost(
    posterior: Latent, prior: Latent, segment: Segment, section: KlLossSection
) -> jax.Array:
    """Returns the cost of KL(posterior || prior), summed over the latent: [time, env], nats.

    Posterior and prior share the gradient as in Hafner et al. 2021 ("Mastering Atari with discrete world
    models", KL balancing). A dimension is free while its mean over the segment is below `section.free_nats`
    (Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", free bits).
    """
    kl = posterior.kl(prior)
    if section.prior_share is not None:
        stopped_posterior, stopped_prior = jax.lax.stop_gradient((posterior, prior))
        to_prior, to_posterior = stopped_posterior.kl(prior), posterior.kl(stopped_prior)
        kl = section.prior_share * to_prior + (1.0 - section.prior_share) * to_posterior
    if section.free_nats > 0:
        kl = jnp.where(segment.mean(kl) > section.free_nats, kl, section.free_nats)
    return jnp.sum(kl, axis=-1)


def action_error(action: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the difference of post-tanh actions [..., action_size]; refuses silent broadcasting."""
    if action.shape != target.shape:
        raise ValueError(f"{action.shape=} differs from {target.shape=}")
    return action - target


def further_terms(
    sections: Mapping[str, LossTermSection],
    key: str,
    taken: Collection[str],
    num_steps: int,
    built_in: Mapping[str, LossTerm] | None = None,
) -> tuple[dict[str, LossTerm], dict[str, Schedule]]:
    """Returns the functions and the weights of the loss terms that a configuration names.

    Args:
        sections: sections of the terms by name.
        key: key of the configuration, for messages.
        taken: names of the loss's own terms.
        num_steps: environment steps of the run.
        built_in: built-in functions by name.

    Raises:
        UserError: a function cannot be found, or a name is one of `taken`.
    """
    terms = {}
    for name, section in sections.items():
        check_own_name(name, f"{key}.{name}", taken)
        wanted = section.function or name
        function = (built_in or {}).get(wanted) or load_object(wanted, f"{key}.{name}.function")
        terms[name] = partial(function, **section.arguments)
    return terms, {name: schedule(item.weight, num_steps) for name, item in sections.items()}


def _latent_statistics(output: VaeOutput) -> dict[str, jax.Array]:
    mode = output.posterior.mode()
    found = {"posterior_mean": mode, "posterior_mean_square": jnp.square(mode)}
    for name in ("posterior", "prior"):
        parameters = getattr(output, name).parameters()
        if "std" in parameters:
            found[f"{name}_std"] = jnp.mean(parameters["std"], axis=-1)
    return found
