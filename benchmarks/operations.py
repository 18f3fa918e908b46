"""Where the time of an update goes: the longest operations of a trace by JAX's profiler, and shares.

    uv run python benchmarks/operations.py [--teacher] [--envs N] [--json FILE] [KEY=VALUE ...]

An operation counts as the part of the code that it was traced through: "physics", "networks", "task"
(observations, rewards, resets), "learning" (all of the compiled update) or "other". Several that were
fused count as the one that gives the result. On a CPU the calls into MuJoCo C are one operation.
"""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from floor import WARM_UP_UPDATES
from timing import exit_status, timed
from trainings import Distillation, TeacherTraining

NUM_LISTED = 25
# The first of these that is among the files that an operation was traced through says what it is.
PARTS = {
    "physics": r"vnl_mjx/physics/|mujoco/mjx/",
    "networks": r"vnl_mjx/models/|/flax/",
    "task": r"vnl_mjx/(tasks|clips|walkers)/",
}

Operation = tuple[str, str]  # program and name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", action="store_true", help="the training of a teacher")
    parser.add_argument("--envs", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    found = profile((TeacherTraining if args.teacher else Distillation)(args.overrides, args.envs))
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found["parts"].items())
    print(f"{found['wall_seconds']:.3f} s, operations {found['busy_seconds']:.3f} s: {shares}")
    for row in found["operations"]:
        line = f"{1e3 * row['seconds']:9.2f} ms {100 * row['share']:5.1f} % {row['count']:6d} x"
        print(f"{line}  {row['part']:9s} {row['operation'][:36]:36s} {row['traced_as'][-60:]}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


def profile(training: Any) -> dict[str, Any]:
    """The operations of one update, the longest first, and the parts' shares; JSON-able."""
    run = training.open()
    trainer, state = run.trainer, run.training.initial_state()
    for _ in range(WARM_UP_UPDATES):
        state, _ = trainer.update(state)
    origins: dict[Operation, tuple[str, str]] = {}
    for name, stage in trainer.programs.items():
        text = stage.text()
        module = re.match(r"HloModule ([\w.\-]+)", text)
        for operation, traced_as, part in traced(text):
            part = "learning" if name == "update" else part
            origins[module[1] if module else "", operation] = traced_as, part
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            seconds = timed(trainer.update, state)
        (file,) = Path(folder).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(file)).planes
        return {"wall_seconds": seconds, **summed(planes, origins)}


def traced(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, traced name and part of each operation of a program as XLA prints it."""
    files = _traced_files(text)
    pattern = r"^\s*(?:ROOT )?%?([\w.\-]+) = .*metadata=\{(.*)\}"
    for name, metadata in re.findall(pattern, text, re.M):
        traced_as = re.search(r'op_name="([^"]*)"', metadata)
        frame = re.search(r"stack_frame_id=(\d+)", metadata)
        traced_name = traced_as[1] if traced_as else ""
        through = files(int(frame[1])) + traced_name if frame else traced_name
        yield name, traced_name, _part(through)


def _part(through: str) -> str:
    return next((name for name, files in PARTS.items() if re.search(files, through)), "other")


def _traced_files(text: str) -> Callable[[int], str]:
    """From a stack frame of the program's tables to the files of it and of its callers, joined."""
    # The table of files is before that of functions, which looks the same.
    names = dict(re.findall(r'^(\d+) "(.*)"$', text.partition("FunctionNames")[0], re.M))
    places = dict(re.findall(r"^(\d+) \{file_name_id=(\d+)", text, re.M))
    pattern = r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?"
    frames = {int(n): (place, int(up or 0)) for n, place, up in re.findall(pattern, text, re.M)}

    def files(frame: int) -> str:
        found = []
        while frame in frames:
            place, parent = frames[frame]
            found.append(names.get(places.get(place, ""), ""))
            # It prints the parent's number plus 1; a frame without parent is its own.
            frame = parent - 1 if parent - 1 < frame else -1
        return "\n".join(found)

    return files


def summed(planes: Iterable[Any], origins: dict[Operation, tuple[str, str]]) -> dict[str, Any]:
    """Seconds of the operations of a trace, each without those inside of it; JSON-able."""
    seconds: Counter[Operation] = Counter()
    counts: Counter[Operation] = Counter()
    for line in _device_lines(list(planes)):
        for key, own in own_nanoseconds(_events(line)):
            seconds[key] += own * 1e-9
            counts[key] += 1
    total = sum(seconds.values()) or 1.0
    parts: Counter[str] = Counter()
    rows = []
    for (program, name), spent in seconds.most_common():
        traced_as, part = origins.get((program, name), ("", "other"))
        parts[part] += spent / total
        row = {"operation": name, "program": program, "part": part, "traced_as": traced_as}
        row |= {"seconds": spent, "share": spent / total, "count": counts[program, name]}
        rows.append(row)
    shares = dict(parts.most_common())
    return {"busy_seconds": total, "parts": shares, "operations": rows[:NUM_LISTED]}


def _device_lines(planes: list[Any]) -> list[Any]:
    """The streams of a GPU; where there is none, every thread of the host."""
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    lines = [line for plane in devices or planes for line in plane.lines]
    streams = [line for line in lines if line.name.startswith("Stream")]
    return streams if devices and streams else lines


def _events(line: Any) -> Iterator[tuple[float, float, Operation]]:
    """Begin, end and operation of what a device did."""
    for event in line.events:
        named = {n: str(v) for n, v in event.stats if n in ("hlo_op", "hlo_module")}
        if "hlo_op" in named or line.name.startswith("Stream"):  # a kernel
            operation = named.get("hlo_module", ""), named.get("hlo_op", event.name)
            yield event.start_ns, event.start_ns + event.duration_ns, operation


def own_nanoseconds(
    events: Iterable[tuple[float, float, Operation]],
) -> list[tuple[Operation, float]]:
    """Of the events (begin, end, key) of one thread, each key with its time less that of events within."""
    found: list[list[Any]] = []
    open_events: list[tuple[float, int]] = []  # end and row, the innermost last
    for begin, end, key in sorted(events, key=lambda event: (event[0], -event[1])):
        while open_events and open_events[-1][0] <= begin:
            open_events.pop()
        if open_events:
            found[open_events[-1][1]][1] -= min(end, open_events[-1][0]) - begin
        open_events.append((end, len(found)))
        found.append([key, end - begin])
    return [(key, own) for key, own in found]


if __name__ == "__main__":
    sys.exit(exit_status(main))
