"""A complete small distillation on disk: the toy walker, an untrained teacher, made clips."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import write_clips
from vnl_mjx.compat.track_mjx_writer import save_track_mjx, track_mjx_config
from vnl_mjx.config.imitation import (
    ImitationConfig,
    PhysicsConfig,
    TerminationConfig,
    UpstreamQuirks,
    WalkerConfig,
)
from vnl_mjx.models.intention import IntentionConfig, IntentionNetwork
from vnl_mjx.walkers.walker import build_walker

CLIP_LENGTH = 40


def toy_task(walker: WalkerConfig) -> ImitationConfig:
    """Follow the toy clips for at most 20 frames."""
    return ImitationConfig(
        walker=walker,
        physics=PhysicsConfig(num_substeps=5),
        quirks=UpstreamQuirks(0, 0, 0, False),
        termination=TerminationConfig(healthy_z_range=(0.02, 0.5), max_pos_error=0.05),
        start_frame_range=10,
        episode_frames=20,
    )


def write_toy_run(folder: Path, walker_config: WalkerConfig) -> list[str]:
    """Writes teacher and clips into `folder`; returns the overrides of a run of some seconds."""
    walker = build_walker(walker_config)
    phase = np.arange(4 * CLIP_LENGTH) % CLIP_LENGTH / 50.0
    qpos = np.tile(walker.model.qpos0, (len(phase), 1))
    qpos[:, 7:] += 0.1 * np.sin(2 * np.pi * phase)[:, None]
    write_clips(folder / "clips.h5", clips_from_poses(walker, qpos, [CLIP_LENGTH] * 4, 50.0))

    frames, joints, bodies = 5, len(walker.tracked_joints), len(walker.tracked_bodies)
    model = walker.model
    proprioception = 2 * len(walker.joint_names) + model.nv + 4 + 3 * len(walker.end_effectors)
    network = IntentionConfig(
        reference_size=frames * (7 + joints + 3 * bodies),
        proprioception_size=proprioception,
        action_size=model.nu,
        latent_dim=3,
        encoder_hidden_sizes=(16,),
        decoder_hidden_sizes=(16,),
    )
    size = network.observation_size
    params = jax.jit(IntentionNetwork(network).init)(jax.random.key(0), jnp.zeros((1, size)))
    statistics = {
        "count": np.float32(10),
        "mean": np.zeros(size, np.float32),
        "std": np.ones(size, np.float32),
        "summed_variance": np.full(size, 10, np.float32),
    }
    config = track_mjx_config(toy_task(walker_config), network)
    save_track_mjx(folder / "teacher", 0, params, statistics, config)
    return [
        f"teacher_config.checkpoint_path={folder / 'teacher'}",
        f"teacher_config.reference_data_path={folder / 'clips.h5'}",
        "vae_config.latent_dim=3",
        "vae_config.encoder_hidden_sizes=[16]",
        "vae_config.decoder_hidden_sizes=[16]",
        "vae_config.start=fresh",
        "vae_config.prior_hidden_sizes=[8]",
        "training_config.num_envs=8",
        "training_config.unroll_length=4",
        "training_config.batch_size=16",
        "training_config.num_steps=3200",
        "checkpoint_config.interval_steps=320",
        "logging_config.interval_steps=640",
        "logging_config.progress=plain",
        "eval_config.num_episodes=4",
        "eval_config.interval_steps=0",
        "physics_config.num_threads=1",
    ]
