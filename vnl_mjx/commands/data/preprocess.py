"""`vnl-mjx preprocess`: turns recordings into one file of reference clips, and accounts for every frame."""

import glob
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vnl_mjx.clips.preprocess import Preprocessor
from vnl_mjx.clips.preprocess_report import CUT, KEPT, LEFT_OUT, NothingKept, PreprocessReport
from vnl_mjx.clips.sources import READABLE, SUFFIXES
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.data.bodies import build_body
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.config.preprocessing import PreprocessConfig, ResamplingSection
from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing
from vnl_mjx.report.pictures.quality import save_quality_plot
from vnl_mjx.walkers.walker import Walker


def run(config: PreprocessConfig, inputs: Sequence[Path], output: Path) -> int:
    """Preprocesses `inputs` (files, folders or quoted patterns) into `output`; returns the exit status."""
    inputs = _files(inputs, output)
    check_output(output, inputs, config.output_config.overwrite)
    console = Console()
    walker = build_body(config.walker_config)
    config = _at_rate_of(walker, config)
    with terminate_cleanly(), frame_progress(console) as progress:
        preprocessor = Preprocessor(walker, config, progress)
        try:
            report = preprocessor.run(inputs, output)
        except NothingKept:
            _write_report(console, preprocessor, output)
            raise
    _print(console, report)
    console.print(f"clips: {output}", soft_wrap=True)
    _write_report(console, preprocessor, output)
    return 0


def _at_rate_of(walker: Walker, config: PreprocessConfig) -> PreprocessConfig:
    """Returns the configuration with the body's frame rate, if it has one and the user gave none."""
    rate, section = walker.config.task.get("mocap_hz"), config.resampling_config
    if rate is None or section.rate_hz != ResamplingSection().rate_hz:
        return config
    return replace(config, resampling_config=replace(section, rate_hz=float(rate)))


def _files(inputs: Sequence[Path], output: Path) -> list[Path]:
    """Returns the recordings that inputs name: those in a folder, or that fit a pattern such as `*.npz`."""
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = [one for one in sorted(path.iterdir()) if one.suffix.lower() in SUFFIXES]
        elif glob.has_magic(str(path)) and not path.exists():
            found = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
        else:
            files.append(path)
            continue
        found = [one for one in found if one.is_file() and one.resolve() != output.resolve()]
        if not found:
            raise UserError(f"{path}: no recording there; give files of {READABLE}")
        files += found
    return files


def _print(console: Console, report: PreprocessReport) -> None:
    for recording in report.recordings:
        own = [piece for piece in report.pieces if piece.recording == recording.name]
        frames = Counter[str]()
        for piece in own:
            frames[piece.status] += piece.frames
        print_table(
            console,
            recording.name,
            {
                "frames": f"{recording.frames} at {recording.rate_hz:g} Hz "
                f"({recording.frames / recording.rate_hz:.1f} s)",
                "clips kept": f"{sum(p.status == KEPT for p in own)} ({frames[KEPT]} frames)",
                "clips cut": f"{sum(p.status == CUT for p in own)} ({frames[CUT]} frames)",
                "left out": f"{frames[LEFT_OUT]} frames",
                "notes": "; ".join(recording.notes) or "none",
            },
        )
    reasons = Counter(
        (piece.status, reason.partition(":")[0])
        for piece in report.pieces
        for reason in piece.reasons
    )
    if reasons:
        rows = {f"{s}: {what}": f"{n} stretches" for (s, what), n in reasons.most_common(12)}
        print_table(console, "Not kept, and why", rows)
    seconds = report.num_frames / report.rate_hz
    console.print(
        f"{report.num_clips} clips, {report.num_frames} frames, {seconds:.1f} s at "
        f"{report.rate_hz:g} Hz"
    )


def _write_report(console: Console, preprocessor: Preprocessor, output: Path) -> None:
    """Writes the account of every frame and its picture beside the output, if the options ask for them."""
    report, options = preprocessor.report, preprocessor.options
    if not options.output_config.report or not report.pieces:
        return
    base = output.with_suffix("")
    account = base.with_name(base.name + ".quality.json")
    picture = base.with_name(base.name + ".quality.png")
    try:
        with replacing(account) as partial:
            partial.write_text(json.dumps(asdict(report), indent=1))
        with replacing(picture) as partial:
            save_quality_plot(partial, report.pieces, options.quality_config)
    except UserError as error:  # the clips are written, and complete without it
        warn(console, f"no quality report: {error}")
        return
    console.print(f"quality: {account}, {picture.name}", soft_wrap=True)
