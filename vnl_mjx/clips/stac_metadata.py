"""What a STAC file says about itself: configuration, clips, names.

Fields: stac-mjx `io.py` and `config.py` (YAML with the groups `model` and `stac`).
"""

from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import yaml

from vnl_mjx.errors import UserError


def parse_config(path: str, text: str | None, option: str, needed: bool) -> dict[str, dict]:
    """Groups of a STAC configuration, {} where there is none or (unless needed) it is unreadable.

    Args:
        path: of the file, for messages.
        text: YAML, or None.
        option: what the user can give in its place, for messages.
        needed: refuse what is not a STAC configuration.
    """
    if not text:
        return {}
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        config = None
    if isinstance(config, dict):
        return {k: v for k, v in config.items() if isinstance(v, dict)}
    if needed:
        raise UserError(f"{path}: 'config' is not the YAML that stac-mjx writes; give {option}")
    return {}


def clip_length(path: str, config: dict[str, dict], option: str) -> int | None:
    """Frames per clip, None where the configuration does not say."""
    frames = config.get("stac", {}).get("n_frames_per_clip")
    if frames is None:
        return None
    is_whole = isinstance(frames, int | np.integer) and not isinstance(frames, bool)
    if not is_whole or frames < 1:
        # a nested value could be endless when it is written out
        shown = repr(frames)[:40] if np.isscalar(frames) else type(frames).__name__
        raise UserError(
            f"{path}: config stac.n_frames_per_clip is {shown}, expected at least 1; give {option}"
        )
    return int(frames)


def clip_names(config: dict[str, dict], num_clips: int) -> tuple[str, ...]:
    """One name per clip: the configuration's where it has as many, else "clip_0", ..."""
    order = config.get("model", {}).get("snips_order")
    order = order if isinstance(order, list) else []
    if len(order) == num_clips and all(isinstance(name, str) for name in order):
        # entries are files of the machine where they were made: keep their stems only
        return tuple(PurePosixPath(PureWindowsPath(n).as_posix()).stem for n in order)
    return tuple(f"clip_{clip}" for clip in range(num_clips))


def joint_names(path: str, names: Sequence[str], num_columns: int) -> tuple[tuple[str, ...], bool]:
    """Names of the joint columns of qpos, and whether root columns stand before them.

    Args:
        path: of the file, for messages.
        names: `names_qpos`: one per column; those of a free root joint are its name seven times.
        num_columns: of qpos.
    """
    has_root = len(names) >= 7 and len(set(names[:7])) == 1
    if len(names) != num_columns:
        raise UserError(
            f"{path}: 'names_qpos' has {len(names)} names starting {tuple(names[:2])}, expected "
            f"{num_columns}: the root joint's seven times, then one per joint"
        )
    return tuple(names[7:] if has_root else names), has_root
