"""Kills, stops, starves and damages small trainings, and checks that nothing is lost.

    uv run python benchmarks/fault_drill.py [DRILL ...] [--kills 50] [--kinds distill,...] [--json FILE]

Each drill compares with a run that nothing disturbed: the last training state bit for bit and, where the
faults leave no trace of their own, the rows of the log.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import full_disk
from drill_runs import (
    KINDS,
    Child,
    Found,
    ToyRuns,
    import_all,
    in_child,
    is_writing,
    last_lines,
    steps_in,
)
from drill_surroundings import clock, disk, disk_sizes, disk_writes, environment, slurm

SIGNAL_LIMIT_S = 20  # from SIGTERM to the end, on a busy machine


class Drill:
    """Holds what all drills share: the toy runs, the undisturbed ones, and the random numbers."""

    def __init__(self, runs: ToyRuns, seed: int):
        self.runs, self.random = runs, random.Random(seed)
        self._typical_s: dict[str, float] = {}

    def whole(self, kind: str) -> Path:
        """Returns the folder of an undisturbed run."""
        folder = self.runs.work / f"whole-{kind}"
        if not (folder / "eval" / "metrics.json").exists():
            child = self.runs.start(kind, folder)
            if child.wait() != 0:
                raise SystemExit(f"the undisturbed {kind} failed: {child.output}")
        return folder

    def finish(self, found: Found, kind: str, run_dir: Path, rows_too: bool = True) -> None:
        """Lets a run go to its end and compares it with the undisturbed one."""
        child = self.runs.start(kind, run_dir)
        if child.wait() != 0:
            found.fault(f"cannot be resumed: {last_lines(child)}")
        self.compare(found, kind, run_dir, rows_too)

    def compare(self, found: Found, kind: str, run_dir: Path, rows_too: bool = True) -> None:
        """Compares a finished run with the undisturbed one."""
        found.counts["runs compared"] += 1
        for difference in self.runs.differences(self.whole(kind), run_dir, rows_too):
            found.fault(f"{run_dir.name}: {difference}")

    def at_random(self, child: Child, run_dir: Path, aim: str | None) -> None:
        """Waits for a random moment: of the phase `aim`, or of a start and some more."""
        if aim is None:
            seconds = self.random.uniform(0, 1.2 * self._typical_s.get(child.log.name[5:], 15.0))
            child.wait_for(lambda: time.monotonic() > child.started + seconds)
            return
        if aim == "writing":
            child.wait_for(lambda: is_writing(run_dir))
        else:
            child.wait_for(lambda: child.phase == aim)
        longest = 2.0 if aim == "compiling" else 0.1
        until = time.monotonic() + self.random.uniform(0, longest)
        child.wait_for(lambda: time.monotonic() > until)

    def disturb(
        self, found: Found, kind: str, run_dir: Path, number: int, aim: str | None
    ) -> Child:
        """Starts a training and sends it a signal at a random moment; counts the phase."""
        before = steps_in(run_dir)[-1:]
        child = self.runs.start(kind, run_dir)
        self.at_random(child, run_dir, aim)
        phase = "writing in the background" if is_writing(run_dir) else child.phase
        child.send(number)
        sent = time.monotonic()
        if child.wait(120) is None:
            found.fault(f"120 s after signal {number} in phase {phase} it still ran")
        if phase == "update":
            self._typical_s[child.log.name[5:]] = sent - child.started
        found.counts["longest ms to the end"] = max(
            found.counts["longest ms to the end"], round(1e3 * (time.monotonic() - sent))
        )
        ended_before = child.status == 0 and "stopped by" not in child.output
        found.made("after its end" if ended_before else phase)
        after = steps_in(run_dir)[-1:]
        found.counts["with a new checkpoint"] += after > before
        found.expect(after >= before, f"checkpoint {before} is gone, the newest is {after}")
        print(f"  {found.name} {found.attempts}: {phase}, newest checkpoint {after}", flush=True)
        return child


def kills(drill: Drill, kind: str, count: int) -> Found:
    """SIGKILL at random moments."""
    found, run_dir, round_ = Found(f"kills {kind}"), drill.runs.work / f"killed-{kind}-0", 0
    aims = (None, "writing", "update", "evaluation", "checkpoint", None, "compiling", "update")
    for i in range(count):
        aim = "conclusion" if i >= count - 2 else aims[i % len(aims)]
        drill.disturb(found, kind, run_dir, signal.SIGKILL, aim)
        if (run_dir / "eval" / "metrics.json").exists() and i < count - 2:
            drill.finish(found, kind, run_dir)
            round_ += 1
            run_dir = drill.runs.work / f"killed-{kind}-{round_}"
    drill.finish(found, kind, run_dir)
    return found


def signals(drill: Drill, kind: str, count: int) -> Found:
    """SIGTERM at random moments: out within seconds, with status 0 once it can save."""
    found, run_dir = Found(f"signals {kind}"), drill.runs.work / f"stopped-{kind}"
    aims = ("update", "evaluation", None, "writing", "checkpoint", "conclusion")
    for i in range(count):
        child = drill.disturb(found, kind, run_dir, signal.SIGTERM, aims[i % len(aims)])
        early = child.status == -signal.SIGTERM and child.phase == "start"
        found.counts["before it can save"] += early
        output = child.output
        found.expect(early or child.status == 0, f"status {child.status}: {last_lines(child)}")
        found.expect("Traceback" not in output, f"traceback: {last_lines(child)}")
        if (run_dir / "eval" / "metrics.json").exists():
            break
    longest = found.counts["longest ms to the end"]
    found.expect(longest < 1e3 * SIGNAL_LIMIT_S, f"{longest} ms from SIGTERM to the end")
    drill.finish(found, kind, run_dir, rows_too=False)
    return found


def one_writer(drill: Drill, kind: str, count: int) -> Found:
    """A second training in the same folder is refused in one line, and the first one is unharmed."""
    found, run_dir = Found(f"one_writer {kind}"), drill.runs.work / f"shared-{kind}"
    first = drill.runs.start(kind, run_dir)
    for _ in range(min(count, 3)):
        first.wait_for(lambda: first.phase in ("compiling", "update"))
        second = drill.runs.start(kind, run_dir)
        status = second.wait()
        if first.has_ended():
            break
        found.made("second trainings")
        said = second.output.strip()
        is_refused = status == 2 and "another training is writing to" in said
        found.expect(is_refused and "\n" not in said, f"status {status}: {last_lines(second)}")
    found.expect(first.wait() == 0, f"the first one ended with {first.status}")
    drill.compare(found, kind, run_dir)
    return found


def damage(drill: Drill, kind: str, count: int) -> Found:
    """Files of the newest checkpoint truncated, zeroed, with a flipped byte, or removed."""
    found, whole = Found(f"damage {kind}"), drill.whole(kind)
    newest = whole / "checkpoints" / str(steps_in(whole)[-1])
    parts = sorted(newest.iterdir())
    for i in range(count):
        run_dir = drill.runs.work / f"damaged-{kind}-{i}"
        shutil.copytree(whole, run_dir)
        part = run_dir / "checkpoints" / newest.name / parts[i % len(parts)].name
        files = sorted(p for p in part.rglob("*") if p.is_file()) or [part]
        file, way = drill.random.choice(files), list(_DAMAGES)[i % len(_DAMAGES)]
        file.write_bytes(_DAMAGES[way](file.read_bytes(), drill.random))
        if way == "removed":
            file.unlink()
        found.made(way)
        what = f"{file.relative_to(run_dir)} {way}"
        described = drill.runs.command("inspect", run_dir)
        resumed = drill.runs.start(kind, run_dir)
        for child, name in ((described, "inspect"), (resumed, "resuming")):
            status = child.wait()
            found.expect(status == 0, f"{what}: {name}: {status}: {last_lines(child)}")
            is_said = "damaged" in child.output
            found.counts[f"said by {name}"] += is_said
        drill.compare(found, kind, run_dir, rows_too=False)
        shutil.rmtree(run_dir)
    return found


def files(drill: Drill, kind: str, count: int) -> Found:
    """Every file of the newest checkpoint damaged in every way; what resuming and loading then read."""
    found = Found("files")
    if kind != "distill":  # the same for all
        return found
    counts, faults = in_child(
        lambda: _damage_every_file(drill.runs.work / "files"), drill.runs.log("files")
    )
    found.counts.update(counts)
    found.attempts = found.counts["damaged files"]
    for fault in faults:
        found.fault(fault)
    return found


def _damage_every_file(work: Path) -> tuple[dict[str, int], list[str]]:
    import numpy as np

    from vnl_mjx.utils.vae_checkpointing import open_vae_checkpointer

    def tree(step: int) -> dict[str, Any]:
        return {"a": np.full((40, 40), step, np.float32), "b": np.arange(step, step + 5)}

    whole, run_dir, counts, faults = work / "whole", work / "run", Counter(), []
    with closing(open_vae_checkpointer(whole)) as checkpointer:
        for step in (32, 64):
            items = {"student": tree(step), "teacher": tree(1)}
            checkpointer.save(step, tree(step), {"config": {}}, metric=step, items=items)
            checkpointer.wait()
            checkpointer.rank(step, -step)
    newest = whole / "checkpoints" / "64"
    for file in sorted(p.relative_to(whole) for p in newest.rglob("*") if p.is_file()):
        for way, damaged in _DAMAGES.items():
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(whole, run_dir)
            (run_dir / file).write_bytes(damaged((run_dir / file).read_bytes(), random.Random(0)))
            if way == "removed":
                (run_dir / file).unlink()
            counts["damaged files"] += 1
            try:
                with closing(open_vae_checkpointer(run_dir)) as checkpointer:
                    step = checkpointer.latest_step()
                    state = checkpointer.restore(tree(step), step)
                    is_whole = all(np.array_equal(state[k], v) for k, v in tree(step).items())
                    items = {"student": tree(96), "teacher": tree(1)}
                    checkpointer.save(96, tree(96), {"config": {}}, metric=96, items=items)
                counts[f"resumed at {step}"] += 1
                if not is_whole or steps_in(run_dir)[-1] != 96:
                    faults.append(
                        f"{file} {way}: other numbers of step {step}, {steps_in(run_dir)}"
                    )
            except Exception as error:
                faults.append(f"{file} {way}: {type(error).__name__}: {str(error)[:200]}")
    return dict(counts), faults


def _flipped(data: bytes, generator: random.Random) -> bytes:
    where = generator.randrange(max(1, len(data)))
    return data[:where] + bytes(b ^ 255 for b in data[where : where + 1]) + data[where + 1 :]


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": _flipped,
    "truncated": lambda data, _: data[: len(data) // 2],
    "zeroed": lambda data, _: bytes(len(data)),
    "removed": lambda data, _: data,
}
DRILLS: dict[str, Callable[[Drill, str, int], Found]] = {
    "kills": kills,
    "signals": signals,
    "slurm": slurm,
    "disk": disk,
    "disk_sizes": disk_sizes,
    "disk_writes": disk_writes,
    "files": files,
    "damage": damage,
    "one_writer": one_writer,
    "clock": clock,
    "environment": environment,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "drills", nargs="*", metavar="DRILL", help=f"default: all of {', '.join(DRILLS)}"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="trainings, with commas between")
    parser.add_argument("--kills", type=int, default=50, help="in one training of each kind")
    parser.add_argument("--times", type=int, default=12, help="attempts of every other drill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, help="folder for the runs, kept; default: a temporary one"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.drills) - set(DRILLS) | set(options.kinds.split(",")) - set(KINDS):
        parser.error(
            f"expected drills {', '.join(DRILLS)} and kinds {', '.join(KINDS)}, found {unknown}"
        )
    if "disk_writes" in (options.drills or DRILLS):
        full_disk.preload()
    work = options.work or Path(tempfile.mkdtemp(prefix="drill-"))
    import_all()
    results = []
    try:
        drill = Drill(ToyRuns(work, max(6, options.kills), options.kinds.split(",")), options.seed)
        for name in options.drills or DRILLS:
            for kind in options.kinds.split(","):
                count = options.kills if name == "kills" else options.times
                started = time.monotonic()
                results.append(DRILLS[name](drill, kind, count))
                show(results[-1], time.monotonic() - started)
                if options.json:
                    rows = [vars(found) for found in results]
                    options.json.write_text(json.dumps(rows, indent=2))
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return int(any(found.faults for found in results))


def show(found: Found, seconds: float) -> None:
    """Prints one line on a drill, and one for each note."""
    counts = ", ".join(f"{name} {number}" for name, number in found.counts.items())
    print(
        f"{found.name}: {found.attempts} attempts, {len(found.faults)} faults, {seconds:.0f} s; {counts}"
    )
    for note in found.notes:
        print(f"  {note}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
