"""A task without clips whose action is the latent of a frozen student: walk at a commanded speed.

    python examples/extend/latent_task.py [RUN]

RUN is a distillation's run folder; without one a tiny student is made first. The package's PPO trains a
policy of (command, body) whose action moves the latent away from the prior's mode; the student's decoder
turns it into controls. The student is the task's data, and not a byte of it changes.
"""

import sys
import tempfile

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

import vnl_mjx
from vnl_mjx.cli import main
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.evaluation.prior_rollouts import neutral_clip
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.environment import Observation, StepOutcome, VectorEnvironment
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.tasks.terms.observations import root_velocity
from vnl_mjx.tasks.terms.state import term_state
from vnl_mjx.tasks.terms.terminations import fallen
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.rollout import begin, rollout

RESIDUAL = 2.0  # how far an action moves the latent
EPISODE_STEPS = 200
FASTEST = 0.3  # commanded, m/s
PPO = PpoSection(num_envs=16, unroll_length=16, num_steps=3 * 256, num_epochs=2, reward_scale=1.0)
TINY = """vae_config.encoder_hidden_sizes=[64] vae_config.decoder_hidden_sizes=[64]
    vae_config.prior_hidden_sizes=[64] training_config.num_envs=32 training_config.batch_size=64
    training_config.num_steps=3200 eval_config.num_episodes=4"""


@flax.struct.dataclass
class WalkState:
    """One environment: `command` [] m/s, `num_steps` [] since the reset, `key` [2] its random key."""

    physics: PhysicsState
    command: jax.Array
    num_steps: jax.Array
    key: jax.Array


class WalkTask:
    """One environment of the task (`tasks.environment.Task`); its data is the student."""

    def __init__(self, imitation, student):
        self.imitation, self.physics, self.walker = imitation, imitation.physics, imitation.walker
        self.start = jnp.asarray(neutral_clip(self.walker, 2, 50.0).at(0, 0).qpos())
        body = imitation.observation_sizes["proprioception"]
        self.observation_sizes, self.action_size = {"command": 1, "body": body}, student.latent_dim

    def reset(self, key, data, where=True):
        key, command_key = jax.random.split(key)
        physics = self.physics.reset(self.start, jnp.zeros(self.walker.nv), where)
        command = jax.random.uniform(command_key, maxval=FASTEST)
        return WalkState(physics, command, jnp.int32(0), key)

    def observe(self, state, data):
        body = self.imitation.proprioception(state.physics)
        return Observation.of(command=state.command[None], body=body)

    def step(self, state, action, data):
        body = self.imitation.proprioception(state.physics)
        latent = data.prior(body).mode() + RESIDUAL * action
        physics = self.physics.step(state.physics, data.decoder.act(body, latent))
        state = state.replace(physics=physics, num_steps=state.num_steps + 1)
        seen = term_state(physics, self.walker, self.physics.config.control_timestep)
        missed = root_velocity(seen, None, self.walker)[0] - state.command
        outcome = StepOutcome.of(
            physics,
            terms={"speed": jnp.exp(-jnp.square(missed / 0.1))},
            failures={
                "fall": fallen(seen, None, self.walker, lowest=self.walker.floor_height + 0.02)
            },
            truncated=state.num_steps >= EPISODE_STEPS,
        )
        return state, outcome


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
    """Trains by PPO; returns the environment and the policy."""
    env = VectorEnvironment(WalkTask(loaded.env.task, loaded.student))
    command, body = env.observation_sizes.values()
    sizes = IntentionConfig(command, body, env.action_size, 8, (32,), (64, 64))
    model = ActorCritic(sizes, ValueConfig(command + body, (64, 64)), initial_action_std=0.3)
    trainer = Ppo(env, model, loaded.student, config)

    def report(state, env_steps, update):
        steps = update.rollout.num_steps
        print(f"{env_steps} steps: reward {update.rollout.reward / steps:.3f} per step")
        return False

    before = bytes_of(trainer.data)
    state = trainer.train(trainer.init(config.seed), config.num_steps, report)
    assert bytes_of(trainer.data) == before, "the student changed"
    return env, TeacherPolicy(trainer.frozen_policy(state))


if __name__ == "__main__":
    loaded = load_student(*sys.argv[1:])
    env, policy = train(loaded)
    key = jax.random.key(0)
    state = begin(env.reset(key, 4, loaded.student), policy, 4)
    _, _, sums = rollout(env, policy, state, loaded.student, key, 50, lambda step: ())
    print(
        f"at the mode: reward {sums.reward / sums.num_steps:.3f} per step, {int(sums.episodes)} falls"
    )
