"""A complete small training of a teacher on disk: the toy walker and made clips."""

from pathlib import Path

import numpy as np

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import write_clips
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.walkers.walker import build_walker

CLIP_LENGTH = 40
NUM_STEPS = 3200
STEPS_PER_UPDATE = 32


def write_toy_clips(path: Path, walker_config: WalkerConfig, num_clips: int = 4) -> None:
    """Clips of the toy walker swaying."""
    walker = build_walker(walker_config)
    phase = np.arange(num_clips * CLIP_LENGTH) % CLIP_LENGTH / 50.0
    qpos = np.tile(walker.model.qpos0, (len(phase), 1))
    qpos[:, 7:] += 0.1 * np.sin(2 * np.pi * phase)[:, None]
    write_clips(path, clips_from_poses(walker, qpos, [CLIP_LENGTH] * num_clips, 50.0))


def toy_overrides(folder: Path, walker: WalkerConfig) -> list[str]:
    """Writes clips into `folder`; returns the overrides of a training of some seconds."""
    write_toy_clips(folder / "clips.h5", walker)

    def listed(names: tuple[str, ...]) -> str:
        return f"[{','.join(names)}]"

    return [
        f"task.walker.source={walker.source}",
        f"task.walker.joint_names={listed(walker.joint_names)}",
        f"task.walker.body_names={listed(walker.body_names)}",
        f"task.walker.end_effector_names={listed(walker.end_effector_names)}",
        "task.walker.rescale_factor=1",
        "task.walker.torque_actuators=true",
        "task.initial_activation=zero",
        "task.physics.num_substeps=5",
        "task.quirks.body_row_shift=0",
        "task.quirks.reward_body_row_shift=0",
        "task.termination.healthy_z_range=[0.02,0.5]",
        "task.termination.max_pos_error=0.05",
        "task.episode_frames=20",
        f"reference_config.paths=[{folder / 'clips.h5'}]",
        "reference_config.held_out_fraction=0.25",
        "network.latent_dim=3",
        "network.encoder_hidden_sizes=[16]",
        "network.decoder_hidden_sizes=[16]",
        "network.value_hidden_sizes=[16]",
        "ppo.num_envs=8",
        "ppo.guidance=0",
        "ppo.unroll_length=4",
        "ppo.num_minibatches=2",
        "ppo.num_epochs=2",
        "ppo.discount=0.95",
        f"ppo.num_steps={NUM_STEPS}",
        "sampling.failure_weighting=0.5",
        "checkpoint_config.interval_steps=320",
        "logging_config.interval_steps=640",
        "logging_config.progress=plain",
        "eval_config.interval_steps=640",
        "eval_config.video_at_end=false",
        "physics_config.num_threads=1",
    ]
