"""Manages the folder of a run: its metadata, and whether the run may be resumed."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from vnl_mjx.checkpoints.run import FORMAT_VERSION
from vnl_mjx.commands.runtime import describe_runtime
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.experiment import Experiment
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.training import TrainingConfig, kind_of
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import without_folders
from vnl_mjx.files import make_writable, without_user
from vnl_mjx.parsing import parse_json
from vnl_mjx.versions import installed_versions
from vnl_mjx.walkers.body_files import kept_path

METRICS_FILE = "metrics.jsonl"
_PACKAGES = ("vnl-mjx", "mujoco", "mujoco-mjx", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
# Sections that decide a run's results (the task is part of the identity), and settings in them that do not.
# A run can be resumed on another machine; results are then close, not bit-identical.
_DECISIVE = (
    *("vae_config", "training_config", "network", "ppo", "sampling", "reference_config"),
    *("mode", "residual", "episode_s", "cloning", "guided_start"),
)
_FREE_TO_CHANGE = ("training_config.num_steps", "ppo.num_steps")
# Recorded as paths relative to the run folder, or as part of the identity.
_NOT_RECORDED = (
    *("run_dir", "init_from", "guide_from", "task", "teacher_config", "walker_config"),
    *("low_level", "clips", "goal"),
)


def make_run_dir(run_dir: Path) -> None:
    """Creates the folder and tries to write in it; with several processes, the first one does."""
    processes.first_does(lambda: make_writable(run_dir, "run_dir"))
    if not run_dir.is_dir():
        raise UserError(
            f"run_dir: process {jax.process_index()} does not find {run_dir}, which the first one made; "
            "give a folder on a file system that all the machines share"
        )


@contextlib.contextmanager
def only_writer(run_dir: Path) -> Iterator[None]:
    """Holds the folder for one training; the lock ends with the process, however that ends.

    Raises:
        UserError: another training holds it.
    """
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"run_dir: another training is writing to {run_dir}; give another folder, or wait until it "
                "ends"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the complete rows of a run's metrics; none without a file."""
    rows = []
    try:
        for line in (run_dir / METRICS_FILE).read_text(encoding="utf-8").splitlines():
            row = parse_json(line)
            if isinstance(row, dict) and isinstance(row.get("env_steps"), int | float):
                rows.append(row)
    except (OSError, ValueError):
        pass
    return rows


def relative_source(path: str | Path | None, run_dir: Path) -> str | None:
    """Returns a path relative to the run folder, as a checkpoint may record it; None for a bundled file.

    `$USER` stands for the user's name, see `files.without_user`.
    """
    if path is None:
        return None
    return without_user(os.path.relpath(Path(path).expanduser().resolve(), run_dir.resolve()))


def run_metadata(
    config: TrainingConfig,
    experiment: Experiment,
    run_dir: Path,
    identity: Mapping[str, Any],
    **own: Any,
) -> dict[str, Any]:
    """Returns what a run and each of its checkpoints record; JSON-able and without absolute paths.

    Keys: `config` (without paths and task), `identity`, `walker`, `actuator_names`, `walker_source` (the
    run's own copy of the body, null for the bundled one), `reference_name`, `clip_names`, `runtime` (see
    `describe_runtime`), `versions`, and after the first update `compiled` (`CompileProgress.figures`).
    """
    sections = {k: v for k, v in to_dict(config).items() if k not in _NOT_RECORDED}
    sections["reference_config"].pop("paths", None)
    body = kept_path(experiment.walker.config.source, run_dir)
    document = {
        "config": sections,
        "identity": {**identity, **experiment.identity()},
        "walker": experiment.walker.fingerprint(),
        "actuator_names": experiment.walker.actuator_names,
        "walker_source": relative_source(body, run_dir),
        "reference_name": experiment.clips.source,
        "clip_names": experiment.clips.names,
        "runtime": describe_runtime(config.physics_config, config.num_devices),
        "versions": installed_versions(_PACKAGES),
        **own,
    }
    # As JSON reads it back (tuples become lists), so that a stored document compares equal.
    return without_folders(json.loads(json.dumps(document)))


def check_same_run(
    stored: dict[str, Any], current: dict[str, Any], run_dir: Path, instead: str = ""
) -> None:
    """Compares the metadata of a checkpoint with those of the run that would continue it.

    Raises:
        UserError: an older version wrote it, or something that decides the results differs; names it.
    """
    found = stored["format_version"]
    if found < FORMAT_VERSION:
        raise UserError(
            f"cannot resume {run_dir}: expected checkpoints of format {FORMAT_VERSION}, found format "
            f"{found} of an older vnl-mjx, whose training state is laid out differently; {instead}"
        )
    old, new = (_with_defaults(without_folders(one), run_dir) for one in (stored, current))
    differences = []
    for section in _DECISIVE:
        before, now = (document["config"].get(section) for document in (old, new))
        differences += _differences(before, now, section)
    differences += _differences(old["identity"], new["identity"], "")
    if differences:
        more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
        raise UserError(
            f"cannot resume {run_dir}: {differences[0]}{more}; give the run's own settings and data, or "
            "start a new run with another run_dir"
        )


def _with_defaults(document: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Adds settings of newer versions, with the values that older runs used."""
    config = document["config"]
    kind = kind_of(config)
    if kind is DistillationConfig:  # before this setting existed, the prior never acted
        config = config | {"training_config": {"prior_fraction": 0.0} | config["training_config"]}
    task = from_dict(ImitationConfig, document["identity"]["task"], f"{run_dir}: ")
    return {
        "config": to_dict(from_dict(kind, config, f"{run_dir}: ")),
        "identity": document["identity"] | {"task": to_dict(task)},
    }


def _differences(stored: Any, current: Any, where: str) -> list[str]:
    if where in _FREE_TO_CHANGE or stored == current:
        return []
    if isinstance(stored, dict) and isinstance(current, dict):
        found = []
        for key in sorted(stored.keys() | current.keys()):
            name = f"{where}.{key}" if where else key
            found += _differences(stored.get(key), current.get(key), name)
        return found
    return [f"{where} was {stored}, now {current}"]
