"""Where the time of an update goes on the device: a trace of JAX's profiler, summed by operation.

An operation counts as the part of the code that it was traced through: "physics", "networks", "task"
(observations, rewards, resets) or "other"; all of the gradient steps is "learning". Several that were fused
count as the one that gives the result, and one that the compiler made up counts as "other".
"""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from vnl_mjx.analysis.benchmark.scale.measuring import WARM_UP_UPDATES, Note, timed_call
from vnl_mjx.training.trainer import Trainer

NUM_LISTED = 25
_LEARNING_PROGRAM = "update"  # of `Trainer.programs`
# The first of these that is among the files that an operation was traced through says what it is.
_PARTS = {
    "physics": r"vnl_mjx/physics/|mujoco/mjx/",
    "networks": r"vnl_mjx/models/|/flax/",
    "task": r"vnl_mjx/(tasks|reference|walkers)/",
}
_NANOSECOND = 1e-9


@dataclass(frozen=True)
class Origin:
    """Where an operation of a compiled program comes from.

    Attributes:
        name: as JAX traced it.
        part: of an update.
    """

    name: str
    part: str


def profile_update(trainer: Trainer[Any], note: Note) -> None:
    """Notes "profile": the operations of one update, the longest first, and the parts' shares."""
    state = trainer.init(0)
    for _ in range(WARM_UP_UPDATES):
        state, _ = trainer.update(state)
    origins = {}
    for name, stage in trainer.programs.items():
        text = stage.text()
        part = "learning" if name == _LEARNING_PROGRAM else None
        origins[module_name(text)] = origins_of(text, part)
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            seconds, _ = timed_call(trainer.update, state)
        (file,) = Path(folder).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(file)).planes
        note("profile", {"wall_seconds": seconds} | summed(planes, origins))


def module_name(text: str) -> str:
    """Of a program, as XLA prints it."""
    found = re.match(r"HloModule ([\w.\-]+)", text)
    return found[1] if found else ""


def origins_of(text: str, part: str | None = None) -> dict[str, Origin]:
    """By the name of each operation of a program that XLA printed; all are of `part`, where that is given."""
    files = _traced_files(text)
    found = {}
    for name, metadata in re.findall(
        r"^\s*(?:ROOT )?%?([\w.\-]+) = .*metadata=\{(.*)\}", text, re.M
    ):
        traced = re.search(r'op_name="([^"]*)"', metadata)
        frame = re.search(r"stack_frame_id=(\d+)", metadata)
        source = re.search(r'source_file="([^"]*)"', metadata)
        through = files(int(frame[1])) if frame else source[1] if source else ""
        traced_name = traced[1] if traced else ""
        found[name] = Origin(traced_name, part or _part(through + "\n" + traced_name))
    return found


def _part(through: str) -> str:
    return next((name for name, files in _PARTS.items() if re.search(files, through)), "other")


def _traced_files(text: str) -> Callable[[int], str]:
    """From a stack frame of the program's tables to the files of it and of its callers, joined."""
    table = lambda pattern: {int(m[0]): m[1:] for m in re.findall(pattern, text, re.M)}  # noqa: E731
    # The table of files is before that of functions, which looks the same.
    names = dict(re.findall(r'^(\d+) "(.*)"$', text.partition("FunctionNames")[0], re.M))
    places = table(r"^(\d+) \{file_name_id=(\d+)")
    frames = table(r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?")
    known: dict[int, str] = {}

    def files(frame: int) -> str:
        if frame not in frames:
            return ""
        if frame not in known:
            place, parent = frames[frame]
            own = names.get(places[int(place)][0], "") if int(place) in places else ""
            # It prints the parent's number plus 1; a frame without parent is its own.
            above = int(parent or 0) - 1
            known[frame] = own + "\n" + (files(above) if above < frame else "")
        return known[frame]

    return files


def summed(planes: Iterable[Any], origins: dict[str, dict[str, Origin]]) -> dict[str, Any]:
    """Seconds of the operations of a trace, without those inside of them, JSON-able.

    Args:
        planes: of a `jax.profiler.ProfileData`.
        origins: by program and operation.
    """
    seconds: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    for line in _device_lines(list(planes)):
        for key, own in own_nanoseconds(_events(line)):
            seconds[key] += own * _NANOSECOND
            counts[key] += 1
    total = sum(seconds.values()) or 1.0
    parts: defaultdict[str, float] = defaultdict(float)
    rows = []
    for (module, name), spent in seconds.most_common():
        origin = origins.get(module, {}).get(name, Origin("", "other"))
        parts[origin.part] += spent / total
        rows.append(
            {
                "operation": name,
                "program": module,
                "part": origin.part,
                "traced_as": origin.name,
                "seconds": spent,
                "share": spent / total,
                "count": counts[module, name],
            }
        )
    return {"busy_seconds": total, "parts": dict(parts), "operations": rows[:NUM_LISTED]}


def _device_lines(planes: list[Any]) -> list[Any]:
    """The streams of a GPU; where there is none, every thread of the host."""
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    lines = [line for plane in devices or planes for line in plane.lines]
    streams = [line for line in lines if line.name.startswith("Stream")]
    return streams if devices and streams else lines


def _events(line: Any) -> list[tuple[float, float, tuple[str, str]]]:
    """Begin, end, (program, operation) of what a device did."""
    found = []
    for event in line.events:
        statistics = {
            name: value for name, value in event.stats if name in ("hlo_op", "hlo_module")
        }
        is_kernel = line.name.startswith("Stream")
        if "hlo_op" not in statistics and not is_kernel:
            continue
        key = (str(statistics.get("hlo_module", "")), str(statistics.get("hlo_op", event.name)))
        found.append((event.start_ns, event.start_ns + event.duration_ns, key))
    return found


def own_nanoseconds(
    events: Iterable[tuple[float, float, tuple[str, str]]],
) -> list[tuple[tuple[str, str], float]]:
    """Of events (begin, end, key) of one thread: each key with its time less that of events within it."""
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
