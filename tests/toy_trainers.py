"""Trainers of the toy walker, on as many devices as wanted."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.imitation import (
    ImitationConfig,
    PhysicsConfig,
    RewardConfig,
    TerminationConfig,
    UpstreamQuirks,
)
from vnl_mjx.config.ppo import AdaptiveRateSection, PpoSection
from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.config.schema import TrainingSection
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig, IntentionNetwork
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.walkers.walker import Walker

TRAINING = TrainingSection(
    num_envs=16,
    unroll_length=8,
    batch_size=32,
    num_epochs=2,
    num_steps=1280,
    learning_rate=ScheduleSection(1e-3),
)


def toy_distillation(
    walker: Walker, clips: ReferenceClips, backend: str = "mujoco", mesh: Mesh | None = None
) -> tuple[ImitationEnvironment, FrozenPolicy, StudentVAE, ReferenceClips]:
    """Task, untrained teacher, student, clips: what a trainer is built of."""
    config = ImitationConfig(
        walker=walker.config,
        physics=PhysicsConfig(num_substeps=5),
        quirks=UpstreamQuirks(0, 0, 0, False),
        termination=TerminationConfig(healthy_z_range=(0.02, 0.5), max_pos_error=0.05),
        mocap_hz=50.0,
        start_frame_range=10,
        episode_frames=20,
    )
    task = build_task(config, walker, backend, num_threads=1, mesh=mesh)
    task.check_clips(clips)
    layout = task.layout
    network = IntentionConfig(
        layout.reference_size, layout.proprioception_size, task.action_size, 4, (16,), (16,)
    )
    size = network.observation_size
    params = IntentionNetwork(network).init(jax.random.key(0), jnp.zeros((1, size)))
    teacher = FrozenPolicy(params, jnp.zeros(size), jnp.ones(size), network)
    student = StudentVAE(
        VaeConfig(
            reference_size=layout.reference_size,
            proprioception_size=layout.proprioception_size,
            action_size=task.action_size,
            activation="silu",
            latent_dim=4,
            encoder_hidden_sizes=(32,),
            decoder_hidden_sizes=(32,),
            prior_hidden_sizes=(16,),
        )
    )
    return ImitationEnvironment(task), teacher, student, clips


NUM_FRAMES, RATE_HZ, AMPLITUDE = 50, 50.0, 0.2
NUM_UPDATES = 60
SINE_PPO = PpoSection(
    num_envs=64,
    unroll_length=16,
    num_steps=64 * 16 * NUM_UPDATES,
    num_minibatches=4,
    num_epochs=4,
    learning_rate=ScheduleSection(1e-3),
    adaptive_rate=AdaptiveRateSection(target_kl=0.02, highest=3e-3),
    value_learning_rate=2e-3,
    discount=0.9,
    gae_lambda=0.9,
    reward_scale=1.0,
    entropy=ScheduleSection(1e-4),
    action_std=ScheduleSection(),
    latent_kl=ScheduleSection(1e-4 / 8),
    guidance=ScheduleSection(),
)


def sine_clips(walker: Walker, frequencies: list[float], phases: list[float]) -> ReferenceClips:
    """Hips and ankles go to and fro, half a turn apart; the torso stands still."""
    seconds = np.arange(NUM_FRAMES) / RATE_HZ
    qpos = np.tile(walker.model.qpos0, (len(frequencies) * NUM_FRAMES, 1))
    for i, (frequency, phase) in enumerate(zip(frequencies, phases, strict=True)):
        angle = 2 * np.pi * frequency * seconds + phase
        joints = AMPLITUDE * np.sin(angle[:, None] + np.array([0.0, np.pi, 0.0, np.pi]))
        qpos[i * NUM_FRAMES : (i + 1) * NUM_FRAMES, 7:] += joints
    return clips_from_poses(walker, qpos, [NUM_FRAMES] * len(frequencies), RATE_HZ)


def sine_task(walker: Walker, backend: str = "mujoco", mesh: Mesh | None = None) -> ImitationTask:
    """Follow the sines, in joint angles above all."""
    config = ImitationConfig(
        walker=walker.config,
        physics=PhysicsConfig(num_substeps=5),
        reward=RewardConfig(
            pos_weight=0.1,
            quat_weight=0.1,
            joint_exp_scale=20.0,
            endeff_weight=0.0,
            ctrl_cost_weight=0.0,
            ctrl_diff_cost_weight=0.0,
            energy_cost_weight=0.0,
            action_variance_weight=0.0,
            action_jerk_weight=0.0,
        ),
        termination=TerminationConfig(healthy_z_range=(0.03, 0.2), max_joint_error=0.6),
        quirks=UpstreamQuirks(0, 0, 0, False),
        traj_length=3,
        start_frame_range=30,
        episode_frames=30,
        initial_velocity="reference",
    )
    return build_task(config, walker, backend, num_threads=1, mesh=mesh)


def sine_ppo(
    walker: Walker,
    clips: ReferenceClips,
    backend: str = "mujoco",
    mesh: Mesh | None = None,
    config: PpoSection = SINE_PPO,
) -> Ppo:
    """A trainer that follows `sine_clips`."""
    imitation = sine_task(walker, backend, mesh)
    imitation.check_clips(clips)
    task = ImitationEnvironment(imitation, failure_weighting=0.5)
    policy = IntentionConfig(*task.observation_sizes.values(), task.action_size, 8, (32,), (32,))
    model = ActorCritic(policy, ValueConfig(policy.observation_size, (32,)), 0.3)
    return Ppo(task, model, clips, config, mesh)
