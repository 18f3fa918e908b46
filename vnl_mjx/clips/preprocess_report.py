"""Records what preprocessing did with every frame of every recording."""

from dataclasses import dataclass, field

from vnl_mjx.clips.quality import ClipQuality

KEPT, CUT, LEFT_OUT = "kept", "cut", "left out"


@dataclass(frozen=True)
class Piece:
    """Records what became of one stretch of a recording."""

    recording: str  # file name
    take: str  # name of the take
    start_s: float  # in the recording, seconds
    stop_s: float  # in the recording, seconds
    frames: int  # at the clips' rate
    status: str  # "kept", "cut" (by a limit of quality) or "left out" (in no clip)
    reasons: tuple[str, ...] = ()  # why it is not kept
    clip: str = ""  # its name, where it is one
    quality: ClipQuality | None = None  # measures, where it was looked at


@dataclass
class RecordingReport:
    """Records what was found in one file and done to it."""

    name: str  # of the file, without its folder
    sha256: str  # of the file
    frames: int  # as recorded
    rate_hz: float  # as recorded
    notes: list[str]  # what was assumed or done
    floor_shift_m: float = 0.0  # added to z
    filled_frames: int = 0  # of its clips, interpolated over gaps
    clamped_velocities: int = 0  # of its clips, joint velocities that were beyond the limit


@dataclass
class PreprocessReport:
    """Accounts for every frame."""

    recordings: list[RecordingReport] = field(default_factory=list)  # one per file
    # in the order of the files; mirrored copies are not pieces of their own
    pieces: list[Piece] = field(default_factory=list)
    num_clips: int = 0  # in the file, with mirrored ones
    num_frames: int = 0  # in the file, with mirrored ones
    rate_hz: float = 0.0  # of the clips
