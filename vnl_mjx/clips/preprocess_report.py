"""Records what preprocessing did with every frame of every recording."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from vnl_mjx.clips.quality import ClipQuality, reason, where_found
from vnl_mjx.config.preprocessing import PreprocessConfig, QualityLimits
from vnl_mjx.errors import UserError

KEPT, CUT, LEFT_OUT = "kept", "cut", "left out"

# What keeps stretches out of clips, besides limits of quality: the key that decides it.
_KEYS = {
    "missing frames": "conditioning_config.max_gap_s",
    "short stretch": "segmentation_config.min_s or clip_s",
    "rest of a stretch": "segmentation_config.clip_s",
    "trimmed": "segmentation_config.trim_start_s and trim_end_s",
}
# The likely cause of measures beyond their limits.
_CAUSES = {
    "joint_limit_rad": "the joints' order, unit or ranges (source_config.joint_names, angle_unit)",
    "joint_limit_share": "the joints' order, unit or ranges (source_config.joint_names, angle_unit)",
    "penetration_mm": "another floor (conditioning_config.align_floor=true)",
    "body_below_floor_mm": "another floor (conditioning_config.align_floor=true)",
    "speed": "the frame rate (source_config.rate_hz) or the unit of length",
    "joint_speed": "the frame rate (source_config.rate_hz)",
    "jump_m": "the unit of length (source_config.length_unit) or tracking noise",
    "marker_rms_mm": "the body's scale (walker_config.rescale_factor)",
}


class NothingKept(UserError):
    """Says why no clip of any recording was kept."""


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


def changes_made(options: PreprocessConfig, own: RecordingReport, rate_hz: float) -> list[str]:
    """Returns what was done to the motion of one recording, in words; `rate_hz` is the clips'."""
    changes = []
    if rate_hz != own.rate_hz:
        kind = options.resampling_config.interpolation
        changes.append(f"resampled to {rate_hz:g} Hz ({kind})")
    if window := options.conditioning_config.smoothing_window_s:
        changes.append(f"poses smoothed over {window:g} s")
    if window := options.velocity_config.smoothing_window_s:
        changes.append(f"velocities smoothed over {window:g} s")
    if own.filled_frames:
        changes.append(f"{own.filled_frames} frames filled over gaps")
    if own.clamped_velocities:
        limit = options.velocity_config.max_qvel
        changes.append(f"{own.clamped_velocities} joint velocities limited to {limit:g} rad/s")
    if options.conditioning_config.tail == "carried":
        changes.append("tail carried above the floor")
    if held := options.conditioning_config.joint_angles:
        changes.append(f"{', '.join(held)} held at an angle")
    if options.conditioning_config.mirror:
        changes.append("mirrored copies added")
    return changes


def why_nothing(pieces: Sequence[Piece], limits: QualityLimits) -> str:
    """Returns all reasons why no stretch was kept, those of quality first, each in how many stretches."""
    found, causes = [], dict[str, None]()
    named = Counter[str]()
    for item in fields(limits):
        limit, name = getattr(limits, item.name), item.name
        over = [
            q for p in pieces if limit is not None and (q := p.quality) and getattr(q, name) > limit
        ]
        if over:
            worst = max(over, key=lambda quality: getattr(quality, name))
            text = reason(name, getattr(worst, name), limit, where_found(worst, name))
            found.append(f"{text} (quality_config.{name}), in {len(over)}")
            causes |= dict.fromkeys([_CAUSES[name]] if name in _CAUSES else [])
    for piece in pieces:
        if piece.quality is None:
            named.update({text.partition(":")[0] for text in piece.reasons})
    for what in sorted(named):
        key = f" ({_KEYS[what]})" if what in _KEYS else ""
        found.append(f"{what}{key}, in {named[what]}")
    likely = f"; likely: {'; '.join(causes)}" if causes else ""
    count = len(pieces)
    return (
        f"no clip was kept of {count} {'stretch' if count == 1 else 'stretches'}: "
        f"{'; '.join(found) or 'no frames'}{likely}"
    )
