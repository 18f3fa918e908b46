"""The folder of a run: what it records about itself, and whether it may be continued."""

import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vnl_mjx.commands.runtime import describe_runtime
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.experiment import Experiment, relative_source, versions
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import RODENT_SOURCE, ImitationConfig
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.vae import VaeConfig

# Sections that decide a run's numbers, and the settings in them that do not. What it computes on is no
# part of them: a run may go on on another machine, with numbers that are alike and not the same.
_DECISIVE_SECTIONS = ("vae_config", "training_config", "reference_config")
_FREE_TO_CHANGE = ("training_config.num_steps",)


def new_run_dir(name: str) -> str:
    """A folder of its own for a run that was given none."""
    return f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def make_run_dir(run_dir: Path) -> None:
    """Creates the folder and tries to write in it; of several processes the first one does.

    Raises:
        UserError: it cannot be written, or is another one in each process.
    """
    processes.first_does(lambda: _make_run_dir(run_dir))
    if not run_dir.is_dir():
        raise UserError(
            f"run_dir: process {processes.index()} does not find {run_dir}, which the first one made; "
            "give a folder on a file system that all the machines share"
        )


def _make_run_dir(run_dir: Path) -> None:
    probe = run_dir / ".write_probe"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe.write_text("vnl-mjx")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"run_dir: cannot write to {run_dir} ({error.strerror}); choose another run_dir"
        ) from error


def run_metadata(
    config: DistillationConfig, experiment: Experiment, vae: VaeConfig, run_dir: Path
) -> dict[str, Any]:
    """What a run and each of its checkpoints record; JSON-able and without absolute paths.

    Keys: `config` (without paths), `vae`, `identity` (see `Experiment.identity`), `walker`,
    `actuator_names`, `teacher_source`, `walker_source` and `reference_source` (relative to the run folder,
    null for the bundled ones), `teacher_step`, `reference_name`, `clip_names`, `runtime` (see
    `describe_runtime`), `versions`, and after the first update `compiled` (`CompileProgress.figures`).
    """
    sections = to_dict(config)
    teacher = sections.pop("teacher_config")
    del sections["run_dir"], sections["walker_config"]
    body = experiment.walker.config.source
    document = {
        "config": sections,
        "vae": vae.to_dict(),
        "identity": experiment.identity(),
        "walker": experiment.walker.fingerprint(),
        "actuator_names": experiment.walker.actuator_names,
        "teacher_source": relative_source(teacher["checkpoint_path"], run_dir),
        "walker_source": relative_source(None if body == RODENT_SOURCE else body, run_dir),
        "teacher_step": experiment.teacher.step,
        "reference_source": relative_source(teacher["reference_data_path"], run_dir),
        "reference_name": experiment.clips.source,
        "clip_names": experiment.clips.names,
        "runtime": describe_runtime(config.physics_config),
        "versions": versions(),
    }
    # As JSON reads it back (tuples become lists), so that a stored document compares equal.
    return json.loads(json.dumps(document))


def check_same_run(
    stored: dict[str, Any],
    current: dict[str, Any],
    run_dir: Path,
    sections: Sequence[str] = _DECISIVE_SECTIONS,
    free: Collection[str] = _FREE_TO_CHANGE,
) -> None:
    """Compares the metadata of a checkpoint with those of the run that would continue it.

    Args:
        stored: of the checkpoint.
        current: of the run.
        run_dir: its folder, for the message.
        sections: of the configuration, which decide a run's numbers.
        free: keys in them that may differ.

    Raises:
        UserError: anything that decides the numbers differs; says what.
    """
    differences = []
    for section in sections:
        old, new = stored["config"][section], current["config"][section]
        differences += _differences(old, new, section, free)
    # settings that a newer version added are at their defaults in an older run
    task = to_dict(from_dict(ImitationConfig, stored["identity"]["task"], f"{run_dir}: "))
    differences += _differences(stored["identity"] | {"task": task}, current["identity"], "", free)
    if differences:
        more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
        raise UserError(
            f"cannot resume {run_dir}: {differences[0]}{more}; give the run's own settings and data, or "
            "start a new run with another run_dir"
        )


def _differences(stored: Any, current: Any, where: str, free: Collection[str]) -> list[str]:
    if where in free or stored == current:
        return []
    if isinstance(stored, dict) and isinstance(current, dict):
        found = []
        for key in sorted(stored.keys() | current.keys()):
            name = f"{where}.{key}" if where else key
            found += _differences(stored.get(key), current.get(key), name, free)
        return found
    return [f"{where} was {stored}, now {current}"]
