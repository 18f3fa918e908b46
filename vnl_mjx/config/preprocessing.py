"""Defines the typed configuration of `vnl-mjx preprocess`.

Times are in seconds of the recording; lengths in metres. Options that change the motion are off by default,
and the report says what they changed.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, Self

from vnl_mjx.config.validation import automatic, check_bounds, number
from vnl_mjx.config.walker import RODENT_SOURCE, WalkerConfig
from vnl_mjx.errors import UserError


@dataclass(frozen=True)
class SourceSection:
    """Facts that a file may not record.

    Attributes:
        rate_hz: frames per second, null for what the file says (STAC files, which do not: 50).
        take_length: number of frames recorded without a break, null for what the file says.
        joint_names: names of the columns after the root's seven, or of all columns with the root's name
            seven times; empty for what the file says.
        quaternion_order: order of the root's quaternion, null for what the file says, else w x y z.
        length_unit: unit of the root's position, null for what the file says, else metres.
        up_axis: axis of the recorded world that points up, null for what the file says, else z.
        angle_unit: unit of the joints, null for what the file says, else radians.
        missing_joints: whether a recording by name may lack joints (or the root) of the body: refuse it, or
            hold them at their rest, the MJCF's pose at qpos0.
    """

    rate_hz: float | None = number(None, gt=0.0)
    take_length: int | None = number(None, ge=1)
    joint_names: tuple[str, ...] = ()
    quaternion_order: Literal["wxyz", "xyzw"] | None = None
    length_unit: Literal["m", "cm", "mm"] | None = None
    up_axis: Literal["z", "y"] | None = None
    angle_unit: Literal["radians", "degrees"] | None = None
    missing_joints: Literal["refuse", "rest"] = "refuse"


@dataclass(frozen=True)
class BodySection:
    """The body of the poses.

    Attributes:
        mjcf_path: MJCF file, or a body's YAML file, which gives what is left at its default below;
            null for the rodent of dm_control as track-mjx edits it.
        rescale_factor: uniform scale of the body tree, null for 0.9 (the rodent) or 1 (an MJCF file).
        rescaling: method of scaling, track-mjx's or dm_control's (see `WalkerConfig`); older STAC files use
            a body that dm_control scaled.
        root_body: body whose frame egocentric features use.
        end_effector_names: bodies of the feature `end_effectors`; empty: the rodent's.
        appendage_names: bodies of the feature `appendages`; empty: as `WalkerConfig`.
        foot_names: bodies that stand on the floor; empty: as `WalkerConfig`.
    """

    mjcf_path: str | None = None
    rescale_factor: float | None = number(None, gt=0.0)
    rescaling: Literal["track_mjx", "dm_control"] = "track_mjx"
    root_body: str = "torso"
    end_effector_names: tuple[str, ...] = ()
    appendage_names: tuple[str, ...] = ()
    foot_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: WalkerConfig) -> Self:
        """Returns what describes a walker in a clip file: its MJCF by name, without the folder."""
        own = config.source != RODENT_SOURCE
        values = {
            key.name: getattr(config, key.name) for key in fields(cls) if key.name != "mjcf_path"
        }
        return cls(mjcf_path=Path(config.source).name if own else None, **values)


@dataclass(frozen=True)
class ResamplingSection:
    """The frame rate of the clips.

    Attributes:
        rate_hz: frames per second, null for the recording's.
        interpolation: method for positions and joints; orientations always use spherical interpolation.
    """

    rate_hz: float | None = number(50.0, gt=0.0)
    interpolation: Literal["linear", "cubic"] = "cubic"


@dataclass(frozen=True)
class VelocitySection:
    """The computation of velocities from poses.

    Attributes:
        difference: central differences (one-sided at the ends), or forward differences as in stac-mjx.
        smoothing_window_s: Savitzky-Golay window; 0 for none.
        max_qvel: limit of joint velocities, rad/s; null for none. auto: 20, more for bodies smaller than
            a rat.
    """

    difference: Literal["central", "forward"] = "central"
    smoothing_window_s: float = number(0.0, ge=0.0)
    max_qvel: float | Literal["auto"] | None = automatic(20.0, "angular", gt=0.0)


@dataclass(frozen=True)
class ConditioningSection:
    """Changes to the motion.

    Attributes:
        max_gap_s: longest gap of NaN that is filled; longer gaps are cut out.
        smoothing_window_s: Savitzky-Golay window over the poses; 0 for none.
        align_floor: lift each file so that its feet stand on the floor.
        floor_percentile: percentile over time of the lowest foot that is brought to the floor.
        mirror: add a copy of every clip with left and right exchanged.
        root: recorded, or from_feet for recordings of joint angles alone: estimated from the standing feet,
            which stay where they are on a level floor (give source_config.missing_joints=rest too).
        tail: recorded, or carried above the floor as a rat carries it. Use carried for recordings without
            markers on the tail, whose fits leave it hanging through the floor.
        joint_angles: angles, rad, at which joints without markers are held, by joint name; the rodent's
            mouth is shut at mandible = -0.28.
    """

    max_gap_s: float = number(0.2, ge=0.0)
    smoothing_window_s: float = number(0.0, ge=0.0)
    align_floor: bool = False
    floor_percentile: float = number(5.0, ge=0.0, le=100.0)
    mirror: bool = False
    root: Literal["recorded", "from_feet"] = "recorded"
    tail: Literal["recorded", "carried"] = "recorded"
    joint_angles: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ContactSection:
    """When a foot counts as standing. auto: 6 mm and 0.1 m/s for a rat, scaled to the body.

    Attributes:
        height_m: largest height of its lowest point above the floor.
        speed: largest speed of that point, m/s.
    """

    height_m: float | Literal["auto"] | None = automatic(0.006, "length", ge=0.0)
    speed: float | Literal["auto"] | None = automatic(0.1, "speed", ge=0.0)


@dataclass(frozen=True)
class SegmentationSection:
    """How takes are cut into clips.

    Attributes:
        clip_s: length of every clip; null: each stretch without a gap is a clip.
        overlap_s: overlap of consecutive clips of fixed length.
        min_s: shortest clip of variable length; shorter stretches are left out.
        max_s: longest clip of variable length; longer stretches are cut into equal parts. null for no limit.
        trim_start_s: left out at the start of every take.
        trim_end_s: left out at the end of every take.
    """

    clip_s: float | None = number(None, gt=0.0)
    overlap_s: float = number(0.0, ge=0.0)
    min_s: float = number(0.2, ge=0.0)
    max_s: float | None = number(None, gt=0.0)
    trim_start_s: float = number(0.0, ge=0.0)
    trim_end_s: float = number(0.0, ge=0.0)


@dataclass(frozen=True)
class SplitSection:
    """The clips to mark as held out; runs that read the file respect the marks.

    Attributes:
        held_out_fraction: share of the clips or recordings; 0 marks none, and each run draws its own.
        by: draw single clips, or whole recordings. A mirrored clip stays with its original.
        seed: of the draw.
    """

    held_out_fraction: float = number(0.0, ge=0.0, lt=1.0)
    by: Literal["clip", "recording"] = "clip"
    seed: int = number(0, ge=0)


@dataclass(frozen=True)
class OutputSection:
    """The output file.

    Attributes:
        compression: gzip halves the size and slows down writing.
        overwrite: replace an existing file.
        report: write OUT.quality.json and OUT.quality.png beside it.
        num_threads: 0 for one per core; changes no bit of the result.
        block_frames: frames whose features are in memory at a time, besides the longest clip.
    """

    compression: Literal["gzip", "none"] = "gzip"
    overwrite: bool = False
    report: bool = True
    num_threads: int = number(0, ge=0)
    block_frames: int = number(10_000, ge=1)


@dataclass(frozen=True)
class QualityLimits:
    """Limits of a clip's quality; null switches a limit off.

    A limit that is "auto" follows from the body's length and the clips' rate: `body_size.for_body` scales
    the numbers for rats below. They keep all real rat clips that we have, with a margin, and simulated
    clips, except for `joint_limit_share`.

    Attributes:
        marker_rms_mm: 6; distance of recorded keypoints from the fitted body's markers, root of the
            mean square. Good fits of a rat have 1 to 3; a body that is 10 % too large has 7 to 8.
        marker_max_mm: the same for the worst keypoint in the worst frame. Off, because a keypoint that the
            tracker lost for a moment does not spoil a clip, and its jumps are limited below.
        joint_limit_rad: farthest beyond a joint's range. Inverse kinematics stays inside; MuJoCo's
            soft limits yield by up to 0.1 in simulated clips.
        joint_limit_share: of frames with a joint more than 0.01 rad beyond its range. In simulated
            clips up to 0.54: the weight presses the toes against limits that yield.
        penetration_mm: 10; deepest that a foot's lowest point (without feet, any geom's) is below the
            floor. 2 to 4 in recordings
            that are not aligned to the floor; more than a paw's thickness is a wrong floor.
        body_below_floor_mm: deepest that any body's origin is below the floor. Off: the tails of
            real fits hang up to 100 mm below it.
        speed: 3; of the root, m/s. A galloping rat reaches 1.5 to 2.
        angular_speed: 20; of the root, rad/s. Real clips reach 3; a rat that spins round, 10 to 15.
        joint_speed: 60; rad/s, after `max_qvel` if that is on. Real clips reach 24 at a wrist, 40 between
            two frames.
        jump_m: 0.05; movement of the root from one frame to the next: 2.5 m/s at 50 Hz.
        jump_rad: 0.8; rotation of the root from one frame to the next. Real clips reach 0.1 at 50 Hz.
        jump_joint_rad: 1.5; movement of a joint from one frame to the next. Real clips reach 0.8 (a
            wrist at 50 Hz); an angle that wraps moves by about 6.
        frozen_s: longest time without any movement, which a living animal always shows.
        filled_share: of frames that were interpolated over gaps: one of 0.2 s in a clip of 1 s is fine.
        clamped_share: of frames with a joint velocity at its limit. Real clips reach 0.01.
        missing_frames: that are not poses.
    """

    marker_rms_mm: float | Literal["auto"] | None = automatic(6.0, "length", gt=0.0)
    marker_max_mm: float | None = number(None, gt=0.0)
    joint_limit_rad: float | None = number(0.2, ge=0.0)
    joint_limit_share: float | None = number(0.25, ge=0.0, le=1.0)
    penetration_mm: float | Literal["auto"] | None = automatic(10.0, "length", ge=0.0)
    body_below_floor_mm: float | None = number(None, ge=0.0)
    speed: float | Literal["auto"] | None = automatic(3.0, "speed", gt=0.0)
    angular_speed: float | Literal["auto"] | None = automatic(20.0, "angular", gt=0.0)
    joint_speed: float | Literal["auto"] | None = automatic(60.0, "angular", gt=0.0)
    jump_m: float | Literal["auto"] | None = automatic(0.05, "step", gt=0.0)
    jump_rad: float | Literal["auto"] | None = automatic(0.8, "turn", gt=0.0)
    jump_joint_rad: float | Literal["auto"] | None = automatic(1.5, "turn", gt=0.0)
    frozen_s: float | None = number(0.5, gt=0.0)
    filled_share: float | None = number(0.25, ge=0.0, le=1.0)
    clamped_share: float | None = number(0.1, ge=0.0, le=1.0)
    missing_frames: int | None = number(0, ge=0)


@dataclass(frozen=True)
class PreprocessConfig:
    """The configuration of a preprocessing.

    Attributes:
        source_config: facts that a file may not record.
        walker_config: the body.
        resampling_config: the frame rate.
        conditioning_config: changes to the motion.
        velocity_config: velocities from poses.
        contact_config: contacts of the feet.
        segmentation_config: how takes are cut into clips.
        quality_config: limits of quality.
        split_config: held-out clips.
        output_config: the output file.
    """

    source_config: SourceSection = field(default_factory=SourceSection)
    walker_config: BodySection = field(default_factory=BodySection)
    resampling_config: ResamplingSection = field(default_factory=ResamplingSection)
    conditioning_config: ConditioningSection = field(default_factory=ConditioningSection)
    velocity_config: VelocitySection = field(default_factory=VelocitySection)
    contact_config: ContactSection = field(default_factory=ContactSection)
    segmentation_config: SegmentationSection = field(default_factory=SegmentationSection)
    quality_config: QualityLimits = field(default_factory=QualityLimits)
    split_config: SplitSection = field(default_factory=SplitSection)
    output_config: OutputSection = field(default_factory=OutputSection)

    def validate(self) -> None:
        """Raises UserError, naming the key, for the first invalid value."""
        check_bounds(self)
        cut = self.segmentation_config
        if cut.clip_s is not None and cut.overlap_s >= cut.clip_s:
            raise UserError(
                f"segmentation_config.overlap_s: expected less than clip_s = {cut.clip_s:g}, found "
                f"{cut.overlap_s:g}"
            )
        if cut.max_s is not None and cut.max_s < cut.min_s:
            raise UserError(
                f"segmentation_config.max_s: expected at least min_s = {cut.min_s:g}, found "
                f"{cut.max_s:g}"
            )
