"""A teacher and clips, as the commands that play one are given them."""

from pathlib import Path

from vnl_mjx.clips.container import ReferenceClips, clips_of_split, marked_split
from vnl_mjx.commands.train.experiment import Experiment, build_experiment
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.schema import (
    DistillationConfig,
    ReferenceSection,
    TeacherSection,
    WalkerSection,
)
from vnl_mjx.errors import UserError


def load_experiment(
    checkpoint: Path | None,
    clips: Path | None,
    mjcf: str | None,
    nominal_body: bool = True,
    reference: ReferenceSection | None = None,
    physics: PhysicsSection | None = None,
) -> Experiment:
    """Teacher, body, task and clips; the bundled ones where None is given.

    Args:
        checkpoint: the teacher's.
        clips: clip file.
        mjcf: another body than the teacher's.
        nominal_body: leave out the domain randomisation that the teacher was trained with.
        reference: how the clips are cut; as their file says where it is None.
        physics: the simulation; MuJoCo C where it is None.

    Raises:
        UserError: a file is missing, damaged or does not fit the others.
    """
    teacher = TeacherSection(
        checkpoint_path=None if checkpoint is None else str(checkpoint),
        reference_data_path=None if clips is None else str(clips.expanduser()),
    )
    config = DistillationConfig(
        teacher_config=teacher,
        walker_config=WalkerSection(mjcf_path=mjcf),
        reference_config=reference or ReferenceSection(),
        physics_config=physics or PhysicsSection("mujoco"),
    )
    return build_experiment(config, nominal_body)


def choose_clips(clips: ReferenceClips, which: str) -> ReferenceClips:
    """The clips that the file marks as held out, those that it does not, or "all".

    Raises:
        UserError: some are wanted and none is marked.
    """
    if which == "all":
        return clips
    split = marked_split(clips, seed=0)
    if split is None:
        raise UserError(
            f"--{which}: {clips.source} does not mark some of its clips as held out; mark them with "
            "vnl-mjx clips hold-out, or evaluate --all"
        )
    return clips_of_split(clips, split, which.replace("-", "_"))


def name_of(experiment: Experiment, checkpoint: Path | None) -> str:
    """The teacher, without the folders of this machine."""
    if checkpoint is None:
        return "the bundled teacher"
    teacher = experiment.teacher
    name = checkpoint.expanduser().resolve().name
    return f"{name} at step {teacher.step} (sha256 {teacher.sha256[:8]})"
