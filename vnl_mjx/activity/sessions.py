"""Puts clips on the recordings' own clocks, and cuts long stretches into pieces that run side by side.

Clips of one source whose frames abut are one stretch, through which the body is carried. A piece begins some
control steps before its own rows; these warm up the body and the network's memory, and are thrown away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

from vnl_mjx.activity.file import Rows
from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.errors import UserError

_ROWS_PER_WARM_UP = 4  # a piece is no shorter than this, unless its stretch ends
_SAME_FRAME = 0.5  # frames between the end of a clip and the start of the next that still abut


@dataclass(frozen=True)
class Piece:
    """Describes rows that one environment computes.

    Attributes:
        stretch: index of the stretch.
        first_step: control step of the stretch at which the body is set on the reference.
        warm_up: control steps before the piece's own rows.
        num_rows: its own rows.
        first_row: its first row in the file.
    """

    stretch: int
    first_step: int
    warm_up: int
    num_rows: int
    first_row: int

    @property
    def num_steps(self) -> int:
        """Control steps with those of the warm-up."""
        return self.warm_up + self.num_rows


@dataclass(frozen=True)
class Plan:
    """Holds all rows of a record file and the pieces that make them.

    Attributes:
        stretches: one clip per stretch, with frames in the order of time, session by session.
        rows: the table of rows, all valid.
        reference_row: int64 [row], frame of `stretches` at the time of the row.
        pieces: in any order; together they make each row once.
        frames_per_step: frames of the clips per control step.
    """

    stretches: ReferenceClips
    rows: Rows
    reference_row: np.ndarray
    pieces: tuple[Piece, ...] = field(repr=False)
    frames_per_step: Fraction = Fraction(1)


def windows(
    stretches: ReferenceClips,
    pieces: Sequence[Piece],
    first_step: int,
    num_frames: int,
    frames_per_step: Fraction,
) -> ReferenceClips:
    """Returns frames of each piece as one clip, from that of the piece's control step `first_step` on.

    Beyond the end of a stretch its last frame is repeated, as a look-up in the stretch would.
    """
    first = [int((piece.first_step + first_step) * frames_per_step) for piece in pieces]
    own = [piece.stretch for piece in pieces]
    last = np.asarray(stretches.lengths)[own, None] - 1
    frames = np.minimum(np.array(first)[:, None] + np.arange(num_frames), last)
    rows = (np.asarray(stretches.starts)[own, None] + frames).reshape(-1)
    count = len(pieces)
    return stretches.replace(
        **{name: np.asarray(getattr(stretches, name))[rows] for name in FEATURES},
        starts=np.arange(count, dtype=np.int32) * num_frames,
        lengths=np.full(count, num_frames, np.int32),
        names=("",) * count,
    )


def plan(
    clips: ReferenceClips,
    control_hz: float,
    frames_ahead: int,
    num_pieces: int,
    warm_up_s: float,
) -> Plan:
    """Lays out the rows of all sessions, one per control step.

    The last `frames_ahead` frames of a stretch have no rows, because the reference ahead ends there.

    Args:
        clips: clips in any order.
        control_hz: control steps per second.
        frames_ahead: frames of the reference that the policy sees after the current one.
        num_pieces: pieces to cut all rows into; about as many, as no piece covers two stretches.
        warm_up_s: seconds before a piece's own rows, in the same stretch.

    Raises:
        UserError: no stretch is long enough for one row.
    """
    sessions = sessions_of(clips.origins, clips.lengths, clips.rate_hz, clips.names)
    stretches = [(name, part) for name, parts in sessions.items() for part in parts]
    order = [clip for _, part in stretches for clip in part]
    ordered = clips if order == list(range(clips.num_clips)) else clips.select(order)
    lengths = np.asarray(ordered.lengths)
    in_stretch = np.cumsum([0, *(len(part) for _, part in stretches)])
    frames = np.add.reduceat(lengths, in_stretch[:-1])
    joined = _joined(ordered, frames, [ordered.names[i] for i in in_stretch[:-1]])
    ratio = Fraction(clips.rate_hz / control_hz).limit_denominator(1000)
    num_rows = [max(0, math.ceil((n - frames_ahead) / ratio)) for n in frames.tolist()]
    if not any(num_rows):
        raise UserError(
            f"{clips.source}: the longest stretch has {frames.max()} frames, expected more than the "
            f"{frames_ahead} that the policy sees ahead; give longer clips"
        )
    columns = [
        _stretch_rows(ordered, range(*in_stretch[i : i + 2]), n, ratio, control_hz)
        for i, n in enumerate(num_rows)
    ]
    frame, time, clip = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    names = list(sessions)
    session = [names.index(name) for name, _ in stretches]
    first_row = np.cumsum(num_rows) - num_rows
    start = np.zeros(sum(num_rows), bool)
    start[[first for first, n in zip(first_row, num_rows, strict=True) if n]] = True
    rows = Rows(
        time=time,
        session=np.repeat(session, num_rows).astype(np.int16),
        clip=clip.astype(np.int32),
        frame=(frame - np.asarray(ordered.starts)[clip]).astype(np.int32),
        start=start,
        valid=np.ones(sum(num_rows), bool),
        sessions=tuple(names),
        clip_names=ordered.names,
        clip_labels=tuple(info.label for info in ordered.origins),
    )
    warm_up = math.ceil(warm_up_s * control_hz)
    longest = max(1, math.ceil(sum(num_rows) / num_pieces), _ROWS_PER_WARM_UP * warm_up)
    pieces = [
        piece
        for i, n in enumerate(num_rows)
        for piece in _pieces(i, n, int(first_row[i]), longest, warm_up, ratio.denominator)
    ]
    return Plan(joined, rows, frame, tuple(pieces), ratio)


def sessions_of(
    origins: Sequence[ClipInfo],
    lengths: Sequence[int] | np.ndarray,
    rate_hz: float,
    names: Sequence[str],
) -> dict[str, list[list[int]]]:
    """Returns the stretches of each session, lists of clips in order of time.

    A session is a recording. Clips that overlap in time cannot lie on one clock: such a clip begins another
    session, named after it; mirrored clips are sessions of their own.
    """
    tracks: dict[tuple[str, bool], list[list[int]]] = {}
    ends = [o.start_s + n / rate_hz for o, n in zip(origins, lengths, strict=True)]
    slack = _SAME_FRAME / rate_hz
    for clip in sorted(range(len(origins)), key=lambda i: (origins[i].start_s, i)):
        own = tracks.setdefault((origins[clip].source, origins[clip].mirrored), [])
        free = (track for track in own if origins[clip].start_s > ends[track[-1]] - slack)
        track = next(free, None)
        if track is None:
            own.append(track := [])
        track.append(clip)
    found = {}
    for (source, mirrored), own in tracks.items():
        name = source + " (mirrored)" * mirrored
        for number, track in enumerate(own):
            title = name if number == 0 and len(own) == 1 else f"{name}: {names[track[0]]}"
            while title in found:
                title += "'"
            breaks = [
                i
                for i in range(1, len(track))
                if origins[track[i]].start_s > ends[track[i - 1]] + slack
            ]
            bounds = [0, *breaks, len(track)]
            found[title] = [track[a:b] for a, b in pairwise(bounds)]
    return found


def _joined(clips: ReferenceClips, frames: np.ndarray, names: Sequence[str]) -> ReferenceClips:
    """Returns the same frames as one clip per stretch."""
    return clips.replace(
        starts=(np.cumsum(frames) - frames).astype(np.int32),
        lengths=frames.astype(np.int32),
        names=tuple(names),
        info=(),
    )


def _stretch_rows(
    clips: ReferenceClips, own: range, num_rows: int, ratio: Fraction, control_hz: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns frame of `clips`, time and clip of each row of the stretch of the clips `own`."""
    starts, origins = np.asarray(clips.starts), clips.origins
    step = np.arange(num_rows)
    frame = starts[own.start] + step * ratio.numerator // ratio.denominator
    clip = np.searchsorted(starts, frame, side="right") - 1
    begins = np.array([origins[i].start_s for i in own])[clip - own.start]
    since = (starts[clip] - starts[own.start]) / clips.rate_hz  # s from the stretch's start
    return frame, begins + (step / control_hz - since), clip


def _pieces(
    stretch: int, num_rows: int, first_row: int, longest: int, warm_up: int, period: int
) -> list[Piece]:
    """Cuts a stretch into equal pieces that begin on a frame, which comes every `period` control steps."""
    length = math.ceil(num_rows / max(1, math.ceil(num_rows / longest)))
    length = max(period, math.ceil(length / period) * period)
    before = math.ceil(warm_up / period) * period
    pieces = []
    for own in range(0, num_rows, length):
        lead = min(before, own)
        count = min(length, num_rows - own)
        pieces.append(Piece(stretch, own - lead, lead, count, first_row + own))
    return pieces
