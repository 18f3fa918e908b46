"""`vnl-mjx eval`: a stored student against the teacher that it carries."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from vnl_mjx.analysis.evaluation import metrics
from vnl_mjx.analysis.evaluation.comparison import Evaluator
from vnl_mjx.analysis.evaluation.conformance import check_sizes
from vnl_mjx.analysis.pictures import training as plots
from vnl_mjx.commands import tables
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.schema import EvaluationConfig
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError
from vnl_mjx.reference.clips import ClipSplit, ReferenceClips, clips_of_split
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.tasks.building import build_task
from vnl_mjx.utils.vae_checkpointing import CHECKPOINT_FOLDER, LoadedStudent, load_student
from vnl_mjx.walkers.groups import actuator_groups
from vnl_mjx.walkers.walker import Walker, build_walker


def run(config: EvaluationConfig) -> int:
    """Prints the comparison and writes it with its plots. Returns the exit status.

    Raises:
        UserError: the checkpoint or the clips are missing, damaged or do not fit each other.
    """
    console = Console()
    loaded = load_student(config.checkpoint_path, config.step)
    run_dir = _run_dir(loaded.path)
    output = Path(config.output_dir) if config.output_dir else run_dir / "eval"
    task_config = from_dict(
        ImitationConfig, loaded.metadata["identity"]["task"], f"{loaded.path}: "
    )
    body = _locate(
        config.walker_config.mjcf_path,
        loaded.metadata["walker_source"],
        run_dir,
        "walker_config.mjcf_path",
    )
    if body is not None:
        task_config = replace(task_config, walker=replace(task_config.walker, source=str(body)))
    walker = build_walker(task_config.walker)
    _check_walker(walker, loaded)
    clips = _read_clips(config, loaded, walker, run_dir)
    where = config.physics_config
    task = build_task(task_config, walker, where.backend, where.num_threads)
    check_sizes(task, loaded.teacher)
    task.check_clips(clips)
    chosen = _choose(config.eval_config.clips, clips, loaded, console)

    console.print(
        f"student: {loaded.path} at {loaded.env_steps:,} environment steps", soft_wrap=True
    )
    console.print(f"clips: {chosen.num_clips} of {chosen.source} ({', '.join(chosen.names[:8])})")
    section = config.eval_config
    comparison = Evaluator(task, loaded.student).compare(
        loaded.params,
        loaded.teacher,
        chosen,
        section.num_episodes,
        section.seed,
        section.deterministic,
    )
    summary = metrics.summarize(
        comparison, walker.actuator_names, actuator_groups(walker.actuator_names)
    )
    summary |= {"env_steps": loaded.env_steps, "clips": list(chosen.names)}
    try:
        metrics.write_json(output / "metrics.json", summary)
        plots.latent_plots(comparison, chosen, output)
    except OSError as error:
        raise UserError(
            f"output_dir: cannot write to {output} ({error.strerror}); choose another output_dir"
        ) from error
    tables.print_evaluation(console, summary)
    console.print(f"figures and pictures: {output}", soft_wrap=True)
    return 0


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


def _read_clips(
    config: EvaluationConfig, loaded: LoadedStudent, walker: Walker, run_dir: Path
) -> ReferenceClips:
    path = _locate(
        config.teacher_config.reference_data_path,
        loaded.metadata["reference_source"],
        run_dir,
        "teacher_config.reference_data_path",
    )
    stored = loaded.metadata["config"]["reference_config"]
    given = config.reference_config
    return read_clips(
        path or DEMO_CLIPS,
        walker,
        clip_length=given.clip_length or stored["clip_length"],
        rate_hz=given.rate_hz or stored["rate_hz"],
    )


def _choose(
    which: str, clips: ReferenceClips, loaded: LoadedStudent, console: Console
) -> ReferenceClips:
    identity = loaded.metadata["identity"]
    if clips.sha256 != identity["clips_sha256"]:
        tables.warn(console, "these are not the clips of the run: all of them are evaluated")
        return clips
    return clips_of_split(clips, ClipSplit.from_dict(identity["split"]), which)
