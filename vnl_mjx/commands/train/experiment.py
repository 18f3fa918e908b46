"""Builds body, task, clips and teacher from a configuration."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from vnl_mjx.clips import container
from vnl_mjx.clips.container import ClipSplit, ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.operations import merge
from vnl_mjx.commands.runtime import simulation
from vnl_mjx.compat.teacher_start import check_task
from vnl_mjx.compat.track_mjx_loader import LoadedTeacher, load_teacher
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.imitation import RODENT_SOURCE, ImitationConfig
from vnl_mjx.config.schema import (
    DistillationConfig,
    ReferenceSection,
    TeacherSection,
    TrainingSection,
    VaeSection,
)
from vnl_mjx.config.teacher import NetworkSection, SamplingSection, TeacherTrainingConfig
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.conformance import check_sizes
from vnl_mjx.files import matching
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.physics.base import Physics
from vnl_mjx.tasks.building import build_task, for_one_device, on_nominal_body
from vnl_mjx.tasks.guides import BatchedGuide, Guide, PolicyGuide, PoseGuide, TorqueGuide
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.walkers.walker import Walker, build_walker


@dataclass(frozen=True)
class Experiment:
    """Holds what training, evaluation and viewing share.

    `env` is the batched task, and `evaluation_task` the task of an evaluation, which runs on one device.
    `clips` holds all clips. `given` is the teacher to distil or to run; None when a teacher is trained.
    """

    walker: Walker
    env: ImitationEnvironment
    evaluation_task: ImitationTask
    clips: ReferenceClips
    split: ClipSplit
    given: LoadedTeacher | None = None

    @property
    def teacher(self) -> LoadedTeacher:
        """The given teacher, which must exist."""
        assert self.given is not None
        return self.given

    def clips_of(self, which: str) -> ReferenceClips:
        """Returns the "train", "held_out" or "all" clips, see `clips.container.clips_of_split`."""
        return container.clips_of_split(self.clips, self.split, which)

    def identity(self) -> dict[str, Any]:
        """Returns what must stay the same for a run to be resumed: JSON-able, without paths."""
        task = self.env.task
        config = asdict(task.config)
        # The hash identifies the body; its file does not matter.
        config["walker"]["source"] = RODENT_SOURCE
        return {
            "clips_sha256": self.clips.sha256,
            "walker_sha256": self.walker.fingerprint()["sha256"],
            "observation": {k: list(v) for k, v in task.layout.slices().items()},
            "task": config,
            "split": self.split.to_dict(),
        }


def build_experiment(
    config: DistillationConfig, nominal_body: bool = False, mesh: Mesh | None = None
) -> Experiment:
    """Loads and builds what a distillation needs, up to the student, for one device without a mesh.

    `nominal_body` leaves out the teacher's domain randomisation.
    """
    wanted, training = config.teacher_config, config.training_config
    teacher = load_teacher(wanted.checkpoint_path or DEMO_TEACHER, wanted.step, wanted.activation)
    if wanted.observation_clip is not None:
        network = replace(teacher.policy.config, observation_clip=wanted.observation_clip)
        teacher = replace(teacher, policy=teacher.policy.replace(config=network))
    task_config = with_body(teacher.task, config.walker_config.mjcf_path)
    physics = replace(task_config.physics, **config.solver_config.changes())
    task_config = replace(task_config, physics=physics)
    if nominal_body:
        task_config = on_nominal_body(task_config)
    walker = build_walker(task_config.walker)
    files, cut = [wanted.reference_data_path or DEMO_CLIPS], config.reference_config
    task, clips = build_task_and_clips(
        task_config, walker, files, cut, config.physics_config, teacher.policy, mesh
    )
    return Experiment(
        walker=walker,
        env=_training_environment(task, training),
        evaluation_task=for_one_device(task),
        clips=clips,
        split=_split(clips, training.held_out_fraction, training.seed),
        given=replace(teacher, task=task_config, warnings=(*unpaired(wanted), *teacher.warnings)),
    )


def unpaired(wanted: TeacherSection) -> tuple[str, ...]:
    """Returns a warning if only one of teacher and clips was given, so that the other is the bundled one."""
    teacher, clips = wanted.checkpoint_path, wanted.reference_data_path
    if clips is None and teacher is not None and DEMO_TEACHER.parent not in Path(teacher).parents:
        return (
            f"no clips were given: {teacher} may not have been trained on the bundled ones; give its "
            "own (clips=FILE, or --clips FILE)",
        )
    if teacher is None and clips is not None and Path(clips) != DEMO_CLIPS:
        return (
            f"no teacher was given: the bundled one may not have been trained on {clips}; train a teacher "
            f"on them (vnl-mjx train-teacher {shlex.quote(clips)})",
        )
    return ()


def build_teacher_experiment(config: TeacherTrainingConfig, mesh: Mesh | None = None) -> Experiment:
    """Loads and builds what a teacher's training needs, up to the networks; see `build_experiment`.

    Evaluations use the nominal body, like `vnl-mjx eval-teacher`.
    """
    section, sampling = config.reference_config, config.sampling
    files = section.paths or (DEMO_CLIPS,)
    walker = build_walker(config.task.walker)
    task, clips = build_task_and_clips(
        config.task, walker, files, section, config.physics_config, mesh=mesh
    )
    evaluation_task = for_one_device(task)
    if task.physics.num_variants:
        nominal = on_nominal_body(task.config)
        evaluation_task = build_task(nominal, walker, **simulation(config.physics_config))
    return Experiment(
        walker=walker,
        env=_training_environment(task, sampling),
        evaluation_task=evaluation_task,
        clips=clips,
        split=_split(clips, section.held_out_fraction, config.ppo.seed, section.use_held_out_marks),
    )


def build_guide(
    config: TeacherTrainingConfig, env: ImitationEnvironment, mesh: Mesh | None = None
) -> tuple[BatchedGuide | None, LoadedTeacher | None]:
    """Returns the guide of a training, and the teacher that it uses, if any.

    The guide is None if `ppo.guidance` is never positive.

    Raises:
        UserError: `guide_from` holds no checkpoint, or one of another task, with a memory, or of torques
            for a body with position actuators; or no guide exists for the actuators.
    """
    if not config.has_guidance:
        return None, None
    task, physics = env.task, config.physics_config
    if config.guide_from is None:
        return BatchedGuide(build_pose_guide(task, physics, mesh)), None
    given = load_teacher(config.guide_from)
    check_task("guide_from", config.guide_from, given.policy.config, _sizes(env))
    guide: Guide = PolicyGuide(task, given.policy)
    by_torques, has_torques = (one.walker.torque_actuators for one in (given.task, config.task))
    if by_torques and not has_torques:
        raise UserError(
            f"guide_from: expected a teacher of position actuators, found one of torques in "
            f"{config.guide_from}; give another one, or task.walker.torque_actuators=true"
        )
    if has_torques and not by_torques:
        guide = TorqueGuide(guide, task, _with_servos(task, physics, mesh))
    return BatchedGuide(guide), given


def build_pose_guide(
    task: ImitationTask, physics: PhysicsSection, mesh: Mesh | None = None
) -> Guide:
    """Returns the control of the reference's pose; for torque actuators the torques nearest to it.

    Raises:
        UserError: no such control exists for the actuators.
    """
    if not task.config.walker.torque_actuators:
        return PoseGuide(task, task.physics.model)
    servo = _with_servos(task, physics, mesh)
    return TorqueGuide(PoseGuide(task, servo.model), task, servo)


def _with_servos(task: ImitationTask, physics: PhysicsSection, mesh: Mesh | None) -> Physics:
    """Returns a simulation of the same body with position actuators, one substep at a time."""
    config = task.config
    body = replace(config.walker, torque_actuators=False)
    substeps = replace(config.physics, num_substeps=1)
    wanted = replace(on_nominal_body(config), walker=body, physics=substeps)
    return build_task(wanted, build_walker(body), **simulation(physics), mesh=mesh).physics


def build_task_and_clips(
    config: ImitationConfig,
    walker: Walker,
    files: Sequence[str | Path],
    cut: ReferenceSection,
    physics: PhysicsSection,
    policy: FrozenPolicy | None = None,
    mesh: Mesh | None = None,
) -> tuple[ImitationTask, ReferenceClips]:
    """Builds a task for a walker built from `config.walker`, and reads clips that it can follow.

    `cut` says how the clips are cut; `policy` has to fit the task; `mesh` is as of `build_experiment`.
    """
    cuts = {"clip_length": cut.clip_length, "rate_hz": cut.rate_hz}
    clips = merge([read_clips(file, walker, **cuts) for file in matching(files)])
    task = build_task(config, walker, **simulation(physics), mesh=mesh)
    if policy is not None:
        check_sizes(task, policy)
    task.check_clips(clips)
    return task, clips


def with_body(config: ImitationConfig, mjcf: str | Path | None) -> ImitationConfig:
    """Returns the task with the body of an MJCF file, if one is given."""
    if mjcf is None:
        return config
    return replace(config, walker=replace(config.walker, source=str(mjcf)))


def build_student(
    env: ImitationEnvironment, section: VaeSection, teacher: IntentionConfig
) -> StudentVAE:
    """Returns a student of `teacher`, sized for the observation and action of `env`."""
    return StudentVAE(VaeConfig.of_teacher(section, teacher, **_sizes(env)), teacher)


def build_actor_critic(env: ImitationEnvironment, network: NetworkSection) -> ActorCritic:
    """Returns policy and value network sized for the observation and action of `env`."""
    names = {item.name for item in fields(IntentionConfig)}
    shared = {name: value for name, value in asdict(network).items() if name in names}
    memory = (network.lstm_hidden_size,) * network.lstm_num_layers
    policy = IntentionConfig(**_sizes(env), **shared, memory_sizes=memory)
    value = ValueConfig(
        observation_size=policy.observation_size,
        hidden_sizes=network.value_hidden_sizes,
        activation=network.activation,
        layer_norm=network.value_layer_norm,
    )
    return ActorCritic(policy, value, network.initial_action_std)


def _training_environment(
    task: ImitationTask, section: TrainingSection | SamplingSection
) -> ImitationEnvironment:
    names = ("failure_weighting", "failure_memory", "push_interval_s", "push_speed")
    return ImitationEnvironment(task, **{name: getattr(section, name) for name in names})


def _sizes(env: ImitationEnvironment) -> dict[str, int]:
    observation = {f"{name}_size": size for name, size in env.observation_sizes.items()}
    return observation | {"action_size": env.action_size}


def _split(
    clips: ReferenceClips, held_out_fraction: float, seed: int, use_marks: bool = True
) -> ClipSplit:
    marked = container.marked_split(clips, seed) if use_marks else None
    return marked or container.split_clips(clips.num_clips, held_out_fraction, seed)
