"""A stored student as tables: what it is, what it reads and gives, where it comes from."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from vnl_mjx.utils.vae_checkpointing import LoadedStudent
from vnl_mjx.walkers.groups import actuator_groups

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


def student_tables(loaded: LoadedStudent, last: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Title to rows; `last` as `last_metrics` gives it. What was not recorded is left out."""
    metadata = loaded.metadata
    sections = {
        "Student": _student_rows(loaded),
        "Observation and action": _contract_rows(loaded),
        "Teacher": _teacher_rows(loaded),
        "Walker": _walker_rows(metadata.get("walker", {})),
        "Clips": _clip_rows(metadata),
        "Versions": {name: str(v) for name, v in metadata.get("versions", {}).items()},
        "Metrics at the checkpoint": {
            name: f"{last[name]:.6g}"
            for name in _SHOWN_METRICS
            if isinstance(last.get(name), int | float)
        },
    }
    return {title: rows for title, rows in sections.items() if rows}


def _student_rows(loaded: LoadedStudent) -> dict[str, str]:
    vae = loaded.student.config
    folder = loaded.path.resolve().parent
    kept = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    training = loaded.metadata.get("config", {}).get("training_config", {})
    names = ("num_envs", "unroll_length", "batch_size", "learning_rate", "kl_weight", "seed")
    return {
        "environment steps": f"{loaded.env_steps:,}",
        "checkpoints here": ", ".join(f"{step:,}" for step in kept),
        "latent": str(vae.latent_dim),
        "encoder": _sizes(vae.encoder_hidden_sizes),
        "prior": _sizes(vae.prior_hidden_sizes),
        "decoder": _sizes(vae.decoder_hidden_sizes),
        "activation": vae.activation + (", layer norm" if vae.layer_norm else ""),
        "parameters": f"{_count(loaded.params):,}",
        "training": ", ".join(f"{name} {training[name]}" for name in names if name in training),
    }


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
    network, metadata = loaded.teacher.config, loaded.metadata
    identity = metadata.get("identity", {})
    decoder = _sizes(network.decoder_hidden_sizes)
    if network.is_recurrent:
        decoder = f"LSTM {network.lstm_num_layers} x {network.lstm_hidden_size}"
    return {
        "source": metadata.get("teacher_source") or "the bundled demonstration teacher",
        "generation": str(identity.get("task", {}).get("generation", "unknown")),
        "step": str(metadata.get("teacher_step", "unknown")),
        "latent": str(network.latent_dim),
        "encoder": _sizes(network.encoder_hidden_sizes),
        "decoder": decoder,
        "activation": network.activation,
        "parameters": f"{_count(loaded.teacher.params):,}",
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
    split = metadata.get("identity", {}).get("split", {})

    def listed(which: str, most: int = 8) -> Iterator[str]:
        rows = split.get(which, ())
        yield from (names[row] for row in rows[:most])
        if len(rows) > most:
            yield f"{len(rows) - most} more"

    return {
        "file": f"{metadata.get('reference_name', 'unknown')}, {len(names)} clips",
        "trained on": ", ".join(listed("train")),
        "held out": ", ".join(listed("held_out")) or "none",
        "split seed": str(split.get("seed", "unknown")),
        "sha256": str(metadata.get("identity", {}).get("clips_sha256", "unknown")),
    }


def last_metrics(loaded: LoadedStudent) -> dict[str, Any]:
    """The run's last row of training metrics up to the checkpoint, {} where there is none."""
    path = loaded.path.resolve().parent.parent / "metrics.jsonl"
    last: dict[str, Any] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["env_steps"] <= loaded.env_steps and "loss/total" in row:
                last = row
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a run folder that was moved, or a line that is being written
    return last


def _sizes(sizes: tuple[int, ...]) -> str:
    return " ".join(map(str, sizes))


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
