"""`vnl-mjx clips`: clip files cut, chosen, joined, mirrored and exported."""

import argparse
import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from vnl_mjx.clips.conditioning.mirror import Mirror
from vnl_mjx.clips.container import FEATURES, ReferenceClips, draw_held_out
from vnl_mjx.clips.exporters.dm_control import export_dm_control
from vnl_mjx.clips.exporters.track_mjx import export_all_clips, export_stac
from vnl_mjx.clips.file import POSES, ClipWriter, write_clip_file
from vnl_mjx.clips.hdf5 import append_clips, read_clips, stored_clips, stored_metadata
from vnl_mjx.clips.operations import mirror_clips, split_into, unique_name
from vnl_mjx.clips.sources import open_recording
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_sha256
from vnl_mjx.walkers.walker import Walker


def run(args: argparse.Namespace) -> int:
    """Does what `data_arguments.add_clips_commands` parsed and returns the exit status."""
    inputs: list[Path] = args.inputs if args.operation == "merge" else [args.input]
    check_output(args.output, inputs, args.overwrite)
    walker = body_of_file(inputs[0], args.mjcf, args.scale, args.root_body)
    files = (inputs[0], args.output, walker)
    match args.operation:
        case "split":
            return split(*files, args.seconds, args.min_seconds)
        case "select":
            wanted = {"indices": args.clips, "names": args.names, "labels": args.labels}
            return select(*files, **wanted, which=args.which)
        case "merge":
            return merge(inputs, args.output, walker, args.compact)
        case "mirror":
            return mirror(*files, args.only)
        case "hold-out":
            if args.names is not None:
                return hold_out_named(*files, args.names)
            return hold_out(*files, args.fraction, args.by, args.seed)
        case _:
            return export(*files, args.to, args.keep_walker)


def split(
    path: Path, output: Path, walker: Walker, seconds: float, min_seconds: float | None
) -> int:
    """Cuts every clip into parts of so many seconds."""

    def parts(clip: ReferenceClips) -> ReferenceClips | None:
        rate = clip.rate_hz
        frames = max(round(seconds * rate), 1)
        least = frames if min_seconds is None else max(round(min_seconds * rate), 1)
        return split_into(clip, frames, least) if clip.num_frames >= least else None

    return _rewrite("split", [path], output, walker, parts)


def select(
    path: Path,
    output: Path,
    walker: Walker,
    *,
    indices: Sequence[int] | None,
    names: str | None,
    labels: str | None,
    which: str,
) -> int:
    """Keeps the clips that fit every condition that is given."""

    def chosen(clip: ReferenceClips) -> ReferenceClips | None:
        info = clip.origins[0]
        fits = (names is None or fnmatch.fnmatch(clip.names[0], names)) and (
            labels is None or fnmatch.fnmatch(info.label, labels)
        )
        wanted = {"all": True, "held-out": info.held_out, "train": not info.held_out}[which]
        return clip if fits and wanted else None

    return _rewrite("select", [path], output, walker, chosen, indices)


def merge(paths: Sequence[Path], output: Path, walker: Walker, compact: bool = False) -> int:
    """Writes the clips of all files to one; `compact`: their poses alone."""
    return _rewrite("merge", paths, output, walker, lambda clip: clip, compact=compact)


def mirror(path: Path, output: Path, walker: Walker, only: bool) -> int:
    """Adds each clip with left and right exchanged, or writes only those."""
    reflection = Mirror(walker)

    def both(clip: ReferenceClips) -> Iterator[ReferenceClips]:
        if not only:
            yield clip
        yield mirror_clips(clip, walker, reflection)

    return _rewrite("mirror", [path], output, walker, both)


def hold_out(path: Path, output: Path, walker: Walker, fraction: float, by: str, seed: int) -> int:
    """Marks clips, or all clips of some recordings, as held out."""
    with open_recording(path) as recording:
        # a file that does not tell where its clips are from is one recording of different clips
        unknown = [path.name if by == "recording" else name for name in recording.take_names]
        groups = [info.group(by) for info in recording.info] or unknown
    return _mark(path, output, walker, draw_held_out(groups, fraction, seed))


def hold_out_named(path: Path, output: Path, walker: Walker, patterns: Sequence[str]) -> int:
    """Marks the clips whose name matches one of the patterns as held out.

    Raises:
        UserError: a pattern matches no clip.
    """
    with open_recording(path) as recording:
        names = recording.take_names
    for pattern in patterns:
        if not any(fnmatch.fnmatch(name, pattern) for name in names):
            raise UserError(
                f"--names {pattern}: {path} has no such clip; it holds {', '.join(names)}"
            )
    held_out = [any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in names]
    return _mark(path, output, walker, held_out)


def _mark(path: Path, output: Path, walker: Walker, held_out: Sequence[bool]) -> int:
    marks = iter(held_out)

    def marked(clip: ReferenceClips) -> ReferenceClips:
        return clip.replace(info=(replace(clip.origins[0], held_out=next(marks)),))

    return _rewrite("hold-out", [path], output, walker, marked)


def export(path: Path, output: Path, walker: Walker, kind: str, keep_walker: bool) -> int:
    """Writes the layout of other software."""
    clips = read_clips(path, walker)
    if kind == "dm-control":
        names = export_dm_control(output, clips, walker, keep_walker=keep_walker)
        Console().print(f"{len(names)} trajectories: {output}", soft_wrap=True)
        return 0
    export_as = export_stac if kind == "stac" else export_all_clips
    export_as(output, clips, walker)
    Console().print(f"{clips.num_clips} clips: {output}", soft_wrap=True)
    return 0


Change = Callable[[ReferenceClips], "ReferenceClips | Iterator[ReferenceClips] | None"]


def _rewrite(
    operation: str,
    paths: Sequence[Path],
    output: Path,
    walker: Walker,
    change: Change,
    indices: Sequence[int] | None = None,
    compact: bool = False,
) -> int:
    """Streams the clips of `paths` through `change` into one file of our own format."""
    features = POSES if compact else FEATURES
    rates = {path: _rate(path) for path in paths}
    if len(set(rates.values())) > 1:
        found = ", ".join(f"{path.name} {rate:g} Hz" for path, rate in rates.items())
        raise UserError(
            f"clips {operation}: expected files of one rate, found {found}; preprocess them at one"
        )
    metadata: dict[str, Any] = {
        "operation": operation,
        "files": [{"name": path.name, "sha256": file_sha256(path)} for path in paths],
        "history": [stored_metadata(path) for path in paths],
    }
    used: set[str] = set()
    with (
        terminate_cleanly(),
        write_clip_file(
            output, walker, next(iter(rates.values())), metadata, features=features
        ) as writer,
    ):
        for path in paths:
            for clip, quality in stored_clips(path, walker, indices):
                changed = change(clip)
                if isinstance(changed, ReferenceClips):
                    changed = iter([changed])
                for clips in changed or ():
                    append_clips(writer, clips, quality, _unique(clips, used, path))
        frames = sum(row.length for row in writer.rows)
        _check_any(writer, operation, paths)
    Console().print(f"{len(writer.rows)} clips, {frames} frames: {output}", soft_wrap=True)
    return 0


def _unique(clips: ReferenceClips, used: set[str], path: Path) -> list[str]:
    named = (name if name not in used else f"{path.stem}/{name}" for name in clips.names)
    return [unique_name(name, used) for name in named]


def _check_any(writer: ClipWriter, operation: str, paths: Sequence[Path]) -> None:
    if not writer.rows:
        raise UserError(
            f"clips {operation}: no clip of {', '.join(p.name for p in paths)} is left; nothing was "
            "written; `vnl-mjx inspect` lists the clips"
        )


def _rate(path: Path) -> float:
    with open_recording(path) as recording:
        return recording.rate_hz or recording.usual_rate_hz or 0.0  # refused when it is read
