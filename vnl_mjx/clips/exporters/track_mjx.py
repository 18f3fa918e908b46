"""Writes clips in the two layouts that track-mjx reads: stac-mjx's output and a group of ReferenceClip.

Sources: track-mjx `io/load.py` (`make_multiclip_data`, `load_reference_clip_data`), stac-mjx `io.py`, and
vnl-playground `tasks/reference_clips.py`, which takes a clip's behaviour from its name. All of them hold
clips of one length, and the bodies of a model that has no floor.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.file import fixed_length
from vnl_mjx.clips.hdf5 import common_length, write_clips
from vnl_mjx.clips.hdf5_access import atomic_hdf5
from vnl_mjx.clips.recording import ROOT_COLUMNS
from vnl_mjx.walkers.walker import Walker

_FLOOR = "floor"  # body of track-mjx's model that its reference files do not have
_BEHAVIOUR = re.compile(r"[A-Za-z]+_\d+")  # vnl-playground refuses a clip name without one


def export_stac(path: str | os.PathLike[str], clips: ReferenceClips, walker: Walker) -> None:
    """Writes stac-mjx's layout: poses of all clips one after another, and a YAML `config`.

    The file has no keypoints; track-mjx and vnl-playground read none.

    Raises:
        UserError: the clips differ in length, or the file cannot be written.
    """
    length = common_length(path, clips, "a STAC file")
    bodies = _without_floor(clips.body_names)
    joints = clips.joint_names
    if clips.free_root:
        joints = (walker.model.joint(0).name or "root",) * ROOT_COLUMNS + joints
    names = {"names_qpos": joints, "names_xpos": [clips.body_names[body] for body in bodies]}
    arrays = {
        "qpos": np.asarray(clips.qpos()),
        "qvel": np.asarray(clips.qvel()),
        "xpos": np.asarray(clips.body_positions)[:, bodies],
        "xquat": np.asarray(clips.body_quaternions)[:, bodies],
    }
    config = _config(clips, walker, length)
    with atomic_hdf5(path) as file:
        file.create_dataset("config", data=fixed_length([config]).reshape(()))
        for name, strings in names.items():
            file.create_dataset(name, data=fixed_length(strings))
        for name, values in arrays.items():
            file.create_dataset(name, data=values.astype(np.float32), compression="gzip")


def export_all_clips(path: str | os.PathLike[str], clips: ReferenceClips, _: Walker) -> None:
    """Writes the group `all_clips` of the eight ReferenceClip fields, [clip, frame, ...].

    Attributes hold names and rate, for which track-mjx has no fields. Raises UserError like `export_stac`.
    """
    bodies = _without_floor(clips.body_names)
    bare = clips.replace(
        body_positions=np.asarray(clips.body_positions)[:, bodies],
        body_quaternions=np.asarray(clips.body_quaternions)[:, bodies],
        body_names=tuple(clips.body_names[body] for body in bodies),
    )
    write_clips(path, bare)


def _without_floor(body_names: Sequence[str]) -> list[int]:
    return [body for body, name in enumerate(body_names) if name != _FLOOR]


def _config(clips: ReferenceClips, walker: Walker, length: int) -> str:
    """Returns the keys of stac-mjx's configuration that its readers use, as YAML."""
    rate = float(clips.rate_hz)
    config: dict[str, dict[str, object]] = {
        "model": {
            "MJCF_PATH": Path(walker.config.source).with_suffix(".xml").name,
            "SCALE_FACTOR": walker.config.rescale_factor,
            "RENDER_FPS": int(rate) if rate.is_integer() else rate,
            "snips_order": [_snippet(name, clip) for clip, name in enumerate(clips.names)],
        },
        # velocities are there, as after stac-mjx's own inference
        "stac": {"n_frames_per_clip": length, "infer_qvels": True},
    }
    if any(info.made_by for info in clips.info):  # no animal moved like this
        config["vnl_mjx"] = {"made_by": [info.made_by for info in clips.info]}
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _snippet(name: str, clip: int) -> str:
    """Turns a clip's name into that of a snippet file, such as "Walk_12.p"."""
    name = re.sub(r"[/\\]+", "_", name)
    if not _BEHAVIOUR.search(name):
        name = f"{name}_{clip}" if name[-1:].isalpha() else f"{name}_clip_{clip}"
    return f"{name}.p"
