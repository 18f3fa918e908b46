"""`vnl-mjx eval`: a stored student against its teacher, and a report of it."""

import contextlib
import tempfile
import time
from pathlib import Path

from rich.console import Console

from vnl_mjx.commands import tables
from vnl_mjx.commands.evaluate import report_tables
from vnl_mjx.commands.evaluate.evaluated import Evaluated, load_evaluated
from vnl_mjx.commands.evaluate.evaluation_run import EvaluationRun
from vnl_mjx.commands.interrupts import terminate_cleanly
from vnl_mjx.commands.progress import frame_progress
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering.video_queue import DrawnVideos, VideoQueue

REPORT_FOLDER = "report"
NO_VIDEOS_ASKED = "Left out: video_config.num_clips is 0."


def run(config: EvaluationConfig) -> int:
    """Plays, measures, draws, writes the report and prints the figures. Returns the exit status.

    Raises:
        UserError: the checkpoint or the clips are missing, damaged or do not fit each other, or the
            report cannot be written.
    """
    started, console = time.perf_counter(), Console()
    prepare_jax(config.device, config.matmul_precision)
    evaluated = load_evaluated(config)
    folder = Path(config.output_dir or evaluated.stored.run_dir / REPORT_FOLDER).expanduser()
    _check_writable(folder)  # now, and not after minutes of work
    _introduce(evaluated, console)
    evaluation = EvaluationRun(config, evaluated, console)
    with terminate_cleanly(), _video_queue(config, evaluated) as queue:
        evaluation.play()
        if queue is not None:
            evaluation.draw_clips(queue, folder)
        evaluation.measure()
        if queue is not None:
            evaluation.draw_latent(queue, folder)
        document = evaluation.assemble(time.perf_counter() - started)
        drawn = DrawnVideos([], [NO_VIDEOS_ASKED])
        if queue is not None:
            with frame_progress(console, "videos") as progress:
                drawn = queue.finish(lambda done, total: progress("drawing", done, total))
        page = evaluation.write(folder, document, drawn.videos, " ".join(drawn.errors))
    for error in drawn.errors if queue is not None else ():
        tables.warn(console, error)
    report_tables.print_document(console, document)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    return 0


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"output_dir: cannot write to {folder} ({error.strerror}); choose another output_dir"
        ) from error


def _video_queue(
    config: EvaluationConfig, evaluated: Evaluated
) -> contextlib.AbstractContextManager[VideoQueue | None]:
    """Starts looking for a way to draw at once; None where no video is wanted."""
    if not config.video_config.num_clips:
        return contextlib.nullcontext()
    return VideoQueue(evaluated.stored.walker.config)


def _introduce(evaluated: Evaluated, console: Console) -> None:
    stored, clips = evaluated.stored, evaluated.clips
    console.print(
        f"student: {stored.loaded.path} at {stored.loaded.env_steps:,} environment steps",
        soft_wrap=True,
    )
    counts = {name: evaluated.sets.count(name) for name in ("train", "held_out", "other")}
    found = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n)
    console.print(f"clips: {clips.num_clips} of {clips.source} ({found})", soft_wrap=True)
    if not stored.same_clips:
        tables.warn(console, "these are not the clips of the run")
