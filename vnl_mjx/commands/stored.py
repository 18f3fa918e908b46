"""Recognises what a user's path holds, and loads teachers and students with body, task and clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vnl_mjx.clips.container import ClipSplit, ReferenceClips, clips_of_split, marked_split
from vnl_mjx.commands.train.experiment import (
    Experiment,
    build_experiment,
    build_task_and_clips,
    with_body,
)
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX, stored_kind
from vnl_mjx.compat.track_mjx_student import teacher_as_student
from vnl_mjx.compat.track_mjx_writer import TEACHER_FOLDER
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.schema import (
    DistillationConfig,
    ReferenceSection,
    TeacherSection,
    WalkerSection,
)
from vnl_mjx.demo import DEMO_CLIPS, DEMO_STUDENT
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.task_evaluation import HeldPolicy, task_policy
from vnl_mjx.files import with_user
from vnl_mjx.tasks.downstream.goal import Goal
from vnl_mjx.tasks.downstream.goals import make_goal
from vnl_mjx.tasks.downstream.low_level import LowLevel, Mode, Residual
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.utils.task_checkpointing import LoadedTask, load_task
from vnl_mjx.utils.vae_checkpointing import (
    CHECKPOINT_FOLDER,
    POLICY,
    LoadedStudent,
    load_student,
)
from vnl_mjx.walkers.walker import Walker, build_walker

AnyPath = str | Path | None

EXPECTED = (
    "a run folder or student checkpoint of vnl-mjx, a track-mjx checkpoint (a folder holding "
    f"{STEP_PREFIX}_<step>), or a file of reference clips or of recorded poses"
)


def find_stored(path: Path) -> tuple[Literal["student", "teacher", "task", "file"], Path]:
    """Returns the kind of what is at `path`, and where it is, which for a run may be below `path`."""
    if not path.exists():
        raise UserError(f"{path}: does not exist; expected {EXPECTED}")
    if path.is_file():
        return "file", path
    for folder in (path, path / TEACHER_FOLDER):
        if (kind := stored_kind(folder)) is not None:
            return "teacher" if kind == STEP_PREFIX else "student", folder
    if _holds(path, POLICY):
        return "task", path
    if _holds(path, "student"):
        return "student", path
    if (path / "config.json").is_file() and (path / CHECKPOINT_FOLDER).is_dir():
        raise UserError(f"{path}: a run folder without a complete checkpoint yet")
    names = sorted(child.name for child in path.iterdir())
    found = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
    raise UserError(f"{path}: expected {EXPECTED}; found a folder with {found or 'nothing in it'}")


def _holds(path: Path, item: str) -> bool:
    """Returns whether a checkpoint of ours, or one in the folder, holds an item."""
    folders = [path / CHECKPOINT_FOLDER, *([path] if path.name == CHECKPOINT_FOLDER else [])]
    steps = [p for f in folders if f.is_dir() for p in f.iterdir() if p.name.isdigit()]
    return any((p / item).is_dir() and (p / "metadata").is_dir() for p in (path, *steps))


def load_stored_teacher(
    checkpoint: Path | None,
    clips: AnyPath = None,
    mjcf: AnyPath = None,
    nominal_body: bool = True,
    reference: ReferenceSection | None = None,
    physics: PhysicsSection | None = None,
) -> Experiment:
    """Loads a teacher, and builds body, task and clips; the bundled ones where None is given.

    `nominal_body` leaves out the teacher's domain randomisation. With `reference` None, clips are cut as
    their file says; with `physics` None, MuJoCo C simulates.
    """
    teacher, data, body = (
        path and str(Path(path).expanduser()) for path in (checkpoint, clips, mjcf)
    )
    config = DistillationConfig(
        teacher_config=TeacherSection(teacher or None, data or None),
        walker_config=WalkerSection(body or None),
        reference_config=reference or ReferenceSection(),
        physics_config=physics or PhysicsSection("mujoco"),
    )
    return build_experiment(config, nominal_body)


def choose_clips(clips: ReferenceClips, which: str) -> ReferenceClips:
    """Returns the clips that the file marks as held out, the others ("train"), or "all"."""
    if which == "all":
        return clips
    split = marked_split(clips, seed=0)
    if split is None:
        raise UserError(
            f"--{which}: {clips.source} does not mark some of its clips as held out; mark them with "
            "vnl-mjx clips hold-out, or evaluate --all"
        )
    return clips_of_split(clips, split, which.replace("-", "_"))


def name_of_teacher(experiment: Experiment, checkpoint: Path | None) -> str:
    """Returns the teacher's name, without the folders of this machine."""
    if checkpoint is None:
        return "the bundled teacher"
    teacher = experiment.teacher
    name = checkpoint.expanduser().resolve().name
    return f"{name} at step {teacher.step} (sha256 {teacher.sha256[:8]})"


@dataclass(frozen=True)
class StoredStudent:
    """Holds a student with the task and clips of its training.

    Attributes:
        loaded: the student and its teacher.
        run_dir: folder of the run, or of a checkpoint outside a run.
        task: the teacher's.
        clips: all clips of the reference file.
        clips_file: path of the reference file.
        reference: how the file was cut into clips.
        split: training and held-out clips; None for other clips whose file marks none.
        same_clips: whether these are the clips of the run.
    """

    loaded: LoadedStudent
    run_dir: Path
    task: ImitationTask
    clips: ReferenceClips
    clips_file: Path
    reference: ReferenceSection
    split: ClipSplit | None
    same_clips: bool

    def set_of(self, clip: int) -> str:
        """Returns "train" or "held_out"; "other" if the clip is unknown."""
        if self.split is None:
            return "other"
        return "held_out" if clip in self.split.held_out else "train"

    def below(
        self,
        goal: Goal,
        mode: Mode | Literal["fine_tuned"],
        residual: Residual,
        episode_s: float | None = None,
    ) -> tuple[DownstreamTask, DownstreamData]:
        """Builds a task with this student as its low level, and the data that the task reads.

        Args:
            goal: the goal.
            mode: meaning of an action, see `LowLevel`; "fine_tuned" counts as "scratch" here.
            residual: bounds of the action, see `LowLevel`.
            episode_s: seconds of an episode; None: the goal's.
        """
        acts = "scratch" if mode == "fine_tuned" else mode
        low_level = LowLevel.of(self.loaded.for_use(), acts, residual)
        data = DownstreamData.of(low_level, self.clips, self.task)
        return DownstreamTask(goal, self.task, data.low_level, episode_s), data


def load_stored_student(
    checkpoint: str,
    step: int | None = None,
    clips: AnyPath = None,
    mjcf: AnyPath = None,
    reference: ReferenceSection | None = None,
    physics: PhysicsSection | None = None,
) -> StoredStudent:
    """Loads a student and builds its task and clips.

    `checkpoint` is the run folder, its folder of checkpoints or a checkpoint; step None is the latest.
    `clips` is another file of clips, or the new path of the run's; clips are cut as in the run unless
    `reference` says otherwise. `mjcf` is the new path of the body's file. With `physics` None, MuJoCo C
    simulates.
    """
    loaded = load_student(checkpoint, step)
    return _with_surroundings(loaded, clips, mjcf, reference, physics)


def _with_surroundings(
    loaded: LoadedStudent,
    clips: AnyPath,
    mjcf: AnyPath,
    reference: ReferenceSection | None,
    physics: PhysicsSection | None,
) -> StoredStudent:
    run_dir, metadata = _run_dir(loaded.path), loaded.metadata
    identity = metadata["identity"]
    config = from_dict(ImitationConfig, identity["task"], f"{loaded.path}: ")
    body = _locate(
        mjcf, metadata["walker_source"], run_dir, "walker_config.mjcf_path=FILE, or --mjcf FILE"
    )
    config = with_body(config, body)
    walker = build_walker(config.walker)
    _check_walker(walker, loaded)
    key = "clips=FILE, or --clips FILE"
    file = _locate(clips, metadata["reference_source"], run_dir, key) or DEMO_CLIPS
    recorded = metadata["config"]["reference_config"]
    given = reference or ReferenceSection()
    cut = ReferenceSection(
        clip_length=given.clip_length or recorded["clip_length"],
        rate_hz=given.rate_hz or recorded["rate_hz"],
    )
    where = physics or PhysicsSection("mujoco")
    task, read = build_task_and_clips(config, walker, [file], cut, where, loaded.teacher)
    same = read.sha256 == identity["clips_sha256"]
    split = ClipSplit.from_dict(identity["split"]) if same else marked_split(read, seed=0)
    return StoredStudent(loaded, run_dir, task, read, file, cut, split, same)


@dataclass(frozen=True)
class StoredTask:
    """Holds a policy of a task with its student, task and data.

    Attributes:
        loaded: the policy and the student below it.
        stored: that student with the task and clips of its training.
        task: the task, with episodes of the requested length.
        data: data that the task reads besides its state.
        policy: the policy, acting at its mode.
    """

    loaded: LoadedTask
    stored: StoredStudent
    task: DownstreamTask
    data: DownstreamData
    policy: HeldPolicy

    @property
    def name(self) -> str:
        """The policy's name, without folders of this machine."""
        folder, goal = self.stored.run_dir.name, self.task.goal.name
        return folder if goal in folder else f"{folder}: {goal}"


def load_stored_task(
    checkpoint: Path,
    clips: AnyPath = None,
    mjcf: AnyPath = None,
    seconds: float | None = None,
) -> StoredTask:
    """Loads a policy of a task, and builds the task and that of its low level.

    Args:
        checkpoint: run folder, its folder of checkpoints, or a checkpoint.
        clips: clips in whose frames episodes start, see `load_stored_student`.
        mjcf: new path of the body's file.
        seconds: length of an episode; None: the goal's.
    """
    loaded = load_task(checkpoint)
    stored = _with_surroundings(loaded.low_level, clips, mjcf, None, None)
    config = loaded.metadata["config"]
    goal = make_goal(loaded.metadata["identity"]["goal"], "goal")
    task, data = stored.below(goal, config["mode"], config["residual"], seconds)
    policy = task_policy(loaded.policy, config["ppo"]["action_repeat"])
    return StoredTask(loaded, stored, task, data, policy)


def load_low_level(
    checkpoint: AnyPath,
    clips: AnyPath = None,
    reference: ReferenceSection | None = None,
    physics: PhysicsSection | None = None,
    mjcf: AnyPath = None,
) -> StoredStudent:
    """Loads a low level for a task: a student, or a teacher with the prior N(0, I).

    None loads the bundled student. `mjcf` is the new path of the body's file.

    Raises:
        UserError: the path holds neither.
    """
    kind, path = find_stored(Path(checkpoint or DEMO_STUDENT).expanduser())
    if kind == "student":
        return load_stored_student(str(path), None, clips, mjcf, reference, physics)
    if kind != "teacher":
        raise UserError(f"student: expected a student or a teacher, found a {kind} in {path}")
    experiment = load_stored_teacher(path, clips, mjcf, True, reference, physics)
    given = experiment.teacher
    student, params = teacher_as_student(given)
    metadata = {"identity": experiment.identity()}
    loaded = LoadedStudent(student, params, given.policy, metadata, None, path, True)
    file = Path(clips).expanduser() if clips else DEMO_CLIPS
    return StoredStudent(
        loaded,
        _run_dir(path),
        experiment.env.task,
        experiment.clips,
        file,
        reference or ReferenceSection(),
        experiment.split,
        False,
    )


def _run_dir(checkpoint: Path) -> Path:
    parent = checkpoint.resolve().parent
    if stored_kind(checkpoint) is not None:
        return parent
    return parent.parent if parent.name == CHECKPOINT_FOLDER else checkpoint.resolve()


def _check_walker(walker: Walker, loaded: LoadedStudent) -> None:
    found, versions = walker.fingerprint(), loaded.metadata["versions"]
    for name, value in loaded.metadata["walker"].items():
        if found.get(name) != value and name != "sha256":
            raise UserError(
                f"{loaded.path}: the walker built here differs from the student's in {name}; install the "
                f"recorded versions (mujoco {versions['mujoco']}, vnl-mjx {versions['vnl-mjx']})"
            )


def _locate(given: AnyPath, recorded: str | None, run_dir: Path, how: str) -> Path | None:
    """Returns the given file, else the one that the run recorded, else None (the bundled one)."""
    if given is not None:
        return Path(given).expanduser()
    if recorded is None:
        return None
    path = run_dir / with_user(recorded)
    if not path.exists():
        raise UserError(f"the run's {path.name} is not at {path}; give {how}")
    return path
