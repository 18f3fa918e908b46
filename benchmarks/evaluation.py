"""How close an evaluation comes to what the physics alone takes, and how often it compiles.

    uv run python benchmarks/evaluation.py RUN [--starts-per-clip 2] [--repetitions 5]

RUN is a finished distillation. Student and teacher play its clips; the floor is the time spent inside
`mujoco.batch` meanwhile (with its copies in and out), measured in the same run.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np
from timing import exit_status

from vnl_mjx.commands.stored import load_stored_student
from vnl_mjx.evaluation.protocol import DETERMINISTIC, PolicyEvaluator, student_and_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--starts-per-clip", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    stored = load_stored_student(str(args.run))
    loaded, physics = stored.loaded, stored.task.physics
    evaluator = PolicyEvaluator()
    both = student_and_teacher(stored.task, loaded.student, loaded.params, loaded.teacher)
    num_episodes = stored.clips.num_clips * args.starts_per_clip

    def evaluate() -> tuple[int, float, float]:
        busy, started = physics.busy_seconds, time.perf_counter()
        found = evaluator.run(both, stored.clips, num_episodes, (DETERMINISTIC,))
        seconds = time.perf_counter() - started
        steps = sum(r.steps.alive.size for ways in found.values() for r in ways.values())
        return steps, seconds, physics.busy_seconds - busy

    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: name.endswith("backend_compile_duration") and compiled.append(name)
    )
    _, first, _ = evaluate()
    compiled.clear()
    rows = np.array([evaluate() for _ in range(args.repetitions)])
    steps, seconds, busy = rows.T
    print(f"{num_episodes} episodes each of student and teacher, {steps[0]:,.0f} steps")
    print(f"first, with compiling: {first:.1f} s; then {np.median(seconds):.1f} s")
    for name, values, spec in (
        ("control steps/s", steps / seconds, ",.0f"),
        ("physics / end to end", busy / seconds, ".3f"),
    ):
        low, high = (format(value, spec) for value in (values.min(), values.max()))
        print(f"{name}: {format(np.median(values), spec)} ({low}-{high})")
    print(f"programs compiled after the first: {len(compiled)}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
