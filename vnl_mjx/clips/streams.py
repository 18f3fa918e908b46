"""Clips one at a time, so that files larger than memory can be cut, chosen, joined and mirrored."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.assembly import assemble
from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.file import ClipRow, ClipWriter, is_own_file, open_clip_file
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.own_layout import unordered_clips
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class StoredClip:
    """One clip as its file has it.

    Attributes:
        clips: that clip alone.
        quality: its measures, where the file has them.
    """

    clips: ReferenceClips
    quality: Mapping[str, float]

    @property
    def info(self) -> ClipInfo:
        """Where it is from; the file where nothing else is known."""
        return self.clips.info[0] if self.clips.info else ClipInfo(source=self.clips.source)


def stored_clips(
    path: str | os.PathLike[str], walker: Walker, indices: Sequence[int] | None = None
) -> Iterator[StoredClip]:
    """Each clip of a file; only files of our own format are read clip by clip.

    Raises:
        UserError: as `read_clips`.
    """
    if not is_own_file(path):
        clips = read_clips(path, walker, clips=indices)
        for clip in range(clips.num_clips):
            yield StoredClip(clips.select([clip]), {})
        return
    computer = FeatureComputer(walker)
    with open_clip_file(path) as file:
        for clip in range(file.num_clips) if indices is None else indices:
            raw = unordered_clips(file, walker, clips=[clip])
            one = assemble(raw, walker, Path(path).name, computer)
            quality = {name: float(column[clip]) for name, column in file.quality.items()}
            yield StoredClip(one, quality)


def stored_info(path: str | os.PathLike[str], walker: Walker) -> list[tuple[str, ClipInfo | None]]:
    """Name of each clip of a file and where it is from, None where the file does not tell."""
    if is_own_file(path):
        with open_clip_file(path) as file:
            return list(zip(file.names, file.info, strict=True))
    clips = read_clips(path, walker)
    return list(zip(clips.names, clips.info or (None,) * clips.num_clips, strict=True))


def stored_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the writer of a file of our own format recorded; {} for other files."""
    if not is_own_file(path):
        return {}
    with open_clip_file(path) as file:
        return file.metadata


def append_clips(
    writer: ClipWriter,
    clips: ReferenceClips,
    quality: Mapping[str, float] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Writes each of `clips`; `quality` is that of the clip that they are parts of."""
    starts, lengths = np.asarray(clips.starts), np.asarray(clips.lengths)
    for clip, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        rows = slice(int(start), int(start + length))
        features = {name: np.asarray(getattr(clips, name))[rows] for name in FEATURES}
        info = clips.info[clip] if clips.info else ClipInfo(source=clips.source)
        name = (names or clips.names)[clip]
        writer.append(features, ClipRow(name, int(length), info, quality or {}))
