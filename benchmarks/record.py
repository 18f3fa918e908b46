"""How fast and in how much memory a long session is recorded, against the plain evaluation in the same run.

    uv run python benchmarks/record.py [CHECKPOINT] [--seconds 3600] [--clips FILE] [--gaps]
    uv run python benchmarks/record.py --runs

The session repeats the clips one after another; each begins where the one before it ended, so that the body
is carried on, or with --gaps some seconds later. The evaluation runs as many environments on the same session
without writing anything. Both rates leave compiling out.

--runs instead records four walking clips in one batch, again, one after another, and in pieces, and says how
far apart the bodies are.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sessions import stitched
from timing import cpu_seconds, exit_status, machine, peak_memory_mb

from vnl_mjx.activity.file import GROUPS, open_activity_file
from vnl_mjx.activity.record import Recorder, RecordOptions
from vnl_mjx.clips.container import FEATURES, ReferenceClips
from vnl_mjx.commands.neural.record import Recordable, load_recordable
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.demo import DEMO_CLIPS, DEMO_STUDENT
from vnl_mjx.evaluation.rollout import EpisodeRunner
from vnl_mjx.files import write_json

GAP_S = 2.0
WALKING = ("walk_slow", "walk_medium", "walk_fast", "trot_slow")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("checkpoint", type=Path, nargs="?", default=DEMO_STUDENT)
    add("--clips", type=Path, default=DEMO_CLIPS)
    add("--seconds", type=float, default=3600.0)
    add("--pieces", type=int, default=64)
    add("--samples", type=int, default=0)
    add("--only", nargs="+", choices=GROUPS, default=GROUPS)
    add("--float16", action="store_true")
    add("--gaps", action="store_true")
    add("--evaluated-steps", type=int, default=250)
    add("--json", type=Path)
    add("--runs", action="store_true")
    args = parser.parse_args()
    prepare_jax()
    if args.runs:
        return compare_runs(load_recordable(args.checkpoint, args.clips))
    found = load_recordable(args.checkpoint, args.clips, samples=args.samples)
    session = stitched(found.clips, found.task.walker, args.seconds, GAP_S * args.gaps)
    forget_peak()
    recorded = record_rates(found, session, args)
    peak = peak_memory_mb()["host"]
    evaluated = evaluation_rates(found, session, args.pieces, args.evaluated_steps)
    document = {
        "recorded": recorded,
        "evaluated": evaluated,
        "ratio": {key: recorded[key] / evaluated[key] for key in ("rows_per_s", "rows_per_cpu_s")},
        "peak_mb_of_recording": peak,
        "clips_mb": sum(np.asarray(getattr(session, name)).nbytes for name in FEATURES) / 1e6,
        "environments": args.pieces,
        "machine": machine(),
    }
    for name, value in document.items():
        print(f"{name}: {value}")
    if args.json is not None:
        write_json(args.json, document)


def forget_peak() -> None:
    """Lets Linux count the most memory of this process anew."""
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5")


def rates(rows: int, began: tuple[float, float]) -> dict[str, float]:
    """Rows per second of time and of this process's processor time since `began`, of the same two clocks."""
    seconds, cpu = (now - then for now, then in zip(clocks(), began, strict=True))
    return {"rows": rows, "rows_per_s": rows / seconds, "rows_per_cpu_s": rows / cpu}


def clocks() -> tuple[float, float]:
    """Time and processor time, s."""
    return time.perf_counter(), cpu_seconds()


def compare_runs(found: Recordable) -> None:
    """Prints how far runs that differ in their pieces are apart, mm of the root's position."""
    clips = found.clips.select([i for i, n in enumerate(found.clips.names) if n in WALKING])

    def run(pieces: int, warm_up_s: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        options = RecordOptions(
            pieces=pieces, warm_up_s=warm_up_s, groups=("kinematics", "tracking")
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.h5"
            Recorder(found.task, options).write(path, found.policy, clips)
            with open_activity_file(path) as file:
                place = 1e3 * file.read("kinematics/qpos")[:, :3]
                return place, file.read("tracking/errors")[:, 0], np.flatnonzero(file.rows.start)

    together, error, starts = run(clips.num_clips)
    print(f"{clips.num_clips} clips in one batch: root error {error.mean():.2f} mm")
    for name, pieces, warm_up_s in (
        ("again", clips.num_clips, 0.0),
        ("one after another", 1, 0.0),
        ("in pieces, warmed up for 0.2 s", 4 * clips.num_clips, 0.2),
        ("in pieces, warmed up for 0.5 s", 4 * clips.num_clips, 0.5),
        ("in pieces, warmed up for 1 s", 4 * clips.num_clips, 1.0),
    ):
        place, error, _ = run(pieces, warm_up_s)
        apart = np.linalg.norm(place - together, axis=1)
        since = {row: np.median(apart[starts[:-1] + row]) for row in (0, 2, 5, 10, 25, 50)}
        rows = ", ".join(f"{row}: {mm:.2f}" for row, mm in since.items())
        print(
            f"{name}: root error {error.mean():.2f} mm, apart {apart.mean():.2f} mm; by row {rows}"
        )


def evaluation_rates(
    found: Recordable, session: ReferenceClips, num_envs: int, num_steps: int
) -> dict[str, float]:
    """Rates of a plain evaluation's control steps, compiled before."""
    stretches = Recorder(found.task, RecordOptions(pieces=num_envs)).plan(session).stretches
    runner = EpisodeRunner(found.task)
    episodes, policy = runner.draw(stretches, num_envs, 0), found.policy.policy
    runner.run(policy, stretches, episodes, 0, num_steps=25)
    began = clocks()
    played = runner.run(policy, stretches, episodes, 0, num_steps=num_steps)
    return rates(played.steps.alive.size, began)


def record_rates(
    found: Recordable, session: ReferenceClips, args: argparse.Namespace
) -> dict[str, float]:
    """Rates of the rows after the first part, and the file's 10^6 bytes."""
    options = RecordOptions(pieces=args.pieces, groups=tuple(args.only), float16=args.float16)
    recorder, marks = Recorder(found.task, options), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.h5"
        recorded = recorder.write(
            path, found.policy, session, {}, lambda done, _: marks.append((done, clocks()))
        )
        done, began = marks[0]
        result = rates(recorded.rows.num_rows - done, began)
        return result | {"falls": recorded.falls, "file_mb": path.stat().st_size / 1e6}


if __name__ == "__main__":
    sys.exit(exit_status(main))
