"""Computes the PPO objective of an intention policy, by named terms.

Formulas: track-mjx `agent/mlp_ppo/losses.py`, which extends brax's PPO by KL terms of the latent.
Departures: the latent is decoded with the noise that it was drawn with, so that the probability ratio
starts at 1 (upstream draws anew); the autoregressive prior restarts with each episode; KL is summed over
latent dimensions (upstream averages), as in a distillation; means leave out invalid steps. Returns and
advantages of earlier steps in the episode still contain an invalid step's value and, if finite, its reward,
like those of any failed step.
"""

from collections.abc import Callable, Mapping

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import gaussians
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams
from vnl_mjx.models.intention import action_distribution
from vnl_mjx.training.brax_parts import NormalTanhDistribution, compute_gae
from vnl_mjx.training.latent_terms import latent_ar1_kl, latent_kl
from vnl_mjx.training.losses import LossTerm
from vnl_mjx.training.segments import Segment


@flax.struct.dataclass
class ActedSteps:
    """Holds control steps of a rollout, [time, env, ...].

    Attributes:
        observation: [.., observation] raw, before the step.
        latent_noise: [.., latent] standard normal noise of the latent.
        raw_action: [.., action] before tanh.
        logits: [.., 2 * action] of the policy that acted.
        log_prob: log density of the action under it.
        reward: float.
        terminated: bool, the step failed.
        truncated: bool, the episode ended without a failure.
        guide: [.., action] action of the task's guide; None without one.
    """

    observation: jax.Array
    latent_noise: jax.Array
    raw_action: jax.Array
    logits: jax.Array
    log_prob: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    guide: jax.Array | None


def ppo_loss(
    params: ActorCriticParams,
    model: ActorCritic,
    segment: Segment,
    normalize: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    config: PpoSection,
    extra_terms: Mapping[str, LossTerm] | None = None,
) -> dict[str, jax.Array]:
    """Returns the terms of the objective, and diagnostics.

    Terms, [time, env]: "policy" (clipped surrogate, negative), "value" (squared error), "negative_entropy"
    (nats, summed over actuators), "latent_kl" (to N(0, I)) and "latent_ar1_kl" (to the autoregressive
    prior; nats, summed over the latent), "action_std_distance" (squared log-distance to the target, mean over
    actuators), "guidance" (squared distance of the mode to the guide; only with one), and `extra_terms`.
    Logged besides: "entropy", "latent_kl_per_dim" [time, env, latent], "policy_kl" (nats between the policy
    that acted and this one, before tanh), "clip_fraction", "explained_variance" [], "action_std".

    Args:
        params: parameters of `model`.
        model: policy and value network.
        segment: [time, env]; `last` is the observation after the last step, raw.
        normalize: function that normalises raw observations.
        key: draws the sample that the entropy is estimated with.
        config: the constant settings.
        extra_terms: further terms, of the `IntentionOutput` and the segment.
    """
    segment = segment.contained()
    steps: ActedSteps = segment.steps
    mean = segment.mean
    obs = normalize(steps.observation)
    output = model.unroll(params, obs, segment.memory, segment.starts, steps.latent_noise)
    values = model.value(params, obs)
    last_value = model.value(params, normalize(segment.last))
    returns, advantages = compute_gae(
        truncation=steps.truncated.astype(jnp.float32),
        termination=steps.terminated.astype(jnp.float32),
        rewards=steps.reward * config.reward_scale,
        values=values,
        bootstrap_value=last_value,
        lambda_=config.gae_lambda,
        discount=config.discount,
    )
    if config.normalize_advantage:
        centred = advantages - mean(advantages)
        advantages = centred / (jnp.sqrt(mean(jnp.square(centred))) + 1e-8)
    distribution = NormalTanhDistribution(event_size=steps.raw_action.shape[-1])
    log_prob = distribution.log_prob(output.logits, steps.raw_action)
    ratio = jnp.exp(jnp.where(segment.valid, log_prob - steps.log_prob, 0.0))
    clipped = jnp.clip(ratio, 1.0 - config.clip_epsilon, 1.0 + config.clip_epsilon)
    value = jnp.square(returns - values)
    entropy = distribution.entropy(output.logits, key)
    standard_kl = latent_kl(output.latent_mean, output.latent_logvar)
    ar1_kl = latent_ar1_kl(output.latent_mean, output.latent_logvar, segment.starts)
    std = action_distribution(output.logits)[1]
    terms = {
        "policy": -jnp.minimum(ratio * advantages, clipped * advantages),
        "value": value,
        "negative_entropy": -entropy,
        "latent_kl": jnp.sum(standard_kl, axis=-1),
        "latent_ar1_kl": jnp.sum(ar1_kl, axis=-1),
        "action_std_distance": jnp.mean(
            jnp.square(jnp.log(std / config.action_std_target)), axis=-1
        ),
        **{name: term(output, segment) for name, term in (extra_terms or {}).items()},
    }
    if steps.guide is not None:
        distance = distribution.mode(output.logits) - steps.guide
        terms["guidance"] = jnp.mean(jnp.square(distance), axis=-1)
    variance = mean(jnp.square(returns - mean(returns)))
    return terms | {
        "entropy": entropy,
        "latent_kl_per_dim": standard_kl,
        "policy_kl": policy_kl(steps.logits, output.logits),
        "clip_fraction": (jnp.abs(ratio - 1.0) > config.clip_epsilon).astype(jnp.float32),
        "explained_variance": 1.0 - mean(value) / jnp.maximum(variance, 1e-8),
        "action_std": jnp.mean(std, axis=-1),
    }


def policy_kl(old_logits: jax.Array, new_logits: jax.Array) -> jax.Array:
    """Returns KL(old || new) of the actions before tanh, summed over actuators: [...], nats."""
    (old_mean, old_std), (new_mean, new_std) = map(action_distribution, (old_logits, new_logits))
    kl = gaussians.kl_divergence(old_mean, 2 * jnp.log(old_std), new_mean, 2 * jnp.log(new_std))
    return jnp.sum(kl, axis=-1)
