"""From a clip file of our own format to `UnorderedClips`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vnl_mjx.clips.file import ClipFile, name_lists
from vnl_mjx.clips.layouts import cut
from vnl_mjx.clips.unordered import UnorderedClips
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker

# Features whose rows are those of a list of names; they are computed where the walker's differ.
_ROWS = {
    "end_effectors": "end_effector_names",
    "appendages": "appendage_names",
    "contacts": "foot_names",
}


def unordered_clips(
    file: ClipFile,
    walker: Walker,
    clip_length: int | None = None,
    rate_hz: float | None = None,
    clips: Sequence[int] | None = None,
) -> UnorderedClips:
    """Clips of an open file of our own format, all by default, each cut into clips of `clip_length` frames.

    `walker`'s names decide which stored features are kept; `rate_hz` overrides the file's.

    Raises:
        UserError: the file is damaged, or has no such clip.
    """
    chosen = list(range(file.num_clips) if clips is None else clips)
    outside = [clip for clip in chosen if not 0 <= clip < file.num_clips]
    if outside or not chosen:
        found = f"clip {outside[0]}" if outside else "no clip"
        raise UserError(
            f"{file.path}: {found} was asked for, expected clips out of 0 ... {file.num_clips - 1}"
        )
    parts = [file.features(clip) for clip in chosen]
    features = {name: np.concatenate([part[name] for part in parts]) for name in file.stored}
    own_names = name_lists(walker)
    for name, rows in _ROWS.items():
        if file.name_lists[rows] != own_names[rows]:
            features.pop(name, None)
    return _raw(file, features, chosen, clip_length, rate_hz)


def _raw(
    file: ClipFile,
    features: dict[str, np.ndarray],
    chosen: list[int],
    clip_length: int | None,
    rate_hz: float | None,
) -> UnorderedClips:
    lengths, names, infos = [], [], []
    for clip in chosen:
        pieces = cut(int(file.lengths[clip]), clip_length or int(file.lengths[clip]))
        suffixes = [f"_part_{piece}" if len(pieces) > 1 else "" for piece in range(len(pieces))]
        info = file.info[clip]
        for piece, suffix in enumerate(suffixes):
            lengths.append(int(pieces[piece]))
            names.append(file.names[clip] + suffix)
            offset_s = float(pieces[:piece].sum()) / file.rate_hz
            infos.append(replace(info, start_s=info.start_s + offset_s))
    return UnorderedClips(
        path=file.path,
        features=features,
        datasets={name: f"features/{name}" for name in features},
        lengths=np.array(lengths, np.int32),
        clip_names=tuple(names),
        joint_names=file.name_lists["joint_names"],
        body_names=file.name_lists["body_names"],
        rate_hz=rate_hz or file.rate_hz,
        trust_velocities=True,
        info=tuple(infos),
        free_root=file.free_root,
    )
