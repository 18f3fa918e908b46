"""`vnl-mjx export`: a teacher or a student in track-mjx's layouts, or as functions for other software."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.commands.console import Console, warn
from vnl_mjx.commands.stored import (
    find_stored,
    load_stored_student,
    load_stored_task,
    load_stored_teacher,
)
from vnl_mjx.compat.function_contract import (
    BODY_FILE,
    CONTRACT_FILE,
    build_contract,
    described_goal,
    start_of,
    write_body,
)
from vnl_mjx.compat.function_files import (
    FORMATS,
    check_format,
    largest_difference,
    write_function,
)
from vnl_mjx.compat.functions import (
    Function,
    student_functions,
    task_functions,
    teacher_functions,
)
from vnl_mjx.compat.track_mjx_export import export_student, export_teacher
from vnl_mjx.compat.track_mjx_loader import find_step, load_teacher
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.files import make_writable, write_json
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.utils.vae_checkpointing import LoadedStudent, load_student

# Largest allowed difference between files, read back, and the original, on random observations.
_NUM_TRIED, _TOLERANCE = 100, 1e-5


def run(args: argparse.Namespace) -> int:
    """Prints what is lost, writes the files, reads them back and compares. Returns the exit status."""
    console = Console()
    kind, path = find_stored(args.checkpoint)
    if kind == "file":
        raise UserError(
            f"{args.checkpoint}: expected a checkpoint, found a file; clips: vnl-mjx clips export"
        )
    if args.to in FORMATS:
        return _write_functions(args, kind, path, console)
    if kind == "task":
        raise UserError(
            f"--to {args.to}: expected a teacher or a student, found a policy of a task in {path}; give "
            "the student below it, or --to onnx"
        )
    if kind == "teacher":
        teacher = load_teacher(*find_step(path))
        made, step, student = export_teacher(teacher, args.to), teacher.step, None
        policy = teacher.policy
    else:
        student = load_student(path)
        task = from_dict(ImitationConfig, student.metadata["identity"]["task"], f"{path}: ")
        policy, step = student.teacher, student.env_steps or student.metadata["teacher_step"]
        made = export_student(student.student, student.params, policy, task, args.to)
    for note in made.notes:
        warn(console, note)
    written = made.save(args.output, step)
    _check(written, "actions", _difference(written, policy, student), console)
    return 0


def _write_functions(args: argparse.Namespace, kind: str, path: Path, console: Console) -> int:
    """Writes a folder of functions, whole or not at all."""
    folder: Path = args.output
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another folder")
    functions, parts = _functions(args, kind, path)
    check_format(args.to, functions)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    make_writable(partial, "OUT")
    try:
        found = {}
        for one in functions:
            file = partial / f"{one.name}.{args.to}"
            write_function(args.to, one, file)
            found[file.name] = largest_difference(args.to, one, file, _NUM_TRIED)
        write_body(parts["task"], partial / BODY_FILE)
        write_json(partial / CONTRACT_FILE, build_contract(args.to, functions, **parts))
        for name, difference in found.items():
            _check(folder / name, "values", difference, console)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    console.print(f"{folder}: {', '.join(found)}, {BODY_FILE}, {CONTRACT_FILE}", soft_wrap=True)
    return 0


def _functions(
    args: argparse.Namespace, kind: str, path: Path
) -> tuple[list[Function], dict[str, Any]]:
    """Returns the functions to write of a checkpoint, and the arguments of `build_contract`."""
    further: dict[str, Any] = {}
    if kind == "teacher":
        stored = load_stored_teacher(path, args.clips, args.mjcf)
        teacher, task = stored.teacher, stored.env.task
        functions = teacher_functions(teacher.policy)
        source = {"kind": "teacher", "sha256": teacher.sha256, "step": teacher.step}
        latent = {"size": teacher.policy.config.latent_dim, "prior": None}
    else:
        given = load_stored_task(path, args.clips, args.mjcf) if kind == "task" else None
        if given is not None:
            goal, stored = given.task.goal, given.stored
            if goal.arena is not None:
                raise UserError(f"--to {args.to}: expected a task on the floor, found {goal.name}")
            further["goal"] = described_goal(goal, given.policy.times)
        else:
            stored = load_stored_student(str(path), None, args.clips, args.mjcf)
        loaded, task = stored.loaded, stored.task
        functions = student_functions(loaded.for_use())
        if given is not None:
            functions += task_functions(given.loaded.policy, given.data.low_level)
        source = {"kind": kind, "sha256": loaded.sha256, "env_steps": loaded.env_steps}
        latent = {"size": loaded.student.config.latent_dim, "prior": "gaussian, learned"}
    start = start_of(task, stored.clips)
    return functions, further | {"task": task, "source": source, "latent": latent, "start": start}


def _check(written: Path, what: str, difference: float, console: Console) -> None:
    """Prints how well the files agree with the original, or raises UserError."""
    if not difference <= _TOLERANCE:
        raise UserError(
            f"{written}: read back, its {what} are off by {difference:.2g}; this is a fault of vnl-mjx"
        )
    console.print(f"{written}: read back, {what} equal to {difference:.1g}", soft_wrap=True)


def _difference(written: Path, policy: FrozenPolicy, student: LoadedStudent | None) -> float:
    """Returns the largest difference of actions, for random observations and latents."""
    back, config = load_teacher(written).policy, policy.config
    observation_key, latent_key = jax.random.split(jax.random.key(0))
    size = (_NUM_TRIED, config.observation_size)
    obs = policy.obs_mean + policy.obs_std * jax.random.normal(observation_key, size)
    memory = policy.initial_memory((_NUM_TRIED,))
    if student is None:
        expected, found = (p.act(obs, memory).action for p in (policy, back))
    else:
        own, params = student.student, student.params
        latent = jax.random.normal(latent_key, (_NUM_TRIED, own.config.latent_dim))
        body = policy.normalize(obs[:, config.reference_size :], "proprioception")
        expected = own.decode(params, body, latent)
        found = back.act(obs, latent=latent).action
    return float(np.max(np.abs(np.asarray(expected) - np.asarray(found))))
