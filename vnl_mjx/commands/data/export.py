"""`vnl-mjx export`: a teacher or a student in the layouts that track-mjx reads."""

import argparse
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from vnl_mjx.commands.console import warn
from vnl_mjx.commands.stored import find_stored
from vnl_mjx.compat.track_mjx_export import export_student, export_teacher
from vnl_mjx.compat.track_mjx_loader import find_step, load_teacher
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.utils.vae_checkpointing import LoadedStudent, load_student

# Actions of what was written, read back, on random observations.
_NUM_TRIED, _TOLERANCE = 100, 1e-5


def run(args: argparse.Namespace) -> int:
    """Says what is lost, writes, reads it back and compares. Returns the exit status."""
    console = Console()
    kind, path = find_stored(args.checkpoint)
    if kind == "file":
        raise UserError(
            f"{args.checkpoint}: expected a checkpoint, found a file; clips: vnl-mjx clips export"
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
    difference = _difference(written, policy, student)
    if difference > _TOLERANCE:
        raise UserError(
            f"{written}: read back, its actions are off by {difference:.2g}; this is a fault of vnl-mjx"
        )
    console.print(f"{written}: read back, actions equal to {difference:.1g}", soft_wrap=True)
    return 0


def _difference(written: Path, policy: FrozenPolicy, student: LoadedStudent | None) -> float:
    """The largest difference of actions, for random observations and latents."""
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
