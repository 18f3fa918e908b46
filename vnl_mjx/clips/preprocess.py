"""Turns recordings into one file of complete reference clips, and accounts for every frame."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.body_size import options_for_body
from vnl_mjx.clips.conditioned_take import ConditionedTake
from vnl_mjx.clips.conditioning.mirror import Mirror
from vnl_mjx.clips.conditioning.segments import MISSING, Stretch, cut_clips, stretches
from vnl_mjx.clips.conditioning.tail import UnmarkedParts
from vnl_mjx.clips.container import ClipInfo, draw_held_out
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.feet import FloorHistogram, floor_heights
from vnl_mjx.clips.file import ClipRow, ClipWriter, write_clip_file
from vnl_mjx.clips.operations import mirror_features, mirrored_name, unique_name
from vnl_mjx.clips.plausibility import check_conventions
from vnl_mjx.clips.preprocess_report import (
    CUT,
    KEPT,
    LEFT_OUT,
    NothingKept,
    Piece,
    PreprocessReport,
    RecordingReport,
    changes_made,
    why_nothing,
)
from vnl_mjx.clips.quality import ClipQuality, assess, frames_beyond, verdict
from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.recording_fit import compare_stored_poses
from vnl_mjx.clips.sources import SourceOptions, match_joints, open_recording
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.preprocessing import BodySection, PreprocessConfig
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_sha256
from vnl_mjx.walkers.walker import Walker

_MOST_BAD = 0.2  # share of a clip's frames around which it is cut, rather than left out whole

Progress = Callable[[str, int, int], None]


class Preprocessor:
    """Adds the clips of recordings to one file.

    Attributes:
        walker: the body of the recordings.
        options: as given; from `run` on, automatic values are the numbers that were used.
        report: what became of every frame.
    """

    def __init__(
        self, walker: Walker, options: PreprocessConfig, progress: Progress = lambda *_: None
    ):
        """Prepares for all recordings; raises UserError if an asymmetric walker is to be mirrored.

        `progress` is called with a file's name, frames done and frames in all.
        """
        self.walker, self.options, self.progress = walker, options, progress
        self.report = PreprocessReport()
        self._floor = floor_heights(walker)
        self._computer = FeatureComputer(
            walker, contacts=options.contact_config, num_threads=options.output_config.num_threads
        )
        self._mirror = Mirror(walker) if options.conditioning_config.mirror else None
        conditioning = options.conditioning_config
        self._unmarked = UnmarkedParts(
            walker,
            self._computer.kinematics,
            tail=conditioning.tail == "carried",
            angles=conditioning.joint_angles,
        )
        self._names: set[str] = set()

    def run(self, paths: Sequence[str | Path], output: str | Path) -> PreprocessReport:
        """Writes `output` from the recordings at `paths`; see `Preprocessor`.

        Raises:
            UserError: a file cannot be used, or nothing is left to write (`NothingKept`); `output` is not
                changed then.
        """
        with contextlib.ExitStack() as opened:
            sources = list(self._open(paths, opened))
            self.report.recordings += [own for _, own in sources]
            self.report.rate_hz = rate = self._common_rate()
            self.options = options_for_body(self.options, self.walker, rate)
            orders = [self._match(recording, own) for recording, own in sources]
            metadata: dict[str, Any] = {"options": _recorded_options(self.options, self.walker)}
            compression = None if self.options.output_config.compression == "none" else "gzip"
            with write_clip_file(output, self.walker, rate, metadata, compression) as writer:
                for (recording, own), order in zip(sources, orders, strict=True):
                    self._add(writer, recording, own, order)
                if not writer.rows:
                    text = why_nothing(self.report.pieces, self.options.quality_config)
                    raise NothingKept(f"{output}: not written, {text}")
                self._hold_out(writer)
                self.report.num_clips = len(writer.rows)
                self.report.num_frames = sum(row.length for row in writer.rows)
                metadata["recordings"] = [asdict(item) for item in self.report.recordings]
        return self.report

    def _open(
        self, paths: Sequence[str | Path], opened: contextlib.ExitStack
    ) -> Iterator[tuple[Recording, RecordingReport]]:
        options = SourceOptions(**asdict(self.options.source_config))
        for path, name in zip(map(Path, paths), source_names(paths), strict=True):
            recording = opened.enter_context(open_recording(path, options))
            rate, notes = recording.rate_hz or recording.usual_rate_hz, [*recording.notes]
            if rate is None:
                hint = recording.rate_hint
                near = f"; its velocities agree with about {hint:g} Hz" if hint else ""
                raise UserError(
                    f"{path}: {recording.layout} without a frame rate; give it "
                    f"(source_config.rate_hz=HZ){near}"
                )
            yield (
                recording,
                RecordingReport(name, file_sha256(path), recording.num_frames, rate, notes),
            )

    def _common_rate(self) -> float:
        wanted, recordings = self.options.resampling_config.rate_hz, self.report.recordings
        if wanted is None and len({own.rate_hz for own in recordings}) > 1:
            found = ", ".join(f"{own.name} {own.rate_hz:g} Hz" for own in recordings)
            raise UserError(
                f"resampling_config.rate_hz: expected a rate for recordings of several rates "
                f"({found}), found null; give the rate of the clips"
            )
        return wanted or recordings[0].rate_hz

    def _match(self, recording: Recording, own: RecordingReport) -> np.ndarray | None:
        """Fits a recording to the walker; returns its joints' columns in the walker's order, if others."""
        missing = self.options.source_config.missing_joints
        kinematics = self._computer.kinematics
        order, note = match_joints(recording, self.walker, missing)
        own.notes += [note] if note else []
        if not recording.info:  # clips of this package were checked when they were made
            own.notes += check_conventions(recording, self.walker, order, kinematics)
        if recording.rate_hz is None:
            own.notes.append(f"no frame rate in the file: {own.rate_hz:g} Hz assumed")
        scale = self.walker.config.rescale_factor
        if recording.scale is not None and abs(recording.scale - scale) > 1e-6:
            own.notes.append(f"fitted at scale {recording.scale:g}, the walker's is {scale:g}")
        compared = compare_stored_poses(recording, self.walker, kinematics, order)
        own.notes += [compared] if compared else []
        if not self._floor.feet:
            own.notes.append("no floor in the body's model: heights over it are not checked")
        return order

    def _add(
        self,
        writer: ClipWriter,
        recording: Recording,
        own: RecordingReport,
        order: np.ndarray | None,
    ) -> None:
        notes = own.notes
        prefix = f"{Path(recording.path).stem}_" if len(self.report.recordings) > 1 else ""
        rate, options, walker = own.rate_hz, self.options, self.walker
        takes = [
            ConditionedTake(recording, take, rows, prefix, order, rate, options, walker)
            for take, rows in enumerate(recording.take_rows)
        ]
        if normalised := sum(take.num_normalised for take in takes):
            notes.append(f"{normalised} quaternions normalised")
        if self.options.conditioning_config.align_floor:
            own.floor_shift_m = self._lift(takes)
            notes.append(f"lifted by {1000 * own.floor_shift_m:.1f} mm to the floor")
        for take in takes:
            for start, stop in stretches(take.valid):
                self._unmarked.apply(take.qpos[start:stop], take.rate_out)
        done = 0
        for take in takes:
            for clips in self._groups(own, take):
                self._add_clips(writer, own, take, clips)
                at = done + round(clips[-1].stop * take.rate_in / take.rate_out)
                self.progress(own.name, min(at, recording.num_frames), recording.num_frames)
            done += take.num_in
            self.progress(own.name, done, recording.num_frames)
        notes += changes_made(self.options, own, self.report.rate_hz)

    def _add_clips(
        self,
        writer: ClipWriter,
        own: RecordingReport,
        take: ConditionedTake,
        clips: Sequence[Stretch],
        *,
        split: bool = True,
    ) -> None:
        """Computes and keeps or cuts clips of one valid stretch; `split` cuts around their bad frames."""
        whole = take.around(clips[0].start, clips[-1].stop)
        qpos = take.qpos[whole]
        qvel, clamped = take.velocities(qpos)
        features = self._computer(qpos, [len(qpos)], take.rate_out, qvel)
        for clip in clips:
            rows = slice(clip.start - whole.start, clip.stop - whole.start)
            part = {name: values[rows] for name, values in features.items()}
            filled = take.filled[clip.start : clip.stop]
            quality = assess(
                self.walker,
                part,
                take.rate_out,
                marker_errors=take.marker_errors(self.walker, clip, part, own.floor_shift_m),
                filled=filled,
                clamped=clamped[rows],
                feet=self._floor,
            )
            reasons = verdict(quality, self.options.quality_config)
            if reasons and split and (parts := self._around_bad(own, take, clip, part, reasons)):
                for one in parts:
                    self._add_clips(writer, own, take, [one], split=False)
                continue
            own.filled_frames += int(filled.sum())
            own.clamped_velocities += int(clamped[rows].sum())
            if reasons:
                self._note(own, take, clip, CUT, reasons, quality=quality)
            else:
                self._keep(writer, own, take, clip, part, quality)

    def _around_bad(
        self,
        own: RecordingReport,
        take: ConditionedTake,
        clip: Stretch,
        features: dict[str, np.ndarray],
        reasons: tuple[str, ...],
    ) -> list[Stretch]:
        """Returns the parts of a clip of variable length between a few bad frames; notes the other frames.

        Returns [] for clips of fixed length, and where most of the clip or no single frame is bad.
        """
        section = self.options.segmentation_config
        limits = self.options.quality_config
        bad = frames_beyond(self.walker, features, limits, self._floor)
        least = max(round(section.min_s * take.rate_out), 1)
        found = [Stretch(clip.start + a, clip.start + b) for a, b in stretches(~bad)]
        parts = [part for part in found if part.stop - part.start >= least]
        if section.clip_s is not None or not 0.0 < bad.mean() <= _MOST_BAD or not parts:
            return []
        take.valid[clip.start : clip.stop][bad] = False
        for start, stop in stretches(bad):
            own_features = {name: values[start:stop] for name, values in features.items()}
            quality = assess(self.walker, own_features, take.rate_out, feet=self._floor)
            part = Stretch(clip.start + start, clip.start + stop)
            self._note(own, take, part, CUT, verdict(quality, limits) or reasons)
        for part in found:
            if (frames := part.stop - part.start) < least:
                text = f"short stretch: {frames} frames, a clip needs {least}"
                self._note(own, take, part, LEFT_OUT, (text,))
        return parts

    def _lift(self, takes: list[ConditionedTake]) -> float:
        """Lifts the feet to the floor; returns the metres added to z."""
        if not self._floor.feet:
            return 0.0
        histogram = FloorHistogram()
        step = self.options.output_config.block_frames
        for take in takes:
            valid = np.flatnonzero(take.valid)
            for start in range(0, len(valid), step):
                poses = self._computer.kinematics(take.qpos[valid[start : start + step]])
                heights = self._floor(poses.positions, poses.quaternions)
                histogram.add(heights)
        shift = histogram.shift(self.options.conditioning_config.floor_percentile)
        for take in takes:
            if root := self.walker.root:
                take.qpos[:, root.position][:, 2] += shift
        return shift

    def _groups(self, own: RecordingReport, take: ConditionedTake) -> Iterator[list[Stretch]]:
        """Yields groups of clips to compute together; records stretches that are in no clip."""
        section, rate = self.options.segmentation_config, take.rate_out

        def frames(seconds: float | None) -> int | None:
            return None if seconds is None else max(round(seconds * rate), 1)

        clip = frames(section.clip_s)
        cut = cut_clips(
            take.valid,
            clip_frames=clip,
            stride=None if clip is None else max(clip - round(section.overlap_s * rate), 1),
            min_frames=frames(section.min_s) or 1,
            max_frames=frames(section.max_s),
            trim_start=round(section.trim_start_s * rate),
            trim_end=round(section.trim_end_s * rate),
        )
        for part in cut.left_out:
            within = range(part.start, part.stop) if part.reason == MISSING else ()
            jump = next((take.jumps[frame] for frame in within if frame in take.jumps), None)
            self._note(own, take, part, CUT if jump else LEFT_OUT, (jump or part.reason,))
        step = self.options.output_config.block_frames
        group: list[Stretch] = []
        for clip in cut.clips:
            # clips that touch are in one valid stretch
            if group and (clip.start > group[-1].stop or clip.stop - group[0].start > step):
                yield group
                group = []
            group.append(clip)
        if group:
            yield group

    def _keep(
        self,
        writer: ClipWriter,
        own: RecordingReport,
        take: ConditionedTake,
        clip: Stretch,
        features: dict[str, np.ndarray],
        quality: ClipQuality,
    ) -> None:
        """Writes a clip, and its mirrored copy if that is wanted."""
        name = self._unique(take, clip)
        piece = self._note(own, take, clip, KEPT, (), name, quality)
        info = ClipInfo(
            source=own.name,
            start_s=piece.start_s,
            label=take.label,
            made_by=take.made_by,
        )
        measures = quality.numbers()
        writer.append(features, ClipRow(name, piece.frames, info, measures))
        if self._mirror is not None:
            mirrored = mirror_features(self._mirror, features)
            row = ClipRow(mirrored_name(name), piece.frames, replace(info, mirrored=True), measures)
            writer.append(mirrored, row)

    def _note(
        self,
        own: RecordingReport,
        take: ConditionedTake,
        part: Stretch,
        status: str,
        reasons: tuple[str, ...],
        clip: str = "",
        quality: ClipQuality | None = None,
    ) -> Piece:
        start_s, stop_s = (take.first / take.rate_in + frame / take.rate_out for frame in part[:2])
        frames = part.stop - part.start
        piece = Piece(own.name, take.name, start_s, stop_s, frames, status, reasons, clip, quality)
        self.report.pieces.append(piece)
        return piece

    def _unique(self, take: ConditionedTake, clip: Stretch) -> str:
        """Returns the take's name, with the clip's start in seconds if the clip is a part of the take."""
        whole = clip[:2] == (0, len(take.qpos))
        wanted = take.name if whole else f"{take.name}_{clip.start / take.rate_out:.2f}s"
        return unique_name(wanted, self._names)

    def _hold_out(self, writer: ClipWriter) -> None:
        """Marks the held-out clips; overlapping or mirrored clips of one stretch stay together."""
        section = self.options.split_config
        if not section.held_out_fraction:
            return
        groups = [row.info.group(section.by) for row in writer.rows]
        marks = draw_held_out(groups, section.held_out_fraction, section.seed)
        writer.rows = [
            replace(row, info=replace(row.info, held_out=held_out))
            for row, held_out in zip(writer.rows, marks, strict=True)
        ]


def source_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns a name for each file, without its folder unless two files share a name."""
    plain, used = [Path(path).name for path in paths], set[str]()
    return [
        unique_name(n if plain.count(n) == 1 else f"{Path(path).resolve().parent.name}/{n}", used)
        for path, n in zip(paths, plain, strict=True)
    ]


def _recorded_options(options: PreprocessConfig, walker: Walker) -> dict[str, Any]:
    """Returns the options without this machine's paths; of another body, with its YAML file's keys."""
    recorded = to_dict(options)
    if options.walker_config.mjcf_path:
        recorded["walker_config"] = to_dict(BodySection.of(walker.config))
    return recorded
