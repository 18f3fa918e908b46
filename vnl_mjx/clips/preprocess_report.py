"""The account of a preprocessing: what became of every frame of every recording."""

from dataclasses import asdict, dataclass, field
from typing import Any

from vnl_mjx.clips.quality import ClipQuality

KEPT, CUT, LEFT_OUT = "kept", "cut", "left out"


@dataclass(frozen=True)
class Piece:
    """What became of one stretch of a recording.

    Attributes:
        recording: file name.
        take: name of the take.
        start_s: in the recording, seconds.
        stop_s: in the recording, seconds.
        frames: at the clips' rate.
        status: "kept", "cut" (by a limit of quality) or "left out" (in no clip).
        reasons: why it is not kept.
        clip: its name, where it is one.
        quality: measures, where it was looked at.
    """

    recording: str
    take: str
    start_s: float
    stop_s: float
    frames: int
    status: str
    reasons: tuple[str, ...] = ()
    clip: str = ""
    quality: ClipQuality | None = None


@dataclass
class RecordingReport:
    """What was found in one file and done to it.

    Attributes:
        name: of the file, without its folder.
        sha256: of the file.
        frames: as recorded.
        rate_hz: as recorded.
        notes: what was assumed or done.
        floor_shift_m: added to z.
        filled_frames: of its clips, interpolated over gaps.
        clamped_velocities: of its clips, joint velocities that were beyond the limit.
    """

    name: str
    sha256: str
    frames: int
    rate_hz: float
    notes: list[str]
    floor_shift_m: float = 0.0
    filled_frames: int = 0
    clamped_velocities: int = 0


@dataclass
class PreprocessReport:
    """An account of every frame.

    Attributes:
        recordings: one per file.
        pieces: in the order of the files; mirrored copies are not pieces of their own.
        num_clips: in the file, with mirrored ones.
        num_frames: in the file, with mirrored ones.
        rate_hz: of the clips.
    """

    recordings: list[RecordingReport] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    num_clips: int = 0
    num_frames: int = 0
    rate_hz: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)
