"""`vnl-mjx demo`: shows the bundled teacher, distils a student and writes the report, by other commands."""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vnl_mjx.commands.console import Console, warn
from vnl_mjx.commands.evaluate.eval_student import REPORT_FOLDER
from vnl_mjx.commands.output import TERMINATED_EXIT_STATUS, as_typed
from vnl_mjx.demo import DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.files import make_writable
from vnl_mjx.report.rendering.gl import choose_backend

QUICK_STEPS = 25_600
_WHAT_NEXT = """\
the report: {page} (open it in a browser)

what next:
  vnl-mjx view {run} --browser        watch the student; needs the extra `viewer`
  vnl-mjx distill CKPT CLIPS.h5       your own track-mjx teacher
  vnl-mjx preprocess RECORDING clips.h5   your own motion capture
  vnl-mjx train-teacher clips.h5"""


@dataclass(frozen=True)
class DemoStep:
    """Holds one command, `words` after `vnl-mjx`; skipped if it needs GL and nothing can render.

    A training that SIGTERM stopped also returns 0, so `leaves` names a file that only a finished one writes.
    """

    title: str
    words: tuple[str, ...]
    needs_gl: bool = False
    leaves: Path | None = None


def steps(run_dir: Path, quick: bool) -> list[DemoStep]:
    """Returns the steps of the demonstration, in order."""
    teacher, run = _shown(DEMO_TEACHER), str(run_dir)
    film = str(run_dir / "teacher.mp4")
    look = ("--seconds", "2", "--size", "480x240", "--output", film)
    video = ("view", teacher, "--clip", "walk_fast", *look)
    distil = ("distill", f"run_dir={run}", "eval_config.num_episodes=6")
    if quick:
        distil += (f"training_config.num_steps={QUICK_STEPS}",)
    modes = "prior_config.modes=[learned,random_latent,zero_action]"
    evaluate = ("eval", run, "eval_config.acting=deterministic", modes)
    if quick:
        evaluate += (
            "eval_config.starts_per_clip=1",
            "prior_config.seconds=4",
            "latent_config.num_traversals=0",
            "latent_config.interpolate=false",
            "latent_config.umap=false",
            "video_config.num_clips=1",
        )
    else:
        # On a CPU, videos take most of an evaluation's time.
        evaluate += ("video_config.num_clips=2", "latent_config.num_traversals=1")
    return [
        DemoStep("the bundled teacher", ("inspect", teacher)),
        *([] if quick else [DemoStep("the teacher on a clip", video, needs_gl=True)]),
        DemoStep(
            "train a student from the teacher", distil, leaves=run_dir / "eval" / "metrics.json"
        ),
        DemoStep("evaluate student, teacher and prior", evaluate),
    ]


def run(run_dir: Path, quick: bool, command: Callable[[Sequence[str]], int]) -> int:
    """Runs each step by `command` and returns the exit status; resumes a stopped run."""
    console, started = Console(), time.perf_counter()
    todo = steps(run_dir, quick)
    can_draw = True
    try:
        choose_backend()
    except UserError as error:
        can_draw = False
        warn(console, f"pictures of the body are left out: {error}")
    make_writable(run_dir, "--run-dir")
    for number, step in enumerate(todo, start=1):
        console.rule(f"{number}/{len(todo)}: {step.title}")
        if step.needs_gl and not can_draw:
            console.print("skipped: this machine cannot render")
            continue
        line = as_typed(f"$ vnl-mjx {shlex.join(step.words)}")
        console.print(line, soft_wrap=True, highlight=False, markup=False)
        if status := command(step.words):
            return status
        if step.leaves is not None and not step.leaves.is_file():
            console.print("stopped; run the same command again to continue")
            return TERMINATED_EXIT_STATUS
    console.rule(f"done in {time.perf_counter() - started:.0f} s")
    text = _WHAT_NEXT.format(run=run_dir, page=run_dir / REPORT_FOLDER / "report.html")
    console.print(as_typed(text), soft_wrap=True, highlight=False, markup=False)
    return 0


def _shown(path: Path) -> str:
    """Returns a path as a user in this folder would write it."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
