"""`vnl-mjx bench`: what this machine does, and how much of what it could."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vnl_mjx.analysis.benchmark.subjects import measure
from vnl_mjx.commands.bench_subjects import DistillationSubject, Subject, TeacherSubject
from vnl_mjx.commands.bench_tables import print_report
from vnl_mjx.commands.compile_cache import CACHE_OFF, CACHE_VARIABLE
from vnl_mjx.commands.doctor import num_cores
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.train.run_folder import versions
from vnl_mjx.config.loading import to_yaml
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import resolve_backend

# Environments start in step and are contact-rich only some updates later.
WARM_UP_UPDATES = 3
REPETITIONS, QUICK_REPETITIONS = 5, 3


def run(
    config: DistillationConfig | TeacherTrainingConfig,
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
    is_teacher = isinstance(config, TeacherTrainingConfig)
    subject = TeacherSubject(config) if is_teacher else DistillationSubject(config)
    prepare_jax(config.device, config.matmul_precision)
    backend = resolve_backend(subject.physics.backend)
    if backend != "mujoco":
        raise UserError(
            f"physics_config.backend: bench measures the back end mujoco, found {backend}; give "
            "physics_config.backend=mujoco"
        )
    notes = Console(stderr=True)
    report: dict[str, Any] = {
        "measured": subject.command,
        "cores": num_cores(),
        "threads": subject.physics.num_threads or num_cores(),
        **subject.settings(),
        "versions": versions(),
        "targets": dict(subject.targets),
    }
    training = subject.build_training()  # refuses what cannot run before anything is measured
    if not quick:
        notes.print("measuring the start of a run, in a process of its own")
        report["start"] = _first_updates(subject, 1)["seconds"]
        report["memory_mb"] = {}
        for num_envs in memory_envs:
            notes.print(f"measuring the memory at {num_envs} environments")
            found = _first_updates(subject.with_envs(num_envs), 2)["peak_memory_mb"]
            report["memory_mb"][str(num_envs)] = found
    notes.print(f"measuring physics, networks and {subject.name} in turn")
    training.trainer.start_compiling()
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    state = training.initial_state()
    measured = measure(training.trainer, state, subject.prepare, WARM_UP_UPDATES, repetitions)
    report |= measured.to_dict()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print_report(Console(), report, subject)
    return 0


def _first_updates(subject: Subject, num_updates: int) -> dict[str, Any]:
    """Seconds and memory of the first updates of a fresh run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(to_yaml(subject.brief(num_updates)), encoding="utf-8")
        command = [sys.executable, "-m", "vnl_mjx.commands.first_updates", subject.command]
        command += [str(file), repr(time.time()), str(num_updates)]
        cold = os.environ | {CACHE_VARIABLE: CACHE_OFF}  # the start of the first run on a machine
        done = subprocess.run(command, env=cold, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(
            f"bench: {subject.command} with {subject.num_envs} environments did not start ({reason}); "
            "give smaller numbers to --memory-envs, or --quick"
        )
    return json.loads(done.stdout.strip().rpartition("\n")[2])
