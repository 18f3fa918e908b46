"""`vnl-mjx bench`: what this machine does, and how much of what it could."""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vnl_mjx.analysis.benchmarks import measure
from vnl_mjx.commands.doctor import num_cores
from vnl_mjx.commands.experiment import build_experiment, versions
from vnl_mjx.commands.tables import warn
from vnl_mjx.config.loading import to_yaml
from vnl_mjx.config.schema import CheckpointSection, DistillationConfig, WandbSection
from vnl_mjx.errors import UserError
from vnl_mjx.training.vae_distillation import VaeDistillation

# Environments start in step and are contact-rich only some updates later.
WARM_UP_UPDATES = 3
REPETITIONS, QUICK_REPETITIONS = 5, 3
# Repetitions of the same work that differ more than this tell of other work on the machine.
_DISTURBED = 1.15

_TARGETS = {"ratio": 0.9, "start_s": 30.0, "memory_mb_at_1024": 2000.0}
_RATE_ROWS = {
    "physics": "bare mujoco.batch",
    "floor": "floor: physics, then networks",
    "end to end": "distillation end to end",
}
_SECONDS_ROWS = {
    "physics": "bare mujoco.batch",
    "rollout networks": "teacher and student, forward",
    "update networks": "minibatches",
    "end to end": "distillation end to end",
    "rollout": "  of which rollout",
    "physics calls": "    of which physics calls",
    "reset forward": "    of which forward passes of resets",
    "update": "  of which update",
}


def run(
    config: DistillationConfig,
    as_json: bool = False,
    quick: bool = False,
    memory_envs: Sequence[int] = (),
) -> int:
    """Measures this machine and returns the exit status.

    Args:
        config: the run to measure.
        as_json: print JSON instead of tables.
        quick: fewer repetitions, and neither start nor memory.
        memory_envs: numbers of environments to measure the memory at.
    """
    if config.physics_config.backend != "mujoco":
        raise UserError(
            "physics_config.backend: bench measures the back end mujoco, found "
            f"{config.physics_config.backend}"
        )
    notes = Console(stderr=True)
    report: dict[str, Any] = {
        "cores": num_cores(),
        "threads": config.physics_config.num_threads or num_cores(),
        "num_envs": config.training_config.num_envs,
        "unroll_length": config.training_config.unroll_length,
        "batch_size": config.training_config.batch_size,
        "num_epochs": config.training_config.num_epochs,
        "versions": versions(),
        "targets": _TARGETS,
    }
    trainer = _trainer(config)  # refuses what cannot run before anything is measured
    if not quick:
        notes.print("measuring the start of a run, in a process of its own")
        report["start"] = _first_updates(config, 1)["seconds"]
        report["memory_mb"] = {}
        for num_envs in memory_envs:
            notes.print(f"measuring the memory at {num_envs} environments")
            found = _first_updates(_with_envs(config, num_envs), 2)["peak_memory_mb"]
            report["memory_mb"][str(num_envs)] = found
    notes.print("measuring physics, networks and distillation in turn")
    trainer.start_compiling()
    measured = measure(
        trainer,
        config.training_config.seed,
        WARM_UP_UPDATES,
        QUICK_REPETITIONS if quick else REPETITIONS,
    )
    report |= measured.to_dict()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_tables(Console(), report)
    return 0


def _trainer(config: DistillationConfig) -> VaeDistillation:
    experiment = build_experiment(config)
    student = experiment.student(config.vae_config)
    clips = experiment.clips_of("train")
    teacher, training = experiment.teacher.policy, config.training_config
    return VaeDistillation(experiment.task, student, teacher, clips, training)


def _with_envs(config: DistillationConfig, num_envs: int) -> DistillationConfig:
    """The same with another width; the batch shrinks where it would not divide the rollout."""
    training = config.training_config
    rollout = num_envs * training.unroll_length
    batch_size = math.gcd(rollout, training.batch_size)
    return replace(
        config, training_config=replace(training, num_envs=num_envs, batch_size=batch_size)
    )


def _first_updates(config: DistillationConfig, num_updates: int) -> dict[str, Any]:
    """Seconds and memory of the first updates of a fresh `vnl-mjx distill`."""
    training = config.training_config
    steps = (num_updates + 1) * training.steps_per_update
    config = replace(
        config,
        run_dir=None,
        training_config=replace(training, num_steps=steps),
        eval_config=replace(config.eval_config, interval_steps=0),
        checkpoint_config=CheckpointSection(interval_steps=0),
        wandb_config=WandbSection(),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(config), encoding="utf-8")
        command = [sys.executable, "-m", "vnl_mjx.commands.first_updates", str(file)]
        command += [repr(time.time()), str(num_updates)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(
            f"bench: a distillation with {training.num_envs} environments did not start ({reason}); "
            "give smaller numbers to --memory-envs, or --quick"
        )
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def _print_tables(console: Console, report: Mapping[str, Any]) -> None:
    packages = (f"{name} {report['versions'][name]}" for name in ("mujoco", "jax"))
    console.print(
        f"{report['num_envs']} environments, {report['cores']} cores, {report['threads']} threads, "
        f"{', '.join(packages)}",
        highlight=False,
    )
    rates = _table("Control steps per second", "median", "min", "max")
    for name, label in _RATE_ROWS.items():
        rates.add_row(label, *_cells(report["steps_per_second"][name], ",.0f"))
    rates.add_row("end to end / floor (target 0.9)", *_cells(report["ratio"], ".3f"))
    rates.add_row("  of the fastest repetitions", f"{report['ratio_of_fastest']:.3f}", "", "")
    console.print(rates)
    seconds = _table(f"Seconds per update of {report['env_steps']} steps", "median", "min", "max")
    for name, label in _SECONDS_ROWS.items():
        seconds.add_row(label, *_cells(report["seconds"][name], ".3f"))
    console.print(seconds)
    share = report["seconds"]["reset forward"]["median"] / report["seconds"]["end to end"]["median"]
    resets = report["resets"]
    console.print(
        f"{resets} resets per update, one in {report['env_steps'] / max(resets, 1):.1f} control steps; "
        f"their forward passes are {100 * share:.1f} % of the time",
        highlight=False,
    )
    spreads = [report["seconds"][name] for name in ("physics", "end to end")]
    if any(values["max"] > _DISTURBED * values["min"] for values in spreads):
        warn(console, "the repetitions differ: something else was running; measure again")
    if "start" in report:
        start = _table("Seconds from the start of the process (target 30)", "")
        for name, value in report["start"].items():
            start.add_row(name, f"{value:.1f}")
        console.print(start)
        memory = _table(
            "Peak memory of a run, MB (target 2000 at 1024)", "", "per environment more"
        )
        previous = None
        for num_envs, value in report["memory_mb"].items():
            more = ""
            if previous is not None and int(num_envs) != previous[0]:
                more = f"{(value - previous[1]) / (int(num_envs) - previous[0]):.2f}"
            memory.add_row(f"{num_envs} environments", f"{value:.0f}", more)
            previous = (int(num_envs), value)
        console.print(memory)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _cells(values: Mapping[str, float], spec: str) -> list[str]:
    return [format(values[name], spec) for name in ("median", "min", "max")]
