"""Reads a teacher from a track-mjx checkpoint, without track-mjx.

The layout is that of an Orbax CheckpointManager (track-mjx: `agent/checkpointing.py`):
`<folder>/PPONetwork_<step>/{config, policy, train_state}`; for a student, `DistillNetwork_<step>` or
`PriorNetwork_<step>`. Only `config` and `policy` are read.
"""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.checkpoints.arrays import DamagedCheckpoint, read_arrays, read_newest, tree_sha256
from vnl_mjx.compat.track_mjx_config import Translation, translate
from vnl_mjx.compat.track_mjx_network import KINDS, TEACHER
from vnl_mjx.compat.track_mjx_policy import check_policy, read_policy
from vnl_mjx.config.imitation import RODENT_SOURCE, ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig

STEP_PREFIX = TEACHER
_EXPECTED = f"a folder holding {STEP_PREFIX}_<step>, or one {STEP_PREFIX}_<step> folder"
_STEP = re.compile(rf"({'|'.join(KINDS)})_(\d+)")


@dataclass(frozen=True)
class LoadedTeacher:
    """A teacher read from disk.

    Attributes:
        policy: its network, parameters and observation statistics.
        task: the imitation task that it was trained on.
        step: step of the checkpoint; track-mjx counts evaluations, not environment steps.
        raw_config: the configuration as stored.
        warnings: assumptions, and differences from upstream, one line each.
        summary: table rows for a person, label to value.
        sha256: hash of parameters and observation statistics.
        kind: kind in `track_mjx_network.KINDS`; for a student, `policy` is its encoder and decoder.
        prior: stored layers of a student's prior; None without one.
        statistics: count [], mean, std and, if stored, summed_variance [observation].
    """

    policy: FrozenPolicy
    task: ImitationConfig
    step: int
    raw_config: dict[str, Any]
    warnings: tuple[str, ...]
    summary: dict[str, str]
    sha256: str
    kind: str
    prior: dict[str, Any] | None
    statistics: dict[str, Any]


def load_teacher(
    path: str | Path, step: int | None = None, activation: str | None = None
) -> LoadedTeacher:
    """Reads a teacher or student from a folder that holds `PPONetwork_<step>` folders, or from one of those.

    Step None is the highest. `activation` of the hidden layers overrides the one assumed from the
    checkpoint's age.

    Raises:
        UserError: there is no such checkpoint, it is damaged, or its layout is not known.
    """
    folder, step = find_step(Path(path).expanduser(), step)
    raw = _read_config(folder / "config" / "metadata")
    kind = folder.name.partition("_")[0]
    translation = translate(
        raw,
        f"{folder.name}/config",
        kind=kind,
        activation=activation,
        written_on=_written_on(folder / "_CHECKPOINT_METADATA"),
    )
    normalize = translation.normalize_observations
    stored = read_policy(folder / "policy", translation.network, normalize, raw)
    statistics, params = stored.statistics, stored.params
    policy = FrozenPolicy(
        params=jax.tree.map(jnp.asarray, params),
        obs_mean=jnp.asarray(statistics["mean"]),
        obs_std=jnp.asarray(statistics["std"]),
        config=stored.network,
    )
    notes = list(translation.warnings)
    if translation.normalize_observations and statistics["count"] == 0:
        notes.append(
            "the observation statistics hold no observation: the teacher was never trained"
        )
    return LoadedTeacher(
        policy=policy,
        task=_with_kept_body(translation.task, folder.parent),
        step=step,
        raw_config=raw,
        warnings=tuple(notes),
        summary=_summary(policy, translation, step, statistics["count"]),
        sha256=tree_sha256(
            {"params": params, "mean": statistics["mean"], "std": statistics["std"]}
        ),
        kind=kind,
        prior=stored.prior,
        statistics=statistics,
    )


def _with_kept_body(task: ImitationConfig, folder: Path) -> ImitationConfig:
    """Returns the task with the copy of its body that `train-teacher` put near the checkpoints, if any."""
    source = folder / task.walker.source
    if task.walker.source == RODENT_SOURCE or not source.is_file():
        return task
    return replace(task, walker=replace(task.walker, source=str(source.resolve())))


def stored_kind(path: Path) -> str | None:
    """Returns the first kind (`track_mjx_network.KINDS`) of checkpoint at `path`; None if there is none."""
    names = [path.resolve().name]
    if path.is_dir():
        names += [child.name for child in path.iterdir() if child.is_dir()]
    found = {match[1] for match in map(_STEP.fullmatch, names) if match}
    return next((kind for kind in KINDS if kind in found), None)


def find_step(path: Path, step: int | None = None) -> tuple[Path, int]:
    """Returns folder and number of one checkpoint.

    If `step` is None, the highest that is not damaged, with a warning of those that are.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise UserError(f"teacher checkpoint {path} {found}; expected {_EXPECTED}")
    own_step = _step_number(path.resolve())
    if own_step is not None:
        if step not in (None, own_step):
            raise UserError(
                f"teacher checkpoint {path} is step {own_step}, but step {step} is asked"
            )
        return path.resolve(), own_step
    try:
        children = [child for child in path.iterdir() if child.is_dir()]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    kind = stored_kind(path)
    children = [child for child in children if child.name.startswith(f"{kind}_")]
    numbered = ((_step_number(child), child.resolve()) for child in children)
    steps = {number: child for number, child in numbered if number is not None}
    if not steps:
        raise UserError(
            f"{path} is no track-mjx checkpoint: expected {_EXPECTED}; {_describe(path)}"
        )
    if step is not None and step not in steps:
        there = ", ".join(map(str, sorted(steps)))
        raise UserError(f"teacher checkpoint {path} has no step {step}; steps there: {there}")
    if step is None and len(steps) > 1:
        newest_first = [steps[number] for number in sorted(steps, reverse=True)]
        folder = read_newest(newest_first, _checked)
        step = next(number for number in steps if steps[number] == folder)
    chosen = max(steps) if step is None else step
    return steps[chosen], chosen


def _checked(folder: Path) -> Path:
    """Returns the folder of a checkpoint; raises DamagedCheckpoint if its policy cannot be read."""
    raw = _read_config(folder / "config" / "metadata")
    check_policy(read_arrays(folder / "policy"), raw, folder / "policy")
    return folder


def _step_number(folder: Path) -> int | None:
    # A full match skips Orbax's temporary folders of interrupted writes.
    match = _STEP.fullmatch(folder.name)
    return int(match[2]) if match else None


def _describe(path: Path) -> str:
    """Describes a folder that is not a checkpoint, and where a checkpoint may be."""
    nested = sorted(child for child in path.glob("*/*_*") if _STEP.fullmatch(child.name))
    if nested:
        return f"did you mean {nested[0].parent}?"
    names = sorted(child.name for child in path.iterdir())
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"found {shown}" if names else "the folder is empty"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedCheckpoint(
            f"cannot read {path}: {error.strerror}; a track-mjx checkpoint holds config and policy"
        ) from error
    except ValueError as error:
        raise DamagedCheckpoint(
            f"{path} is not JSON ({error}); the checkpoint is damaged"
        ) from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold a JSON object, found {type(raw).__name__}")
    return raw


def _written_on(path: Path) -> date | None:
    """Returns the day of writing, if recorded. Nothing else depends on this file."""
    try:
        nanoseconds = json.loads(path.read_text(encoding="utf-8"))["init_timestamp_nsecs"]
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).date()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def policy_rows(policy: IntentionConfig) -> dict[str, str]:
    """Returns table rows on the sizes of an intention network."""
    decoder = listed(policy.decoder_hidden_sizes)
    if policy.is_recurrent:
        decoder = f"{policy.cell.upper()} {listed(policy.memory_sizes)}"
    return {
        "latent": str(policy.latent_dim),
        "encoder": listed(policy.encoder_hidden_sizes),
        "decoder": decoder,
        "activation": policy.activation,
    }


def listed(sizes: tuple[int, ...]) -> str:
    """Returns the widths of layers as text."""
    return " ".join(map(str, sizes))


def num_parameters(params: Any) -> int:
    """Returns how many numbers a tree of arrays holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _summary(
    policy: FrozenPolicy, translation: Translation, step: int, count: float
) -> dict[str, str]:
    network, task = translation.network, translation.task
    physics = task.physics
    normalised = f"{count:,.0f}" if translation.normalize_observations else "not normalised"
    return {
        "generation": f"track-mjx {task.generation}",
        "step": str(step),
        "observation": (
            f"{network.observation_size} = reference {network.reference_size} + "
            f"proprioception {network.proprioception_size}"
        ),
        "action": str(network.action_size),
        **policy_rows(network),
        "parameters": f"{num_parameters(policy.params):,}",
        "observations in statistics": normalised,
        "actuators": "torque" if task.walker.torque_actuators else "position",
        "scale": f"{task.walker.rescale_factor:g}",
        "timestep": f"{physics.timestep * 1e3:g} ms",
        "substeps": str(physics.num_substeps),
        "control rate": f"{1 / physics.control_timestep:g} Hz",
        "mocap rate": f"{task.mocap_hz:g} Hz",
        "solver": (
            f"{physics.solver}, {physics.iterations} iterations, "
            f"{physics.ls_iterations} line-search iterations"
        ),
    }
