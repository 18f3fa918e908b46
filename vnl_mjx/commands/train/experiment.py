"""From a configuration to the objects of a run: teacher, walker, physics, clips, task, student."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from vnl_mjx.clips.container import (
    ClipSplit,
    ReferenceClips,
    clips_of_split,
    marked_split,
    split_clips,
)
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.runtime import simulation
from vnl_mjx.compat.track_mjx_loader import LoadedTeacher, load_teacher
from vnl_mjx.config.imitation import RODENT_SOURCE
from vnl_mjx.config.schema import DistillationConfig, VaeSection
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.evaluation.conformance import check_sizes
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.tasks.building import build_task, for_one_device, on_nominal_body
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.versions import installed_versions
from vnl_mjx.walkers.walker import Walker, build_walker

_RECORDED_PACKAGES = (
    "vnl-mjx",
    "mujoco",
    "mujoco-mjx",
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
)


@dataclass(frozen=True)
class Experiment:
    """Everything that training and evaluation share.

    Attributes:
        teacher: the loaded teacher with its notes.
        walker: the body.
        env: the teacher's environment.
        clips: all clips of the reference file.
        split: which of them are trained on.
    """

    teacher: LoadedTeacher
    walker: Walker
    env: ImitationEnvironment
    clips: ReferenceClips
    split: ClipSplit

    def clips_of(self, which: str) -> ReferenceClips:
        """The "train", "held_out" or "all" clips, see `reference.clips.clips_of_split`."""
        return clips_of_split(self.clips, self.split, which)

    def student(self, section: VaeSection) -> StudentVAE:
        """A student sized for this task."""
        layout = self.env.task.layout
        return StudentVAE(
            VaeConfig(
                reference_size=layout.reference_size,
                proprioception_size=layout.proprioception_size,
                action_size=self.env.action_size,
                **asdict(section),
            )
        )

    def evaluation_task(self) -> ImitationTask:
        """The task for an evaluation, which is one device's work."""
        return for_one_device(self.env.task)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: JSON-able, without paths."""
        shared = task_identity(self.env.task, self.clips, self.split)
        return {"teacher_sha256": self.teacher.sha256, **shared}


def build_experiment(
    config: DistillationConfig, nominal_body: bool = False, mesh: Mesh | None = None
) -> Experiment:
    """Loads and builds everything up to the task.

    Args:
        config: of the run.
        nominal_body: leave out the domain randomisation that the teacher was trained with.
        mesh: of the devices to train on; None: one.

    Raises:
        UserError: a file is missing, damaged or does not fit the others.
    """
    wanted, training = config.teacher_config, config.training_config
    teacher = load_teacher(
        wanted.checkpoint_path or DEMO_TEACHER,
        wanted.step,
        wanted.activation,
    )
    if wanted.observation_clip is not None:
        network = replace(teacher.policy.config, observation_clip=wanted.observation_clip)
        teacher = replace(teacher, policy=teacher.policy.replace(config=network))
    if config.walker_config.mjcf_path is not None:
        body = replace(teacher.task.walker, source=config.walker_config.mjcf_path)
        teacher = replace(teacher, task=replace(teacher.task, walker=body))
    if solver := config.solver_config.changes():
        physics = replace(teacher.task.physics, **solver)
        teacher = replace(teacher, task=replace(teacher.task, physics=physics))
    if nominal_body:
        teacher = replace(teacher, task=on_nominal_body(teacher.task))
    walker = build_walker(teacher.task.walker)
    clips = read_clips(
        wanted.reference_data_path or DEMO_CLIPS,
        walker,
        clip_length=config.reference_config.clip_length,
        rate_hz=config.reference_config.rate_hz,
    )
    task = build_task(teacher.task, walker, **simulation(config.physics_config), mesh=mesh)
    check_sizes(task, teacher.policy)
    task.check_clips(clips)
    return Experiment(
        teacher=teacher,
        walker=walker,
        env=ImitationEnvironment(task, training.failure_weighting, training.failure_memory),
        clips=clips,
        split=marked_split(clips, training.seed)
        or split_clips(clips.num_clips, training.held_out_fraction, training.seed),
    )


def task_identity(task: ImitationTask, clips: ReferenceClips, split: ClipSplit) -> dict[str, Any]:
    """What of task and clips must be the same for a run to go on: JSON-able, without paths."""
    config = asdict(task.config)
    # What the body is, its hash says; which file it came from is no part of an identity.
    config["walker"]["source"] = RODENT_SOURCE
    return {
        "clips_sha256": clips.sha256,
        "walker_sha256": task.walker.fingerprint()["sha256"],
        "observation": {k: list(v) for k, v in task.layout.slices().items()},
        "task": config,
        "split": split.to_dict(),
    }


def versions() -> dict[str, str]:
    """Versions that a checkpoint records."""
    return installed_versions(_RECORDED_PACKAGES)


def relative_source(path: str | None, run_dir: Path) -> str | None:
    """A path as a checkpoint may record it: relative to the run folder; None for the bundled one."""
    if path is None:
        return None
    return os.path.relpath(Path(path).expanduser().resolve(), run_dir.resolve())
