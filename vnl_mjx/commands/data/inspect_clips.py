"""Describes a file of poses or clips, for `vnl-mjx inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.container import describe_clips
from vnl_mjx.clips.file import ClipFile, is_own_file, open_clip_file
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.quality import assess_clips, measure_title
from vnl_mjx.clips.sources import describe_recording, open_recording
from vnl_mjx.commands.output import as_typed
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import build_walker

Tables = dict[str, dict[str, str]]
_MOST_NAMES = 12
# Measures that fit on one screen; the JSON has the others.
_SHOWN = (
    "marker_rms_mm",
    "joint_limit_rad",
    "penetration_mm",
    "body_below_floor_mm",
    "joint_speed",
    "jump_m",
    "frozen_s",
    "filled_share",
)


def describe_file(path: Path) -> tuple[Tables, dict[str, Any]]:
    """Returns tables for a person, and details for JSON."""
    if is_own_file(path):
        with open_clip_file(path) as file:
            return _describe_own(file)
    with open_recording(path) as recording:
        tables: Tables = {"Recording": describe_recording(recording)}
        details: dict[str, Any] = {"recording": tables["Recording"]}
        walker = build_walker(WalkerConfig())
        shaped = recording.has_root and recording.num_joints == len(walker.joint_names)
        is_hdf5 = path.suffix in (".h5", ".hdf5")
    if not shaped:
        tables["Recording"]["walker"] = (
            f"not the rodent ({len(walker.joint_names)} joints): preprocess needs the MJCF of this body "
            "(walker_config.mjcf_path=FILE)"
        )
        return tables, details
    if not is_hdf5:
        tables["Recording"]["next"] = as_typed(f"vnl-mjx preprocess {path} CLIPS.h5")
        return tables, details
    try:
        clips = read_clips(path, walker)
    except UserError as error:
        tables["Recording"]["as clips"] = f"cannot be trained on as it is: {error}"
        return tables, details
    lengths = np.asarray(clips.lengths).tolist()
    tables["Reference clips"] = describe_clips(clips) | {
        "names (frames)": _names(clips.names, lengths)
    }
    measures = assess_clips(walker, clips)
    quality = {
        name: np.array([getattr(one, name) for one in measures], float)
        for name in _SHOWN
        if isinstance(getattr(measures[0], name), int | float)
    }
    tables["Quality"] = _quality_rows(quality, clips.names)
    return tables, details | {
        "clips": [{"name": n, "frames": k} for n, k in zip(clips.names, lengths, strict=True)],
        "rate_hz": clips.rate_hz,
        "sha256": clips.sha256,
        "notes": list(clips.notes),
    }


def _describe_own(file: ClipFile) -> tuple[Tables, dict[str, Any]]:
    """Describes one of our files; streams the features, so that any size works."""
    speeds, heights = [], []
    for clip in range(file.num_clips):
        position = file.feature(clip, "position")
        speeds.append(_mean_speed(file, clip, position))
        heights += [position[:, 2].min(), position[:, 2].max()]
    frames, lengths = int(file.lengths.sum()), file.lengths.tolist()
    walker = file.metadata.get("walker", {})
    rows = {
        "file": Path(file.path).name,
        "clips": str(file.num_clips),
        "frames": f"{frames} ({min(lengths)} to {max(lengths)} per clip)",
        "seconds": f"{frames / file.rate_hz:.1f}",
        "rate": f"{file.rate_hz:g} Hz",
        "walker": f"{len(file.name_lists['joint_names'])} joints, "
        f"{len(file.name_lists['body_names'])} bodies, scale {walker.get('scale', '?')}",
        "mean root speed": f"{100 * min(speeds):.1f} to {100 * max(speeds):.1f} cm/s per clip",
        "root height": f"{1000 * min(heights):.0f} to {1000 * max(heights):.0f} mm",
        "made motion": _count([bool(i.made_by) for i in file.info], "synthetic, no animal"),
        "mirrored": _count([i.mirrored for i in file.info], "of them"),
        "held out": _count([i.held_out for i in file.info], "of them"),
        "from": _names(tuple(dict.fromkeys(i.source for i in file.info))),
        "names (frames)": _names(file.names, lengths),
    }
    details = {
        "clips": [
            {"name": name, "frames": length, **asdict(info)}
            for name, length, info in zip(file.names, lengths, file.info, strict=True)
        ],
        "rate_hz": file.rate_hz,
        "quality": {name: values.tolist() for name, values in file.quality.items()},
        "metadata": {k: v for k, v in file.metadata.items() if k != "walker"},
    }
    return {"Clip file": rows, "Quality": _quality_rows(file.quality, file.names)}, details


def _mean_speed(file: ClipFile, clip: int, position: np.ndarray) -> float:
    """Returns the root's mean horizontal speed, m/s."""
    if "velocity" in file.stored:
        velocity = file.feature(clip, "velocity")
    else:
        velocity = np.diff(position, axis=0) * file.rate_hz if len(position) > 1 else position * 0.0
    return float(np.linalg.norm(velocity[:, :2], axis=-1).mean())


def _quality_rows(quality: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, str]:
    rows = {}
    for name in _SHOWN:
        values = quality.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        clip = int(np.nanargmax(values))
        worst = float(values[clip])
        rows[measure_title(name)] = f"at most {worst:.3g} ({names[clip]})" if worst else "none"
    return rows or {"quality": "not measured"}


def _count(flags: list[bool], what: str) -> str:
    return f"{sum(flags)} clips ({what})" if any(flags) else "none"


def _names(names: tuple[str, ...], lengths: list[int] | None = None) -> str:
    shown = names[:_MOST_NAMES]
    texts = [f"{n} ({k})" for n, k in zip(shown, lengths, strict=False)] if lengths else list(shown)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(texts) + more
