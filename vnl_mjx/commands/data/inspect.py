"""`vnl-mjx inspect`: describes a checkpoint, a run folder or a reference file."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.commands.console import Console, print_table, warn
from vnl_mjx.commands.data.inspect_clips import describe_file
from vnl_mjx.commands.stored import find_stored
from vnl_mjx.commands.train.run_folder import read_metrics
from vnl_mjx.compat.track_mjx_loader import listed, load_teacher, num_parameters, policy_rows
from vnl_mjx.utils.task_checkpointing import load_task
from vnl_mjx.utils.vae_checkpointing import LoadedStudent, load_student
from vnl_mjx.walkers.walker import actuator_groups

_SHOWN_METRICS = (
    "loss/total",
    "loss/action_mse",
    "loss/kl",
    "latent/active_units",
    "episode/reward",
    "episode/steps",
    "episode/survival",
    "nan/count",
    "time/env_steps_per_second",
)


@dataclass(frozen=True)
class Description:
    """Describes a "student", "teacher", "task" or "clips": table rows by title, and what JSON adds."""

    kind: str
    tables: dict[str, dict[str, str]]
    warnings: tuple[str, ...]
    details: dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Describes a checkpoint or a reference file and returns the exit status."""
    description = describe(args.path.expanduser())
    if args.json:
        print(json.dumps({"path": str(args.path), **asdict(description)}, indent=2))
        return 0
    console = Console()
    for title, rows in description.tables.items():
        print_table(console, title, rows)
    for warning in description.warnings:
        warn(console, warning)
    return 0


def describe(path: Path) -> Description:
    """Recognises and reads what is at `path`."""
    kind, found = find_stored(path)
    if kind == "student":
        return _describe_student(found)
    if kind == "task":
        return _describe_task(found)
    if kind == "file":
        tables, details = describe_file(found)
        return Description("clips", tables, (), details)
    teacher = load_teacher(found)
    title = f"track-mjx teacher {found.resolve().name}"
    details = {"network": asdict(teacher.policy.config), "task": asdict(teacher.task)}
    details = {"sha256": teacher.sha256, **details}
    return Description("teacher", {title: teacher.summary}, teacher.warnings, details)


def _describe_task(path: Path) -> Description:
    loaded = load_task(path)
    metadata, policy = loaded.metadata, loaded.policy.config
    config, identity = metadata["config"], metadata["identity"]
    residual = f", {config['residual']}" if config["mode"] == "prior_decoder" else ""
    rows = {
        "goal": identity["goal"],
        "environment steps": f"{metadata['env_steps']:,}",
        "action": f"{policy.action_size}, {config['mode']}{residual}, each for "
        f"{config['ppo']['action_repeat']} control steps",
        "observation": f"goal {policy.reference_size} + body {policy.proprioception_size}",
        "networks": f"goal {listed(policy.encoder_hidden_sizes)}, to {policy.latent_dim}; "
        f"policy {listed(policy.decoder_hidden_sizes)}",
        "parameters": f"{num_parameters(loaded.policy.params):,}",
        "low level": metadata["low_level_source"] or "the bundled student",
    }
    tables = {
        "Policy of a task": rows,
        "Walker": _walker_rows(metadata.get("walker", {})),
        "Versions": {name: str(v) for name, v in metadata.get("versions", {}).items()},
    }
    details = {k: v for k, v in metadata.items() if k != "walker"}
    return Description("task", tables, (), details)


def _describe_student(path: Path) -> Description:
    loaded = load_student(path)
    last = _last_metrics(loaded)
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loaded.params))
    warnings = () if finite else ("the student's parameters are not all finite",)
    # The walker's arrays are too long to print.
    details = {k: v for k, v in loaded.metadata.items() if k != "walker"} | {"last_metrics": last}
    metadata = loaded.metadata
    tables = {
        "Student": _student_rows(loaded),
        "Observation and action": _contract_rows(loaded),
        "Teacher": _teacher_rows(loaded),
        "Walker": _walker_rows(metadata.get("walker", {})),
        "Clips": _clip_rows(metadata),
        "Versions": {name: str(v) for name, v in metadata.get("versions", {}).items()},
        "Training metrics at the checkpoint": {
            name: f"{last[name]:.6g}"
            for name in _SHOWN_METRICS
            if isinstance(last.get(name), int | float)
        },
    }
    tables = {title: rows for title, rows in tables.items() if rows}
    return Description("student", tables, warnings, details)


def _student_rows(loaded: LoadedStudent) -> dict[str, str]:
    vae = loaded.student.config
    folder = loaded.path.resolve().parent
    kept = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    training = loaded.metadata.get("config", {}).get("training_config", {})
    names = ("num_envs", "unroll_length", "batch_size", "learning_rate", "kl_weight", "seed")
    parts = ("encoder", "prior", "decoder")
    sizes = {name: listed(getattr(vae, f"{name}_hidden_sizes")) for name in parts}
    rows = {"written by": "track-mjx"}
    if not loaded.is_own_teacher:
        rows = {
            "environment steps": f"{loaded.env_steps:,}",
            "checkpoints here": ", ".join(f"{step:,}" for step in kept),
            "networks": "" if vae.network == "mlp" else vae.network,
        }
        if vae.network == "teacher":
            sizes |= dict.fromkeys(("encoder", "decoder"), "the teacher's, frozen")
    rows |= {
        "latent": str(vae.latent_dim) + ("" if vae.latent == "gaussian" else f", {vae.latent}"),
        "encoder": sizes["encoder"] + ", residual" * (vae.posterior == "residual"),
        "prior": sizes["prior"],
        "decoder": sizes["decoder"],
        "activation": vae.activation + (", layer norm" if vae.layer_norm else ""),
        "parameters": f"{num_parameters(loaded.params):,}",
        "training": ", ".join(f"{n} {_number(training[n])}" for n in names if n in training),
    }
    return {label: row for label, row in rows.items() if row}


def _contract_rows(loaded: LoadedStudent) -> dict[str, str]:
    vae, metadata = loaded.student.config, loaded.metadata
    size = vae.reference_size
    rows = {}
    for name, (start, stop) in metadata.get("identity", {}).get("observation", {}).items():
        part = "reference" if stop <= size else "proprioception"
        rows[name] = f"[{start}:{stop}] {part}"
    names = metadata.get("actuator_names", ())
    walker = metadata.get("identity", {}).get("task", {}).get("walker", {})
    named = actuator_groups(names, walker.get("actuator_groups", ()))
    groups = (f"{name} {len(ids)}" for name, ids in named.items())
    return {
        "observation": f"{size + vae.proprioception_size} = reference {size} + proprioception "
        f"{vae.proprioception_size}, normalised by the teacher's statistics",
        **rows,
        "action": f"{vae.action_size} in [-1, 1]: {', '.join(groups)}",
    }


def _teacher_rows(loaded: LoadedStudent) -> dict[str, str]:
    metadata = loaded.metadata
    identity = metadata.get("identity", {})
    return {
        "source": metadata.get("teacher_source") or "the bundled demonstration teacher",
        "generation": str(identity.get("task", {}).get("generation", "unknown")),
        "step": str(metadata.get("teacher_step", "unknown")),
        **policy_rows(loaded.teacher.config),
        "parameters": f"{num_parameters(loaded.teacher.params):,}",
        "sha256": str(identity.get("teacher_sha256", "unknown")),
    }


def _walker_rows(walker: Mapping[str, Any]) -> dict[str, str]:
    if not walker:
        return {}
    return {
        "scale": f"{walker['scale']:g}",
        "actuators": f"{walker['sizes']['nu']} "
        + ("torque" if walker["torque_actuators"] else "position"),
        "joints, bodies": f"{len(walker['joint_names'])}, {walker['sizes']['nbody']}",
        "end effectors": ", ".join(walker["end_effectors"]),
        "mass": f"{1000 * sum(walker['body_mass_kg']):.1f} g",
        "sha256": walker["sha256"],
    }


def _clip_rows(metadata: Mapping[str, Any]) -> dict[str, str]:
    names = metadata.get("clip_names", ())
    if not names:
        return {}
    split = metadata.get("identity", {}).get("split", {})

    def first_of(which: str, most: int = 8) -> str:
        rows = split.get(which, ())
        more = [f"{len(rows) - most} more"] if len(rows) > most else []
        return ", ".join([*(names[row] for row in rows[:most]), *more])

    return {
        "file": f"{metadata.get('reference_name', 'unknown')}, {len(names)} clips",
        "trained on": first_of("train"),
        "held out": first_of("held_out") or "none",
        "split seed": str(split.get("seed", "unknown")),
        "sha256": str(metadata.get("identity", {}).get("clips_sha256", "unknown")),
    }


def _last_metrics(loaded: LoadedStudent) -> dict[str, Any]:
    """Returns the run's last row of training metrics up to the checkpoint; {} if there is none."""
    rows = read_metrics(loaded.path.resolve().parent.parent)
    found = [r for r in rows if r["env_steps"] <= loaded.env_steps and "loss/total" in r]
    return found[-1] if found else {}


def _number(value: Any) -> Any:
    """Returns the final value of a number that may change with training."""
    return value["value"] if isinstance(value, dict) else value
