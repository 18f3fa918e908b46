"""A task of one's own in the latent space of a student: hold the head up while standing still.

    python examples/extend/latent_task.py [RUN]

RUN is a distillation's run folder; without one a tiny student is made first. The package's PPO trains a
policy of (goal, body) whose action moves the latent away from the prior's mean, within the prior's own
deviations; the student's decoder turns it into controls. Not a byte of the student changes.
"""

import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

import vnl_mjx
from vnl_mjx.cli import main
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.tasks.downstream.goal import Goal
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.tasks.environment import VectorEnvironment
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.rollout import begin, rollout

PPO = PpoSection(num_envs=16, unroll_length=16, num_steps=3 * 256, num_epochs=2, reward_scale=1.0)
TINY = """vae_config.encoder_hidden_sizes=[64] vae_config.decoder_hidden_sizes=[64]
    vae_config.prior_hidden_sizes=[64] training_config.num_envs=32 training_config.batch_size=64
    training_config.num_steps=3200 eval_config.num_episodes=4"""


class Height(Goal):
    """Hold the root body at a commanded height [m], which is drawn once for an episode of 4 s."""

    name, observation_size, episode_s = "height", 1, 4.0

    def draw(self, key, motion):
        return jax.random.uniform(key, (1,), minval=0.03, maxval=0.06)

    def observe(self, motion, goal):
        return goal

    def terms(self, motion, goal):
        still = -jnp.square(motion.forward) - jnp.square(motion.sideways)
        return {
            "height": jnp.exp(-jnp.square((motion.position[2] - goal[0]) / 0.01)),
            "still": still,
        }

    def measures(self, motion, goal):
        return {"height_error_mm": 1e3 * jnp.abs(motion.position[2] - goal[0])}


def load_student(path=None):
    """Loads the run at `path`; without one, makes a tiny one."""
    if path is not None:
        return vnl_mjx.load(path)
    with tempfile.TemporaryDirectory() as folder:
        if status := main(["distill", f"run_dir={folder}/run", *TINY.split()]):
            sys.exit(status)
        return vnl_mjx.load(f"{folder}/run")


def bytes_of(student):
    """Every byte of its arrays."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(student)]


def train(loaded, config=PPO):
    """Trains by PPO; returns the environment, its data and the policy."""
    low_level = LowLevel.of(loaded.student)
    data = DownstreamData.of(low_level, loaded.clips, loaded.env.task)
    env = VectorEnvironment(DownstreamTask(Height(), loaded.env.task, low_level))
    goal, body = env.observation_sizes.values()
    sizes = IntentionConfig(goal, body, env.action_size, 8, (32,), (64, 64))
    model = ActorCritic(sizes, ValueConfig(goal + body, (64, 64)), initial_action_std=0.3)
    trainer = Ppo(env, model, data, config)

    def report(state, env_steps, update):
        sums = update.rollout
        error = sums.distances["height_error_mm"] / sums.num_steps
        print(
            f"{env_steps} steps: reward {sums.reward / sums.num_steps:.3f}, off by {error:.1f} mm"
        )
        return False

    before = bytes_of(loaded.student)
    state = trainer.train(trainer.init(config.seed), config.num_steps, report)
    assert bytes_of(trainer.data.low_level.student) == before, "the student changed"
    return env, trainer.data, TeacherPolicy(trainer.frozen_policy(state))


if __name__ == "__main__":
    env, data, policy = train(load_student(*sys.argv[1:]))
    key = jax.random.key(0)
    state = begin(env.reset(key, 4, data), policy, 4)
    _, _, sums = rollout(env, policy, state, data, key, 50, lambda step: ())
    print(
        f"at the mode: reward {sums.reward / sums.num_steps:.3f} per step, {int(sums.episodes)} ended, "
        f"beyond the prior's 95 %: {sums.distances['beyond_prior'] / sums.num_steps:.0%} of the steps"
    )
