"""Makes the demonstration teacher: a small intention network taught by an expert, not by PPO.

Dataset aggregation (Ross et al. 2011, "A Reduction of Imitation Learning and Structured Prediction to
No-Regret Online Learning"): the network acts more and more, the expert labels every visited state, and
the network regresses the labels. It is then stored as track-mjx stores its teachers.

    python -m vnl_mjx.demo.make_teacher [--seed 0] [--output teacher]
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vnl_mjx import gaussians
from vnl_mjx.analysis.evaluate import draw_episodes
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.demo.expert import Expert, build_expert
from vnl_mjx.demo.make_clips import NUM_FRAMES, TASK
from vnl_mjx.demo.replay import replay, table
from vnl_mjx.models.intention import (
    MIN_OBSERVATION_STD,
    FrozenPolicy,
    IntentionConfig,
    IntentionNetwork,
    action_distribution,
)
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.vae_distillation import VaeDistillationTask
from vnl_mjx.utils.track_mjx_writer import save_track_mjx, track_mjx_config
from vnl_mjx.walkers.walker import build_walker

HIDDEN_SIZES, LATENT_DIM = (128, 128), 32

NUM_ENVS, UNROLL_LENGTH = 128, 40
ITERATIONS = 40
EXPERT_ITERATIONS = 15  # the expert's share of the environments falls to 0 over these
NORMALIZER_ITERATIONS = 15  # the observation statistics are collected in these, then frozen
KEPT_ITERATIONS = 20  # age at which samples are forgotten, so that memory stays small
EXPLORATION_STD = 0.03  # of the noise on the control that every second environment applies
MINIBATCHES, BATCH_SIZE = 200, 512
LEARNING_RATE = 1e-3
KL_WEIGHT = 1e-5
ACTION_STD = 0.05  # before tanh: what the network's own exploration is taught to be
STD_WEIGHT = 1e-2


@flax.struct.dataclass
class Normalizer:
    """Statistics of the observation as brax keeps them: count [], the others [observation]."""

    count: jax.Array
    mean: jax.Array
    std: jax.Array
    summed_variance: jax.Array

    def updated(self, batch: jax.Array) -> "Normalizer":
        """With the observations of `batch` [sample, observation] (Welford, in batches)."""
        count = self.count + len(batch)
        from_old = batch - self.mean
        mean = self.mean + jnp.sum(from_old, axis=0) / count
        summed = self.summed_variance + jnp.sum(from_old * (batch - mean), axis=0)
        std = jnp.maximum(jnp.sqrt(jnp.maximum(summed, 0.0) / count), MIN_OBSERVATION_STD)
        return Normalizer(count, mean, std, summed)


@flax.struct.dataclass
class Samples:
    """A ring of labelled observations, [sample, ...]."""

    observation: jax.Array
    action: jax.Array


class Pupil:
    """The network, its optimiser and the environments that it learns in."""

    def __init__(self, task: ImitationTask, clips: ReferenceClips, expert: Expert):
        """Sizes the network for `task`."""
        layout = task.layout
        self.task = task
        self.clips: ReferenceClips = jax.tree.map(jnp.asarray, clips)
        self.expert = expert
        self.network = IntentionConfig(
            reference_size=layout.reference_size,
            proprioception_size=layout.proprioception_size,
            action_size=task.action_size,
            latent_dim=LATENT_DIM,
            encoder_hidden_sizes=HIDDEN_SIZES,
            decoder_hidden_sizes=HIDDEN_SIZES,
        )
        schedule = optax.cosine_decay_schedule(LEARNING_RATE, ITERATIONS * MINIBATCHES)
        self.optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
        self.collect = jax.jit(self._collect)
        self.learn = jax.jit(self._learn)

    def policy(self, params: Any, normalizer: Normalizer) -> FrozenPolicy:
        """The network as it acts."""
        return FrozenPolicy(params, normalizer.mean, normalizer.std, self.network)

    def reset(self, key: jax.Array) -> ImitationState:
        """`NUM_ENVS` environments at random clips and frames."""
        return jax.vmap(lambda k: self.task.reset(k, self.clips))(jax.random.split(key, NUM_ENVS))

    def _collect(self, params, normalizer, states, key, expert_share):
        """`UNROLL_LENGTH` control steps: next states, samples [steps * environments, ...], mean reward."""
        policy, clips, task = self.policy(params, normalizer), self.clips, self.task
        expert_acts = (jnp.arange(NUM_ENVS) < expert_share * NUM_ENVS)[:, None]
        noise_std = EXPLORATION_STD * (jnp.arange(NUM_ENVS) % 2)[:, None]

        def control_step(states, key):
            observation = jax.vmap(lambda s: task.observe(s, clips))(states).flat()
            label = jax.vmap(lambda s: self.expert.action(s, clips))(states)
            action = jnp.where(expert_acts, label, policy.act(observation).action)
            action += noise_std * jax.random.normal(key, action.shape)
            states, outcome = jax.vmap(lambda s, a: task.step(s, a, clips))(states, action)
            done = outcome.terminated | outcome.truncated
            states = jax.vmap(lambda d, s: task.reset_where(d, s, clips))(done, states)
            return states, (Samples(observation, label), outcome.reward)

        keys = jax.random.split(key, UNROLL_LENGTH)
        states, (samples, reward) = jax.lax.scan(control_step, states, keys)
        samples = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), samples)
        return states, samples, jnp.mean(reward)

    def _learn(self, params, opt_state, normalizer, ring, num_valid, key):
        """`MINIBATCHES` steps of the optimiser on random rows: variables, optimiser state, mean terms."""

        def minibatch(carry, key):
            params, opt_state = carry
            rows_key, noise_key = jax.random.split(key)
            rows = jax.random.randint(rows_key, (BATCH_SIZE,), 0, num_valid)
            batch = jax.tree.map(lambda x: x[rows], ring)
            (_, terms), grads = jax.value_and_grad(self._loss, has_aux=True)(
                params, normalizer, batch, noise_key
            )
            updates, opt_state = self.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), terms

        keys = jax.random.split(key, MINIBATCHES)
        (params, opt_state), terms = jax.lax.scan(minibatch, (params, opt_state), keys)
        return params, opt_state, jax.tree.map(jnp.mean, terms)

    def _loss(self, params, normalizer, batch: Samples, key):
        observation = self.policy(params, normalizer).normalize(batch.observation)
        output = IntentionNetwork(self.network).apply(params, observation, key=key)
        mean, std = action_distribution(output.logits)
        action_mse = jnp.mean(jnp.square(jnp.tanh(mean) - batch.action))
        zeros = jnp.zeros_like(output.latent_mean)
        kl = gaussians.kl_divergence(output.latent_mean, output.latent_logvar, zeros, zeros)
        kl = jnp.mean(jnp.sum(kl, axis=-1))
        std_error = jnp.mean(jnp.square(std - ACTION_STD))
        terms = {"action_mse": action_mse, "kl": kl, "std": jnp.mean(std)}
        return action_mse + KL_WEIGHT * kl + STD_WEIGHT * std_error, terms


def teach(pupil: Pupil, seed: int, iterations: int = ITERATIONS) -> tuple[Any, Normalizer]:
    """Runs the iterations; returns the network's variables and the statistics."""
    key, params_key, env_key = jax.random.split(jax.random.PRNGKey(seed), 3)
    size = pupil.network.observation_size
    params = IntentionNetwork(pupil.network).init(params_key, jnp.zeros(size))
    opt_state = pupil.optimizer.init(params)
    zeros = jnp.zeros(size)
    normalizer = Normalizer(jnp.float32(0), zeros, jnp.ones(size), zeros)
    states = jax.jit(pupil.reset)(env_key)
    per_iteration = NUM_ENVS * UNROLL_LENGTH
    capacity = KEPT_ITERATIONS * per_iteration
    ring = Samples(jnp.zeros((capacity, size)), jnp.zeros((capacity, pupil.network.action_size)))
    for iteration in range(iterations):
        key, collect_key, learn_key = jax.random.split(key, 3)
        share = max(0.0, 1.0 - iteration / EXPERT_ITERATIONS)
        states, samples, reward = pupil.collect(params, normalizer, states, collect_key, share)
        if iteration < NORMALIZER_ITERATIONS:
            normalizer = normalizer.updated(samples.observation)
        rows = iteration % KEPT_ITERATIONS * per_iteration + np.arange(per_iteration)
        ring = Samples(
            observation=ring.observation.at[rows].set(samples.observation),
            action=ring.action.at[rows].set(samples.action),
        )
        num_valid = min((iteration + 1) * per_iteration, capacity)
        params, opt_state, terms = pupil.learn(
            params, opt_state, normalizer, ring, num_valid, learn_key
        )
        numbers = {"expert_share": share, "reward": reward, **terms}
        line = "  ".join(f"{name} {float(value):.4g}" for name, value in numbers.items())
        print(f"iteration {iteration + 1}/{iterations}  {line}", flush=True)
    return params, normalizer


def save(path: Path, pupil: Pupil, params: Any, normalizer: Normalizer, source: str) -> Path:
    """Replaces the checkpoint at `path`. The parameters are stored once: this is not to be resumed."""
    if path.exists():
        shutil.rmtree(path)
    statistics = {name: np.asarray(value) for name, value in vars(normalizer).items()}
    config = track_mjx_config(
        TASK, pupil.network, clip_length=NUM_FRAMES, kl_weight=KL_WEIGHT, reference_name=source
    )
    return save_track_mjx(
        path,
        step=ITERATIONS * NUM_ENVS * UNROLL_LENGTH,
        params=params,
        normalizer=statistics,
        config=config,
        train_state={"env_steps": np.int32(ITERATIONS * NUM_ENVS * UNROLL_LENGTH)},
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the clips and of the training")
    parser.add_argument("--clips", type=Path, default=DEMO_CLIPS)
    parser.add_argument("--output", type=Path, default=DEMO_TEACHER)
    args = parser.parse_args()
    started = time.monotonic()
    walker = build_walker(TASK.walker)
    clips = read_clips(args.clips, walker)
    task = build_task(TASK, walker)
    pupil = Pupil(task, clips, build_expert(walker, clips, args.seed))
    params, normalizer = teach(pupil, args.seed)
    save(args.output, pupil, params, normalizer, clips.source)
    print(f"{time.monotonic() - started:.0f} s; the same as python -m vnl_mjx.demo.replay:")
    episodes = draw_episodes(VaeDistillationTask(task), clips, 60, seed=0)
    played = replay(pupil.policy(params, normalizer), task, clips, episodes)
    print(table(played, clips.names, task.max_episode_steps))


if __name__ == "__main__":
    main()
