"""Reads a teacher from a checkpoint that track-mjx wrote, without track-mjx.

The layout is that of an Orbax CheckpointManager (track-mjx: `agent/checkpointing.py`):
`<folder>/PPONetwork_<step>/{config, policy, train_state}`. Only `config` and `policy` are read.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.compat.track_mjx_config import Translation, translate
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig, IntentionNetwork

STEP_PREFIX = "PPONetwork"
_EXPECTED = f"a folder holding {STEP_PREFIX}_<step>, or one {STEP_PREFIX}_<step> folder"


@dataclass(frozen=True)
class LoadedTeacher:
    """A teacher read from disk.

    Attributes:
        policy: its network, parameters and observation statistics.
        task: the imitation task that it was trained on.
        step: of the checkpoint; track-mjx counts evaluations, not environment steps.
        raw_config: the configuration as stored.
        warnings: what had to be assumed, or differs from upstream; one line each.
        summary: label to value, rows of a table for a person.
        sha256: of parameters and observation statistics.
    """

    policy: FrozenPolicy
    task: ImitationConfig
    step: int
    raw_config: dict[str, Any]
    warnings: tuple[str, ...]
    summary: dict[str, str]
    sha256: str


def load_teacher(
    path: str | Path, step: int | None = None, activation: str | None = None
) -> LoadedTeacher:
    """Reads a teacher from a folder that holds `PPONetwork_<step>` folders, or from one of those.

    Step None is the highest; `activation` is of the hidden layers, where what is assumed for the checkpoint's
    age is wrong.

    Raises:
        UserError: there is no such checkpoint, it is damaged, or its layout is not known.
    """
    folder, step = find_step(Path(path).expanduser(), step)
    raw = _read_config(folder / "config" / "metadata")
    translation = translate(
        raw,
        f"{folder.name}/config",
        activation=activation,
        written_on=_written_on(folder / "_CHECKPOINT_METADATA"),
    )
    statistics, params = _read_policy(folder / "policy", translation)
    policy = FrozenPolicy(
        params=jax.tree.map(jnp.asarray, params),
        obs_mean=jnp.asarray(statistics["mean"]),
        obs_std=jnp.asarray(statistics["std"]),
        config=translation.network,
    )
    notes = list(translation.warnings)
    count = count_observations(statistics)
    if translation.normalize_observations and count == 0:
        notes.append(
            "the observation statistics hold no observation: the teacher was never trained"
        )
    return LoadedTeacher(
        policy=policy,
        task=translation.task,
        step=step,
        raw_config=raw,
        warnings=tuple(notes),
        summary=_summary(policy, translation, step, count),
        sha256=_sha256(params, statistics),
    )


def find_step(path: Path, step: int | None = None) -> tuple[Path, int]:
    """The folder and number of one checkpoint; the latest by number when `step` is None."""
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
    numbered = ((_step_number(child), child.resolve()) for child in children)
    steps = {number: child for number, child in numbered if number is not None}
    if not steps:
        raise UserError(
            f"{path} is no track-mjx checkpoint: expected {_EXPECTED}; {_describe(path)}"
        )
    chosen = max(steps) if step is None else step
    if chosen not in steps:
        there = ", ".join(map(str, sorted(steps)))
        raise UserError(f"teacher checkpoint {path} has no step {chosen}; steps there: {there}")
    return steps[chosen], chosen


def _step_number(folder: Path) -> int | None:
    # A full match leaves out Orbax's temporary folders of a write that was interrupted.
    match = re.fullmatch(rf"{STEP_PREFIX}_(\d+)", folder.name)
    return int(match.group(1)) if match else None


def _describe(path: Path) -> str:
    """What stands in a folder that is not a checkpoint, and where one may be."""
    nested = sorted(path.glob(f"*/{STEP_PREFIX}_*"))
    if nested:
        return f"did you mean {nested[0].parent}?"
    names = sorted(child.name for child in path.iterdir())
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"found {shown}" if names else "the folder is empty"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; a track-mjx checkpoint holds config and policy"
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); the checkpoint is damaged") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold a JSON object, found {type(raw).__name__}")
    return raw


def _written_on(path: Path) -> date | None:
    """Day of writing, where it is recorded. Nothing else depends on this file."""
    try:
        nanoseconds = json.loads(path.read_text(encoding="utf-8"))["init_timestamp_nsecs"]
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).date()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _sha256(params: dict[str, Any], statistics: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    tree = {"params": params, "mean": statistics["mean"], "std": statistics["std"]}
    for name, array in sorted(traverse_util.flatten_dict(tree, sep="/").items()):
        digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def policy_rows(policy: IntentionConfig) -> dict[str, str]:
    """The sizes of an intention network."""
    decoder = listed(policy.decoder_hidden_sizes)
    if policy.is_recurrent:
        decoder = f"LSTM {policy.lstm_num_layers} x {policy.lstm_hidden_size}"
    return {
        "latent": str(policy.latent_dim),
        "encoder": listed(policy.encoder_hidden_sizes),
        "decoder": decoder,
        "activation": policy.activation,
    }


def listed(sizes: tuple[int, ...]) -> str:
    """The widths of layers."""
    return " ".join(map(str, sizes))


def num_parameters(params: Any) -> int:
    """How many numbers a tree of arrays holds."""
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


def _read_policy(path: Path, translation: Translation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Observation statistics, and network variables {"params": ...} that fit; NumPy, float32."""
    if not path.is_dir():
        raise UserError(f"{path} is missing; a track-mjx checkpoint holds config and policy")
    tree = read_arrays(path)
    statistics, params = tree.get("0"), tree.get("1")
    if not isinstance(statistics, dict) or not isinstance(params, dict):
        raise UserError(f"{path} must hold observation statistics and network parameters")
    network = translation.network
    _check_tree(params, _expected_params(network), path)
    if not translation.normalize_observations:
        ones = np.ones(network.observation_size, np.float32)
        return {**statistics, "mean": np.zeros_like(ones), "std": ones}, _to_float32(params)
    moments = {key: statistics[key] for key in ("mean", "std") if key in statistics}
    _check_tree(moments, dict.fromkeys(("mean", "std"), (network.observation_size,)), path)
    return {**statistics, **_to_float32(moments)}, _to_float32(params)


def _expected_params(network: IntentionConfig) -> dict[str, Any]:
    """Shapes of the network's variables."""
    obs = jnp.zeros(network.observation_size)
    init = IntentionNetwork(network).init
    shapes = jax.eval_shape(init, jax.random.key(0), obs, network.initial_memory())
    return jax.tree.map(lambda leaf: leaf.shape, shapes)


def _check_tree(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Refuses what does not fit the configuration, or is not finite, by name."""
    where = f"{path.parent.name}/{path.name}"
    arrays = traverse_util.flatten_dict(found, sep="/")
    shapes = traverse_util.flatten_dict(expected, sep="/")

    # Kernels first: their shapes tell most about which size is wrong.
    def by_telling(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (not name.endswith("kernel"), name))

    for name in by_telling(set(arrays) - set(shapes)):
        raise UserError(f"{where}: {name} is there, but network_config has no such layer")
    for name in by_telling(set(shapes) - set(arrays)):
        raise UserError(f"{where}: {name} {shapes[name]} is missing; network_config asks for it")
    for name in by_telling(shapes):
        array = np.asarray(arrays[name])
        if array.shape != shapes[name]:
            raise UserError(
                f"{where}: {name} has shape {array.shape}, network_config asks for {shapes[name]}"
            )
        # bfloat16 is no NumPy float, hence JAX's test.
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{where}: {name} must hold floats, found {array.dtype}")
        if not np.isfinite(array.astype(np.float32)).all():
            raise UserError(f"{where}: {name} holds NaN or infinite values; take another step")


def _to_float32(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float32), tree)


def count_observations(statistics: dict[str, Any]) -> float:
    """Observations behind the statistics. Newer versions of brax split the number in two words."""
    count = statistics.get("count", 0)
    if isinstance(count, dict):
        return float(count.get("hi", 0)) * 2.0**32 + float(count.get("lo", 0))
    return float(np.asarray(count).sum())
