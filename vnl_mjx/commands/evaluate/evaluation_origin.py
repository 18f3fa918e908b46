"""Records the origin of a report: command, versions, clips and training."""

import hashlib
import platform
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vnl_mjx.clips.container import ClipInfo, ReferenceClips
from vnl_mjx.clips.kinematics import num_cores
from vnl_mjx.commands.runtime import describe_runtime, runtime_rows
from vnl_mjx.commands.stored import StoredStudent
from vnl_mjx.config.evaluation import ClipsSection, EvaluationConfig
from vnl_mjx.config.loading import as_overrides
from vnl_mjx.config.schema import WalkerSection
from vnl_mjx.versions import installed_versions

_VERSIONS = ("vnl-mjx", "mujoco", "jax", "flax", "numpy", "scipy", "scikit-learn", "matplotlib")


def made_section(
    stored: StoredStudent, clips: ReferenceClips, config: EvaluationConfig, seconds: float
) -> dict[str, Any]:
    """Returns the section "made" of `metrics.json`, for an evaluation that took `seconds`."""
    loaded, metadata = stored.loaded, stored.loaded.metadata
    computed = runtime_rows(describe_runtime(config.physics_config))
    return {
        "command": _command(config),
        "versions": installed_versions(_VERSIONS),
        "seed": config.eval_config.seed,
        "env_steps": loaded.env_steps,
        "is_own_teacher": loaded.is_own_teacher,
        "checkpoint": f"{stored.run_dir.name}, {loaded.path.name}",
        "teacher": str(metadata.get("teacher_source") or "the bundled demonstration teacher"),
        "teacher_sha256": metadata["identity"]["teacher_sha256"],
        "params_sha256": _sha256(loaded.params),
        "clips_source": clips.source,
        "clips_sha256": clips.sha256,
        "machine": f"{platform.system()} {platform.machine()}, {num_cores()} cores, "
        f"JAX on {computed['device']}, simulated by {computed['simulation']}",
        "seconds": seconds,
    }


def clips_section(clips: ReferenceClips, sets: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the section "clips" of `metrics.json`; `sets` [clip] has "train", "held_out" or "other"."""
    return [
        {
            "name": name,
            "set": which,
            "label": info.label,
            "seconds": float(length / clips.rate_hz),
            "made_by": info.made_by,
        }
        for name, which, info, length in zip(
            clips.names,
            sets,
            clips.info or [ClipInfo()] * clips.num_clips,
            clips.lengths,
            strict=True,
        )
    ]


def without_paths(config: EvaluationConfig) -> EvaluationConfig:
    """Replaces this machine's folders by names, so that the result can be shared; keeps relative paths."""
    body, data = config.walker_config.mjcf_path, config.teacher_config.reference_data_path
    return replace(
        config,
        checkpoint_path=_shown(str(config.checkpoint_path)),
        output_dir=config.output_dir and _shown(config.output_dir),
        compare_with=tuple(map(_shown, config.compare_with)),
        walker_config=WalkerSection(body and _shown(body)),
        teacher_config=ClipsSection(data and _shown(data)),
    )


def _shown(path: str) -> str:
    is_inside = not Path(path).is_absolute() and not {"..", "~"} & set(Path(path).parts[:1])
    return path if is_inside else Path(path).name


def _command(config: EvaluationConfig) -> str:
    """Returns the command that repeats the evaluation."""
    shown, default = without_paths(config), EvaluationConfig(checkpoint_path=None)
    settings = as_overrides(replace(shown, checkpoint_path=None), default)
    return shlex.join(["vnl-mjx", "eval", str(shown.checkpoint_path), *settings])


def _sha256(params: Any) -> str:
    """Returns a hash of the names and values of the parameters."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
