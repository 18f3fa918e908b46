"""A stored student with its teacher, body, task and clips, as the commands that play it are given them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vnl_mjx.clips.container import ClipSplit, ReferenceClips, marked_split
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.runtime import simulation
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.schema import ReferenceSection
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.conformance import check_sizes
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.utils.vae_checkpointing import CHECKPOINT_FOLDER, LoadedStudent, load_student
from vnl_mjx.walkers.walker import Walker, build_walker


@dataclass(frozen=True)
class StoredStudent:
    """What a run left, built again.

    Attributes:
        loaded: the student and the teacher that it carries.
        run_dir: folder of the run; of the checkpoint, where that stands alone.
        walker: the body.
        task: the teacher's.
        clips: all clips of the reference file.
        clips_file: that file.
        reference: how it was cut.
        split: which of them the student was trained on; None where these are other clips, whose file
            marks none.
        same_clips: they are those of the run.
    """

    loaded: LoadedStudent
    run_dir: Path
    walker: Walker
    task: ImitationTask
    clips: ReferenceClips
    clips_file: Path
    reference: ReferenceSection
    split: ClipSplit | None
    same_clips: bool

    def set_of(self, clip: int) -> str:
        """Either "train" or "held_out"; "other" where nothing is known of the clip."""
        if self.split is None:
            return "other"
        return "held_out" if clip in self.split.held_out else "train"


def load_stored_student(
    checkpoint: str,
    step: int | None = None,
    clips: str | None = None,
    mjcf: str | None = None,
    reference: ReferenceSection | None = None,
    physics: PhysicsSection | None = None,
) -> StoredStudent:
    """Loads a student and builds what it was trained in.

    Args:
        checkpoint: run folder of a distillation, or its folder of checkpoints.
        step: of the checkpoint; None for the latest.
        clips: other clips than the run's, or where these are now.
        mjcf: the body's file, where it is no longer where the run found it.
        reference: how the clips are cut; as in the run where it is None.
        physics: the simulation; MuJoCo C where it is None.

    Raises:
        UserError: the checkpoint, the body or the clips are missing, damaged or do not fit each other.
    """
    loaded = load_student(checkpoint, step)
    run_dir = _run_dir(loaded.path)
    identity = loaded.metadata["identity"]
    task_config = from_dict(ImitationConfig, identity["task"], f"{loaded.path}: ")
    recorded = loaded.metadata["walker_source"]
    body = _locate(mjcf, recorded, run_dir, "walker_config.mjcf_path")
    if body is not None:
        task_config = replace(task_config, walker=replace(task_config.walker, source=str(body)))
    walker = build_walker(task_config.walker)
    _check_walker(walker, loaded)
    recorded = loaded.metadata["reference_source"]
    file = _locate(clips, recorded, run_dir, "teacher_config.reference_data_path") or DEMO_CLIPS
    cut = _cut(reference or ReferenceSection(), loaded)
    read = read_clips(file, walker, clip_length=cut.clip_length, rate_hz=cut.rate_hz)
    task = build_task(task_config, walker, **simulation(physics or PhysicsSection("mujoco")))
    check_sizes(task, loaded.teacher)
    task.check_clips(read)
    same = read.sha256 == identity["clips_sha256"]
    split = ClipSplit.from_dict(identity["split"]) if same else marked_split(read, seed=0)
    return StoredStudent(loaded, run_dir, walker, task, read, file, cut, split, same)


def _run_dir(checkpoint: Path) -> Path:
    parent = checkpoint.resolve().parent
    return parent.parent if parent.name == CHECKPOINT_FOLDER else checkpoint.resolve()


def _check_walker(walker: Walker, loaded: LoadedStudent) -> None:
    recorded, found = loaded.metadata["walker"], walker.fingerprint()
    for name, value in recorded.items():
        if found.get(name) != value and name != "sha256":
            raise UserError(
                f"{loaded.path}: the walker built here differs from the student's in {name}; install the "
                f"recorded versions ({_versions(loaded.metadata)})"
            )


def _versions(metadata: dict[str, Any]) -> str:
    return ", ".join(f"{name} {metadata['versions'][name]}" for name in ("mujoco", "vnl-mjx"))


def _locate(given: str | None, recorded: str | None, run_dir: Path, key: str) -> Path | None:
    """The file given now, else the one that the run recorded, else None (the bundled one)."""
    if given is not None:
        return Path(given).expanduser()
    if recorded is None:
        return None
    path = run_dir / recorded
    if not path.exists():
        raise UserError(f"the run's {path.name} is not at {path}; give {key}=FILE")
    return path


def _cut(given: ReferenceSection, loaded: LoadedStudent) -> ReferenceSection:
    """How the clips are cut: as given now, else as in the run."""
    stored = loaded.metadata["config"]["reference_config"]
    return ReferenceSection(
        clip_length=given.clip_length or stored["clip_length"],
        rate_hz=given.rate_hz or stored["rate_hz"],
    )
