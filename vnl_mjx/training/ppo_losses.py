"""The PPO objective of an intention policy.

Formulas: track-mjx `agent/mlp_ppo/losses.py`, which extends brax's PPO by KL terms of the latent.
Departures: the latent is decoded with the noise that it was drawn with, so that the probability ratio
starts at 1 (upstream draws anew); the autoregressive prior begins anew with each episode; no mean is
taken over steps that are not valid. Such a step still counts for those before it in its episode: their
returns and advantages contain its value and, where finite, its reward, as those of any step that failed.
"""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import gaussians, masking
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic, ActorCriticParams
from vnl_mjx.models.intention import Memory, action_distribution
from vnl_mjx.training.brax_parts import NormalTanhDistribution, compute_gae
from vnl_mjx.training.minibatches import take_environments

AR1_COEFFICIENT = 0.95  # track-mjx's, of the latent mean one control step ago


@flax.struct.dataclass
class Steps:
    """Control steps of a rollout, [time, env, ...].

    Attributes:
        observation: [.., observation] raw, before the step.
        latent_noise: [.., latent] standard normal, that the latent was drawn with.
        raw_action: [.., action] before tanh.
        logits: [.., 2 * action] of the policy that acted.
        log_prob: log density of the action under it.
        starts: bool, the first step of an episode.
        reward: float.
        terminated: bool, the step failed.
        truncated: bool, the episode ended without a failure.
        valid: bool, the simulation did not diverge in this step.
        guide: [.., action] what the task's guide would have done; None without one.
    """

    observation: jax.Array
    latent_noise: jax.Array
    raw_action: jax.Array
    logits: jax.Array
    log_prob: jax.Array
    starts: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    valid: jax.Array
    guide: jax.Array | None


@flax.struct.dataclass
class Segment:
    """A rollout as it is learnt from.

    Attributes:
        steps: [time, env, ...].
        memory: [env, ...] the policy's memory before the first step.
        last_observation: [env, observation] raw, after the last step.
    """

    steps: Steps
    memory: Memory
    last_observation: jax.Array

    def environments(self, rows: jax.Array) -> "Segment":
        """The part of the environments `rows`, [groups, k] as `minibatches.take_environments` counts them."""
        return Segment(
            steps=jax.tree.map(lambda x: take_environments(x, rows, axis=1), self.steps),
            memory=jax.tree.map(lambda x: take_environments(x, rows), self.memory),
            last_observation=take_environments(self.last_observation, rows),
        )

    def contained(self) -> "Segment":
        """The segment with 0 for what is not finite in steps that are not valid.

        A mask in the loss is too late: its zero gradient times NaN is NaN.
        """
        valid = self.steps.valid

        def contain(valid: jax.Array, x: jax.Array) -> jax.Array:
            keep = masking.widened(valid, x) | jnp.isfinite(x)
            return jnp.where(keep, x, jnp.zeros_like(x))

        return Segment(
            steps=jax.tree.map(lambda x: contain(valid, x), self.steps),
            memory=jax.tree.map(lambda x: contain(valid[0], x), self.memory),
            last_observation=contain(valid[-1], self.last_observation),
        )


@flax.struct.dataclass
class LossWeights:
    """Weights that change with training, [] each."""

    entropy: jax.Array
    latent_kl: jax.Array
    latent_ar1_kl: jax.Array
    guidance: jax.Array
    action_std: jax.Array


@flax.struct.dataclass
class PpoLoss:
    """The objective and what it is made of; means over the valid steps.

    Attributes:
        total: [] what is minimised.
        policy: [] clipped surrogate, negative.
        value: [] mean squared error of the value, not weighted.
        entropy: [] nats, summed over actuators.
        latent_kl: [latent] KL(posterior, N(0, I)), nats.
        latent_ar1_kl: [latent] KL to the autoregressive prior, nats.
        guidance: [] mean squared distance of the policy's mode to the guide, 0 without one.
        policy_kl: [] nats between the policy that acted and this one, before tanh.
        clip_fraction: [] share of the steps whose ratio is clipped.
        explained_variance: [] of the returns by the values; 1 is perfect.
        action_std: [] mean standard deviation before tanh.
    """

    total: jax.Array
    policy: jax.Array
    value: jax.Array
    entropy: jax.Array
    latent_kl: jax.Array
    latent_ar1_kl: jax.Array
    guidance: jax.Array
    policy_kl: jax.Array
    clip_fraction: jax.Array
    explained_variance: jax.Array
    action_std: jax.Array


def ppo_loss(
    params: ActorCriticParams,
    model: ActorCritic,
    segment: Segment,
    normalize,
    key: jax.Array,
    weights: LossWeights,
    config: PpoSection,
) -> PpoLoss:
    """The loss of one minibatch of whole environments.

    Args:
        params: of `model`.
        model: policy and value network.
        segment: [time, env].
        normalize: raw observations to what the networks read.
        key: draws the sample that the entropy is estimated with.
        weights: of the terms that change with training.
        config: the constant settings.
    """
    segment = segment.contained()
    steps = segment.steps
    obs = normalize(steps.observation)
    output = model.unroll(params, obs, segment.memory, steps.starts, steps.latent_noise)
    values = model.value(params, obs)
    last_value = model.value(params, normalize(segment.last_observation))
    returns, advantages = compute_gae(
        truncation=steps.truncated.astype(jnp.float32),
        termination=steps.terminated.astype(jnp.float32),
        rewards=steps.reward * config.reward_scale,
        values=values,
        bootstrap_value=last_value,
        lambda_=config.gae_lambda,
        discount=config.discount,
    )
    valid = steps.valid
    mean = lambda x: masked_mean(x, valid)  # noqa: E731
    if config.normalize_advantage:
        centred = advantages - mean(advantages)
        advantages = centred / (jnp.sqrt(mean(jnp.square(centred))) + 1e-8)
    distribution = NormalTanhDistribution(event_size=steps.raw_action.shape[-1])
    log_prob = distribution.log_prob(output.logits, steps.raw_action)
    ratio = jnp.exp(jnp.where(valid, log_prob - steps.log_prob, 0.0))
    clipped = jnp.clip(ratio, 1.0 - config.clip_epsilon, 1.0 + config.clip_epsilon)
    policy = -mean(jnp.minimum(ratio * advantages, clipped * advantages))
    value = mean(jnp.square(returns - values))
    entropy = mean(distribution.entropy(output.logits, key))
    standard_kl = latent_kl(output.latent_mean, output.latent_logvar)
    ar1_kl = latent_ar1_kl(output.latent_mean, output.latent_logvar, steps.starts)
    guidance = jnp.float32(0.0)
    if steps.guide is not None:
        distance = distribution.mode(output.logits) - steps.guide
        guidance = mean(jnp.mean(jnp.square(distance), axis=-1))
    std = action_distribution(output.logits)[1]
    std_distance = mean(jnp.mean(jnp.square(jnp.log(std / config.action_std.target)), axis=-1))
    total = (
        policy
        + config.value_weight * value
        - weights.entropy * entropy
        + weights.latent_kl * mean(jnp.mean(standard_kl, axis=-1))
        + weights.latent_ar1_kl * mean(jnp.mean(ar1_kl, axis=-1))
        + weights.guidance * guidance
        + weights.action_std * std_distance
    )
    return PpoLoss(
        total=total,
        policy=policy,
        value=value,
        entropy=entropy,
        latent_kl=mean(standard_kl),
        latent_ar1_kl=mean(ar1_kl),
        guidance=guidance,
        policy_kl=mean(policy_kl(steps.logits, output.logits)),
        clip_fraction=mean(jnp.abs(ratio - 1.0) > config.clip_epsilon),
        explained_variance=1.0 - value / jnp.maximum(_variance(returns, valid), 1e-8),
        action_std=mean(jnp.mean(std, axis=-1)),
    )


def latent_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each latent dimension, [..., latent], nats."""
    zeros = jnp.zeros_like(mean)
    return gaussians.kl_divergence(mean, logvar, zeros, zeros)


def latent_ar1_kl(mean: jax.Array, logvar: jax.Array, starts: jax.Array) -> jax.Array:
    """KL of each latent dimension to N(0.95 * previous mean, 1 - 0.95^2); N(0, 1) where none precedes.

    Args:
        mean: [time, env, latent].
        logvar: [time, env, latent].
        starts: [time, env] bool, the first step of an episode; the first row always counts as one.

    Returns:
        [time, env, latent], nats.
    """
    previous = jnp.concatenate([jnp.zeros_like(mean[:1]), mean[:-1]])
    is_first = starts.at[0].set(True)[..., None]
    prior_mean = jnp.where(is_first, 0.0, AR1_COEFFICIENT * previous)
    prior_logvar = jnp.where(is_first, 0.0, jnp.log(1.0 - AR1_COEFFICIENT**2))
    return gaussians.kl_divergence(mean, logvar, prior_mean, prior_logvar)


def policy_kl(old_logits: jax.Array, new_logits: jax.Array) -> jax.Array:
    """KL(old || new) of the actions before tanh, summed over actuators: [...], nats."""
    (old_mean, old_std), (new_mean, new_std) = map(action_distribution, (old_logits, new_logits))
    kl = gaussians.kl_divergence(old_mean, 2 * jnp.log(old_std), new_mean, 2 * jnp.log(new_std))
    return jnp.sum(kl, axis=-1)


def masked_mean(x: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over the leading [time, env] of `x` where `valid`; what is not finite elsewhere is not read."""
    total = jnp.sum(jnp.where(masking.widened(valid, x), x, 0.0), axis=(0, 1))
    return total / jnp.maximum(jnp.sum(valid), 1)


def _variance(x: jax.Array, valid: jax.Array) -> jax.Array:
    return masked_mean(jnp.square(x - masked_mean(x, valid)), valid)
