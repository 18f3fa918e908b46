"""`vnl-mjx clips`: cuts, selects, joins, mirrors, marks and exports clip files."""

import argparse
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vnl_mjx.clips.conditioning.mirror import Mirror
from vnl_mjx.clips.container import FEATURES, ReferenceClips, draw_held_out
from vnl_mjx.clips.exporters.dm_control import export_dm_control
from vnl_mjx.clips.exporters.track_mjx import export_all_clips, export_stac
from vnl_mjx.clips.file import POSES, write_clip_file
from vnl_mjx.clips.hdf5 import append_clips, read_clips, stored_clips, stored_metadata
from vnl_mjx.clips.operations import mirror_clips, split_into, unique_name
from vnl_mjx.clips.sources import open_recording
from vnl_mjx.commands.console import Console, warn
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_sha256
from vnl_mjx.walkers.walker import Walker

Change = Callable[[ReferenceClips], "ReferenceClips | Iterator[ReferenceClips] | None"]


def run(args: argparse.Namespace) -> int:
    """Does one operation and returns the exit status."""
    inputs: list[Path] = args.inputs if args.operation == "merge" else [args.input]
    check_output(args.output, inputs, args.overwrite)
    walker = body_of_file(inputs[0], args.mjcf, args.scale, args.root_body)
    if args.operation == "export":
        return _export(args, walker)
    return _rewrite(args, inputs, walker)


def _split(args: argparse.Namespace, walker: Walker) -> Change:
    """Cuts every clip into parts of equal length."""

    def parts(clip: ReferenceClips) -> ReferenceClips | None:
        rate = clip.rate_hz
        frames = max(round(args.seconds * rate), 1)
        least = frames if args.min_seconds is None else max(round(args.min_seconds * rate), 1)
        return split_into(clip, frames, least) if clip.num_frames >= least else None

    return parts


def _select(args: argparse.Namespace, walker: Walker) -> Change:
    """Keeps the clips that meet all given conditions."""

    def chosen(clip: ReferenceClips) -> ReferenceClips | None:
        info = clip.origins[0]
        fits = args.names is None or fnmatch.fnmatch(clip.names[0], args.names)
        fits &= args.labels is None or fnmatch.fnmatch(info.label, args.labels)
        fits &= args.which == "all" or info.held_out == (args.which == "held-out")
        return clip if fits else None

    return chosen


def _mirror(args: argparse.Namespace, walker: Walker) -> Change:
    """Adds a mirrored copy of each clip, or writes the copies alone."""
    reflection = Mirror(walker)

    def both(clip: ReferenceClips) -> Iterator[ReferenceClips]:
        if not args.only:
            yield clip
        yield mirror_clips(clip, walker, reflection)

    return both


def _hold_out(args: argparse.Namespace, walker: Walker) -> Change:
    """Marks clips, or all clips of some recordings, as held out."""
    path, patterns = args.input, args.names or ()
    with open_recording(path) as recording:
        names = recording.take_names
        # a file that does not tell where its clips are from is one recording of different clips
        unknown = [path.name if args.by == "recording" else name for name in names]
        groups = [info.group(args.by) for info in recording.info] or unknown
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"--names {pattern}: {path} has no such clip; it holds {', '.join(names)}"
            )
    if patterns:
        held_out = [any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in names]
    else:
        held_out = draw_held_out(groups, args.fraction, args.seed)
    if not any(held_out):
        raise UserError(
            f"clips hold-out: nothing can be held out of {path}: expected two or more by {args.by} and a "
            f"fraction above 0, found {len(set(groups))} and {args.fraction:g}; give --by clip, or --names"
        )
    marks = iter(held_out)

    def marked(clip: ReferenceClips) -> ReferenceClips:
        return clip.replace(info=(replace(clip.origins[0], held_out=next(marks)),))

    return marked


_CHANGES: dict[str, Callable[[argparse.Namespace, Walker], Change]] = {
    "split": _split,
    "select": _select,
    "merge": lambda args, walker: lambda clip: clip,
    "mirror": _mirror,
    "hold-out": _hold_out,
}


def _export(args: argparse.Namespace, walker: Walker) -> int:
    """Writes the layout of other software."""
    clips, output = read_clips(args.input, walker), args.output
    if args.to == "dm-control":
        names = export_dm_control(output, clips, walker, keep_walker=args.keep_walker)
        Console().print(f"{len(names)} trajectories: {output}", soft_wrap=True)
        return 0
    (export_stac if args.to == "stac" else export_all_clips)(output, clips, walker)
    Console().print(f"{clips.num_clips} clips: {output}", soft_wrap=True)
    return 0


def _rewrite(args: argparse.Namespace, paths: Sequence[Path], walker: Walker) -> int:
    """Streams the clips of `paths` through the operation into one file of our own format."""
    operation, output = args.operation, args.output
    change = _CHANGES[operation](args, walker)
    indices = args.clips if operation == "select" else None
    compact = operation == "merge" and args.compact
    rates = {path: _rate(path) for path in paths}
    if len(set(rates.values())) > 1:
        found = ", ".join(f"{path.name} {rate:g} Hz" for path, rate in rates.items())
        raise UserError(
            f"clips {operation}: expected files of one rate, found {found}; preprocess them at one"
        )
    hashes = {path: file_sha256(path) for path in paths}
    for i, path in enumerate(paths):
        if same := next((one for one in paths[:i] if hashes[one] == hashes[path]), None):
            warn(
                Console(),
                f"{same} and {path} are the same recording; its clips are in {output} twice",
            )
    metadata: dict[str, Any] = {
        "operation": operation,
        "files": [{"name": path.name, "sha256": hashes[path]} for path in paths],
        "history": [stored_metadata(path) for path in paths],
    }
    used: set[str] = set()
    renamed = _told_apart(paths, metadata["history"])
    rate, features = rates[paths[0]], POSES if compact else FEATURES
    with (
        terminate_cleanly(),
        write_clip_file(output, walker, rate, metadata, features=features) as writer,
    ):
        for path in paths:
            for clip, quality in stored_clips(path, walker, indices):
                if (new := renamed[path].get(clip.origins[0].source)) is not None:
                    clip = clip.replace(info=(replace(clip.origins[0], source=new),))
                changed = change(clip)
                if isinstance(changed, ReferenceClips):
                    changed = iter([changed])
                for clips in changed or ():
                    append_clips(writer, clips, quality, _unique(clips, used, path))
        frames = sum(row.length for row in writer.rows)
        if not writer.rows:
            raise UserError(
                f"clips {operation}: no clip of {', '.join(p.name for p in paths)} is left; nothing was "
                "written; `vnl-mjx inspect` lists the clips"
            )
    Console().print(f"{len(writer.rows)} clips, {frames} frames: {output}", soft_wrap=True)
    return 0


def _unique(clips: ReferenceClips, used: set[str], path: Path) -> list[str]:
    named = (name if name not in used else f"{path.stem}/{name}" for name in clips.names)
    return [unique_name(name, used) for name in named]


def _told_apart(
    paths: Sequence[Path], metadata: Sequence[Mapping[str, Any]]
) -> dict[Path, dict[str, str]]:
    """Returns new names of recordings that share their name with another one of unlike content, by file."""
    first: dict[str, str] = {}
    renamed: dict[Path, dict[str, str]] = {path: {} for path in paths}
    for path, recorded in zip(paths, metadata, strict=True):
        own = dict(reversed(list(_recordings(recorded))))  # the first of each name
        for name, sha256 in own.items():
            if first.setdefault(name, sha256) != sha256:
                renamed[path][name] = f"{path.stem}/{name}"
    return renamed


def _recordings(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields name and hash of every recording of a clip file, also from before it was merged or cut."""
    for recording in metadata.get("recordings", ()):
        yield recording["name"], recording["sha256"]
    for earlier in metadata.get("history", ()):
        yield from _recordings(earlier)


def _rate(path: Path) -> float:
    with open_recording(path) as recording:
        return recording.rate_hz or recording.usual_rate_hz or 0.0  # refused when it is read
