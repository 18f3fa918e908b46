"""Cuts takes into clips, with a reason for every frame that is in no clip."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MISSING = "missing frames"  # the reason of frames without a pose


class Stretch(NamedTuple):
    """Frames start ... stop - 1 of a take."""

    start: int  # first frame
    stop: int  # one after the last frame
    reason: str = ""  # why it is left out ("what: details"); empty for a clip


class Cut(NamedTuple):
    """A take cut into clips."""

    # in order of time; they overlap where the stride is less than their length
    clips: tuple[Stretch, ...]
    left_out: tuple[Stretch, ...]  # in order of time, disjoint; with the clips they cover the take


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """Returns (start, stop) of each run of set flags, bool [frame]."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def cut_clips(
    valid: np.ndarray,
    *,
    clip_frames: int | None,
    stride: int | None = None,
    min_frames: int = 1,
    max_frames: int | None = None,
    trim_start: int = 0,
    trim_end: int = 0,
) -> Cut:
    """Cuts one take into clips of a fixed or of variable length.

    Args:
        valid: bool [frame], the frames that may be in a clip.
        clip_frames: length of every clip; None: each valid stretch is a clip.
        stride: frames from one clip's start to the next one's, for fixed lengths; default: no overlap.
        min_frames: shorter stretches are left out, for variable lengths.
        max_frames: longer stretches are cut into equal parts, for variable lengths.
        trim_start: frames left out at the take's start.
        trim_end: frames left out at the take's end.
    """
    if any(value is not None and value < 1 for value in (clip_frames, stride, min_frames)):
        raise ValueError(f"{clip_frames=}, {stride=} and {min_frames=} must be at least 1")
    if max_frames is not None and max_frames < min_frames:
        raise ValueError(f"{max_frames=} must be at least {min_frames=}")
    count = len(valid)
    first = min(max(trim_start, 0), count)
    last = max(count - max(trim_end, 0), first)
    clips: list[Stretch] = []
    left_out = [Stretch(0, first, "trimmed: start of the take")]
    left_out.append(Stretch(last, count, "trimmed: end of the take"))
    inner = np.asarray(valid[first:last], bool)
    left_out += [Stretch(first + a, first + b, MISSING) for a, b in stretches(~inner)]
    for start, stop in ((first + a, first + b) for a, b in stretches(inner)):
        if clip_frames is not None:
            own = list(_fixed(start, stop, clip_frames, stride or clip_frames))
        else:
            own = list(_variable(start, stop, min_frames, max_frames))
        clips += own
        least = min_frames if clip_frames is None else clip_frames
        left_out += _rest(start, stop, own, least)
    return Cut(tuple(clips), tuple(sorted(part for part in left_out if part.stop > part.start)))


def _fixed(start: int, stop: int, length: int, stride: int) -> Iterator[Stretch]:
    for first in range(start, stop - length + 1, stride):
        yield Stretch(first, first + length)


def _variable(start: int, stop: int, least: int, most: int | None) -> Iterator[Stretch]:
    length = stop - start
    if length < least:
        return
    parts = -(-length // most) if most else 1
    if most and length // parts < least:  # one clip fewer, of full length; the end is left out
        parts -= 1
        length = parts * most
    bounds = [start + round(part * length / parts) for part in range(parts + 1)]
    yield from (Stretch(*bound) for bound in itertools.pairwise(bounds))


def _rest(start: int, stop: int, clips: list[Stretch], least: int) -> Iterator[Stretch]:
    """Yields the stretches that the clips of one valid stretch do not cover."""
    covered = start
    for clip in clips:
        if clip.start > covered:
            yield Stretch(covered, clip.start, "between clips: the stride is longer than a clip")
        covered = max(covered, clip.stop)
    if covered < stop:
        what = "rest of a stretch" if clips else "short stretch"
        yield Stretch(covered, stop, f"{what}: {stop - covered} frames, a clip needs {least}")
