"""What the run folder of a teacher records, and whether a run may be continued."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vnl_mjx.commands.runtime import describe_runtime
from vnl_mjx.commands.train.experiment import relative_source, versions
from vnl_mjx.commands.train.run_folder import check_same_run
from vnl_mjx.commands.train.teacher_experiment import TeacherExperiment
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import RODENT_SOURCE
from vnl_mjx.config.teacher import TeacherTrainingConfig

# Sections that decide a run's numbers (the task is part of the identity), and what in them does not.
_DECISIVE_SECTIONS = ("network", "ppo", "sampling", "reference_config")
_FREE_TO_CHANGE = ("ppo.num_steps",)


def teacher_metadata(experiment: TeacherExperiment, run_dir: Path) -> dict[str, Any]:
    """What a run and each of its checkpoints record; JSON-able and without absolute paths.

    Keys: `config` (without paths and task), `policy` and `value` (sizes), `identity` (see
    `TeacherExperiment.identity`), `walker`, `actuator_names`, `walker_source`, `init_source` and
    `reference_sources` (relative to the run folder), `reference_name`, `clip_names`, `runtime` (see
    `describe_runtime`), `versions`, and after the first update `compiled` (`CompileProgress.figures`).
    """
    config = experiment.config
    sections = to_dict(config)
    for name in ("run_dir", "init_from", "task"):
        del sections[name]
    paths = sections["reference_config"].pop("paths")
    body = config.task.walker.source
    document = {
        "config": sections,
        "policy": asdict(experiment.model.policy_config),
        "value": asdict(experiment.model.value_config),
        "identity": experiment.identity(),
        "walker": experiment.walker.fingerprint(),
        "actuator_names": experiment.walker.actuator_names,
        "walker_source": relative_source(None if body == RODENT_SOURCE else body, run_dir),
        "init_source": relative_source(config.init_from, run_dir),
        "reference_sources": [relative_source(path, run_dir) for path in paths],
        "reference_name": experiment.clips.source,
        "clip_names": experiment.clips.names,
        "runtime": describe_runtime(config.physics_config),
        "versions": versions(),
    }
    # As JSON reads it back (tuples become lists), so that a stored document compares equal.
    return json.loads(json.dumps(document))


def check_same_teacher_run(stored: dict[str, Any], current: dict[str, Any], run_dir: Path) -> None:
    """Compares the metadata of a checkpoint with those of the run that would continue it.

    Raises:
        UserError: anything that decides the numbers differs; says what.
    """
    # settings that a newer version added are at their defaults in an older run
    old, new = (
        to_dict(from_dict(TeacherTrainingConfig, document["config"], f"{run_dir}: "))
        for document in (stored, current)
    )
    free = set(_FREE_TO_CHANGE)
    if new["ppo"]["learning_rate"]["schedule"] == "linear":
        free.remove("ppo.num_steps")  # the rate's course depends on the end
    check_same_run(
        stored | {"config": old}, current | {"config": new}, run_dir, _DECISIVE_SECTIONS, free
    )
