"""What a report says of where it comes from: made with what, of which clips, after which training."""

import hashlib
import platform
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
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.evaluation import ClipsSection, EvaluationConfig
from vnl_mjx.config.schema import WalkerSection
from vnl_mjx.versions import installed_versions

_VERSIONS = ("vnl-mjx", "mujoco", "jax", "flax", "numpy", "scipy", "scikit-learn", "matplotlib")


def made_section(
    stored: StoredStudent,
    clips: ReferenceClips,
    physics: PhysicsSection,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """The section "made" of `metrics.json`, of an evaluation that took so many seconds."""
    loaded, metadata = stored.loaded, stored.loaded.metadata
    computed = runtime_rows(describe_runtime(physics))
    return {
        "command": f"vnl-mjx eval {stored.run_dir.name}",
        "versions": installed_versions(_VERSIONS),
        "seed": seed,
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
    """The section "clips" of `metrics.json`; `sets` [clip] has "train", "held_out" or "other" of each."""
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


def without_paths(config: EvaluationConfig, stored: StoredStudent) -> EvaluationConfig:
    """What may be shown to others: names in place of this machine's folders."""
    body, data = config.walker_config.mjcf_path, config.teacher_config.reference_data_path
    return replace(
        config,
        checkpoint_path=stored.run_dir.name,
        output_dir=None,
        compare_with=tuple(Path(path).name for path in config.compare_with),
        walker_config=WalkerSection(body and Path(body).name),
        teacher_config=ClipsSection(data and Path(data).name),
    )


def _sha256(params: Any) -> str:
    """Hash of the names and values of the parameters."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
