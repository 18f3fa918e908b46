"""Cuts, joins and mirrors clips, with every feature.

Each function returns new clips, with updated names and `ClipInfo`, and does not change its arguments.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vnl_mjx.clips.columns import join_qpos, join_qvel, split_qpos, split_qvel
from vnl_mjx.clips.conditioning.mirror import REFLECT, Mirror
from vnl_mjx.clips.container import FEATURES, ReferenceClips
from vnl_mjx.clips.features import root_features
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker

_MIRRORED = "_mirrored"


def slice_clip(clips: ReferenceClips, clip: int, start: int, stop: int) -> ReferenceClips:
    """Returns frames start ... stop - 1 of one clip as a clip; velocities stay as they were.

    Raises:
        UserError: there is no such clip, or it does not have these frames.
    """
    one = clips.select([clip])
    if not 0 <= start < stop <= one.num_frames:
        raise UserError(
            f"{clips.source}: frames {start} ... {stop} (exclusive) of clip {clip} "
            f"({one.names[0]!r}) were asked for, expected at least one out of 0 ... {one.num_frames}"
        )
    if (start, stop) == (0, one.num_frames):
        return one
    features = {name: np.asarray(getattr(one, name))[start:stop] for name in FEATURES}
    info = [replace(i, start_s=i.start_s + start / clips.rate_hz) for i in one.info]
    return one.with_frames(features, [stop - start], [f"{one.names[0]}[{start}:{stop}]"], info)


def split_into(
    clips: ReferenceClips, num_frames: int, min_frames: int | None = None
) -> ReferenceClips:
    """Cuts every clip into parts of `num_frames`; keeps a last part of at least `min_frames`.

    Raises:
        UserError: nothing is left.
    """
    if num_frames < 1:
        raise UserError(f"frames per clip: expected at least 1, found {num_frames}")
    least = num_frames if min_frames is None else min_frames
    parts = []
    for clip, length in enumerate(np.asarray(clips.lengths).tolist()):
        bounds = [*range(0, length, num_frames), length]
        spans = itertools.pairwise(bounds)
        parts += [slice_clip(clips, clip, *span) for span in spans if span[1] - span[0] >= least]
    if not parts:
        raise UserError(
            f"{clips.source}: no clip has {least} frames, the longest has "
            f"{int(np.max(clips.lengths))}; cut shorter clips"
        )
    return merge(parts).replace(source=clips.source, notes=clips.notes)


def merge(parts: Sequence[ReferenceClips]) -> ReferenceClips:
    """Joins the clips of all `parts`; repeated names get their file's name as a prefix, or a number.

    Raises:
        UserError: the parts are of different walkers or rates, or there are none.
    """
    if not parts:
        raise UserError("merge: expected at least one set of clips, found none")
    first = parts[0]
    for other in parts[1:]:
        _check_same(first, other)
    if len(parts) == 1:
        return first
    features = {
        name: np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        for name in FEATURES
    }
    info = [i for part in parts for i in part.origins] if any(part.info for part in parts) else []
    lengths = [n for part in parts for n in np.asarray(part.lengths)]
    merged = first.with_frames(features, lengths, _names(parts), info)
    return merged.replace(
        source=" + ".join(dict.fromkeys(part.source for part in parts)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def mirror_clips(
    clips: ReferenceClips, walker: Walker, mirror: Mirror | None = None
) -> ReferenceClips:
    """Exchanges left and right of clips; mirroring twice gives the same numbers back.

    Stored features are reflected, not recomputed, so smoothed velocities, for example, stay smooth. On the
    rodent, reflected positions are within 0.03 mm of the kinematics of the mirrored poses.

    Raises:
        UserError: the walker is not symmetric, or the clips are of another one.
    """
    _check_walker(clips, walker)
    stored = {name: np.asarray(getattr(clips, name)) for name in FEATURES}
    features = mirror_features(mirror or Mirror(walker), stored)
    info = [replace(i, mirrored=not i.mirrored) for i in clips.origins]
    names = [mirrored_name(name) for name in clips.names]
    return clips.with_frames(features, clips.lengths, names, info)


def mirror_features(mirror: Mirror, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Exchanges left and right in every feature of `ReferenceFrames`, float32 [frame, ...]."""
    walker, layout, old = mirror.walker, mirror.walker.layout, features
    new = {
        **split_qpos(mirror.qpos(join_qpos(old, layout)), layout),
        **split_qvel(mirror.qvel(join_qvel(old, layout)), layout),
        "body_positions": mirror.body_positions(old["body_positions"]),
        "body_quaternions": mirror.body_quaternions(old["body_quaternions"]),
        "center_of_mass": old["center_of_mass"] * REFLECT.astype(np.float32),
        "end_effectors": mirror.egocentric(old["end_effectors"], walker.end_effectors),
        "appendages": mirror.egocentric(old["appendages"], walker.appendages),
        "contacts": old["contacts"][..., mirror.rows(walker.feet)],
    }
    if not layout.free_root:
        new |= root_features(walker, new["body_positions"], new["body_quaternions"])
    return {name: new[name].astype(np.float32) for name in FEATURES}


def mirrored_name(name: str) -> str:
    """Returns the name of a mirrored clip; for a name of a mirrored clip, the original's name."""
    return name.removesuffix(_MIRRORED) if name.endswith(_MIRRORED) else name + _MIRRORED


def unique_name(wanted: str, used: set[str]) -> str:
    """Returns `wanted`, with a number if it is in `used` already, and adds the result to `used`."""
    name, number = wanted, 2
    while name in used:
        name, number = f"{wanted}_{number}", number + 1
    used.add(name)
    return name


def _names(parts: Sequence[ReferenceClips]) -> list[str]:
    counts = Counter(name for part in parts for name in part.names)
    used: set[str] = set()
    wanted = (
        name if counts[name] == 1 else f"{part.source}/{name}"
        for part in parts
        for name in part.names
    )
    return [unique_name(name, used) for name in wanted]


def _check_walker(clips: ReferenceClips, walker: Walker) -> None:
    for what in ("joint_names", "body_names"):
        if getattr(clips, what) != getattr(walker, what):
            raise UserError(
                f"{clips.source}: the clips' {what.replace('_', ' ')} are not those of the walker "
                f"{walker.config.source!r}; give the walker that the clips were made for"
            )
    if clips.free_root != walker.layout.free_root:
        raise UserError(
            f"{clips.source}: one of the clips' body and the walker {walker.config.source!r} has a "
            "free root and the other has none; give the walker that the clips were made for"
        )


def _check_same(a: ReferenceClips, b: ReferenceClips) -> None:
    shapes = [{n: getattr(c, n).shape[1:] for n in FEATURES} for c in (a, b)]
    own = [(c.joint_names, c.body_names, c.free_root) for c in (a, b)]
    if own[0] != own[1] or shapes[0] != shapes[1]:
        raise UserError(
            f"merge: {b.source} holds clips of another walker than {a.source} (other joints, "
            "bodies, end effectors, appendages or feet); merge files of one walker"
        )
    if a.rate_hz != b.rate_hz:
        raise UserError(
            f"merge: {b.source} is at {b.rate_hz:g} Hz, {a.source} at {a.rate_hz:g} Hz; resample "
            "one of them first"
        )
