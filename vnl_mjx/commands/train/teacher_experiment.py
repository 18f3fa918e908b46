"""From a configuration to the objects of a teacher's training: body, clips, task, networks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from vnl_mjx.clips.container import (
    ClipSplit,
    ReferenceClips,
    clips_of_split,
    marked_split,
    split_clips,
)
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.operations import merge
from vnl_mjx.commands.runtime import simulation
from vnl_mjx.commands.train.experiment import task_identity
from vnl_mjx.compat.teacher_start import TeacherStart, read_start
from vnl_mjx.compat.track_mjx_writer import track_mjx_config
from vnl_mjx.config.imitation import RODENT_SOURCE, ImitationConfig
from vnl_mjx.config.teacher import NetworkSection, TeacherReferenceSection, TeacherTrainingConfig
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.tasks.building import build_task, for_one_device, on_nominal_body
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.walkers.walker import Walker, build_walker


@dataclass(frozen=True)
class TeacherExperiment:
    """What a teacher's training is made of.

    Attributes:
        config: of the run.
        walker: the body.
        env: the task, batched.
        clips: all of them.
        split: which of them are trained on.
        model: policy and value network.
        start: what the networks start from; None for fresh ones.
    """

    config: TeacherTrainingConfig
    walker: Walker
    env: ImitationEnvironment
    clips: ReferenceClips
    split: ClipSplit
    model: ActorCritic
    start: TeacherStart | None

    def clips_of(self, which: str) -> ReferenceClips:
        """The "train", "held_out" or "all" clips, see `reference.clips.clips_of_split`."""
        return clips_of_split(self.clips, self.split, which)

    def evaluation_task(self) -> ImitationTask:
        """The task on the nominal body, on which `vnl-mjx eval-teacher` judges too, for one device."""
        task = self.env.task
        if not task.physics.num_variants:
            return for_one_device(task)
        nominal = on_nominal_body(task.config)
        return build_task(nominal, self.walker, **simulation(self.config.physics_config))

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: JSON-able, without paths."""
        shared = task_identity(self.env.task, self.clips, self.split)
        return {"init_sha256": self.start.teacher.sha256 if self.start else None, **shared}

    def track_mjx_config(self) -> dict[str, Any]:
        """The configuration that the teacher is stored with, in track-mjx's keys."""
        ppo, task = self.config.ppo, self.config.task
        longest = int(self.clips.lengths.max())
        return track_mjx_config(
            _portable(task),
            self.model.policy_config,
            clip_length=max(longest, task.traj_length + task.episode_frames),
            critic_hidden_sizes=self.model.value_config.hidden_sizes,
            # track-mjx means over latent dimensions, we sum
            kl_weight=(ppo.latent_ar1_kl.value or ppo.latent_kl.value)
            * self.config.network.latent_dim,
            train_config={
                "num_envs": ppo.num_envs,
                "num_timesteps": ppo.num_steps,
                "batch_size": ppo.num_envs // ppo.num_minibatches,
                "num_minibatches": ppo.num_minibatches,
                "num_updates_per_batch": ppo.num_epochs,
                "learning_rate": ppo.learning_rate.value,
                "clipping_epsilon": ppo.clip_epsilon,
                "discounting": ppo.discount,
                "action_repeat": ppo.action_repeat,
                "entropy_cost": ppo.entropy.value,
                "reward_scaling": ppo.reward_scale,
                "unroll_length": ppo.unroll_length,
                "seed": ppo.seed,
            },
            reference_name=self.clips.source,
        )


def build_teacher_experiment(
    config: TeacherTrainingConfig, mesh: Mesh | None = None
) -> TeacherExperiment:
    """Loads and builds everything up to the networks.

    Args:
        config: of the run.
        mesh: of the devices to train on; None: one.

    Raises:
        UserError: a file is missing, damaged or does not fit the others.
    """
    walker = build_walker(config.task.walker)
    clips = _read_all(config.reference_config, walker)
    task = build_task(config.task, walker, **simulation(config.physics_config), mesh=mesh)
    task.check_clips(clips)
    sampling = config.sampling
    env = ImitationEnvironment(task, sampling.failure_weighting, sampling.failure_memory)
    model = _model(config.network, env)
    return TeacherExperiment(
        config=config,
        walker=walker,
        env=env,
        clips=clips,
        split=_split(clips, config.reference_config, config.ppo.seed),
        model=model,
        start=None if config.init_from is None else _start(config.init_from, model),
    )


def _read_all(section: TeacherReferenceSection, walker: Walker) -> ReferenceClips:
    return merge(
        [
            read_clips(path, walker, clip_length=section.clip_length, rate_hz=section.rate_hz)
            for path in section.paths or (DEMO_CLIPS,)
        ]
    )


def _split(clips: ReferenceClips, section: TeacherReferenceSection, seed: int) -> ClipSplit:
    marked = marked_split(clips, seed) if section.use_held_out_marks else None
    return marked or split_clips(clips.num_clips, section.held_out_fraction, seed)


def _model(network: NetworkSection, env: ImitationEnvironment) -> ActorCritic:
    reference, proprioception = (env.observation_sizes[k] for k in ("reference", "proprioception"))
    is_recurrent = network.lstm_num_layers > 0
    policy = IntentionConfig(
        reference_size=reference,
        proprioception_size=proprioception,
        action_size=env.action_size,
        latent_dim=network.latent_dim,
        encoder_hidden_sizes=network.encoder_hidden_sizes,
        decoder_hidden_sizes=network.decoder_hidden_sizes,
        activation=network.activation,
        lstm_hidden_size=network.lstm_hidden_size if is_recurrent else 0,
        lstm_num_layers=network.lstm_num_layers,
        observation_clip=network.observation_clip,
    )
    value = ValueConfig(
        observation_size=reference + proprioception,
        hidden_sizes=network.value_hidden_sizes,
        activation=network.activation,
        layer_norm=network.value_layer_norm,
    )
    return ActorCritic(policy, value, network.initial_action_std)


def _start(path: str, model: ActorCritic) -> TeacherStart:
    shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0))
    return read_start(path, model.policy_config, shapes.value)


def _portable(task: ImitationConfig) -> ImitationConfig:
    """The task without the folder of its body's file: a checkpoint names no path of this machine."""
    if task.walker.source == RODENT_SOURCE:
        return task
    return replace(task, walker=replace(task.walker, source=Path(task.walker.source).name))
