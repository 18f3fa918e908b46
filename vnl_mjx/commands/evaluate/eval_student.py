"""`vnl-mjx eval`: compares a stored student with its teacher and writes a report."""

import contextlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from vnl_mjx.commands.console import Console, frame_progress, warn
from vnl_mjx.commands.evaluate.evaluation_run import EvaluationRun
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.files import check_writable
from vnl_mjx.report.document import metric_label, metrics_of
from vnl_mjx.report.rendering.video_queue import VideoQueue
from vnl_mjx.report.verdicts import MET, MISSED, NOT_JUDGED, tiles, verdict_line

REPORT_FOLDER = "report"
NO_VIDEOS_ASKED = "Left out: video_config.num_clips is 0."
_SHOWN = (
    "episode_reward",
    "reward_fraction",
    "completed_fraction",
    "survival",
    "success",
    "root_error_mm",
    "root_angle_deg",
    "joint_error_rad",
    "mpjpe_root_relative_mm",
    "foot_slip_mm_per_s",
)
_MARKS = {MET: "met", MISSED: "NOT met", NOT_JUDGED: "not judged"}


def run(config: EvaluationConfig) -> int:
    """Runs the episodes, measures, writes the report and prints the metrics. Returns the exit status."""
    started, console = time.perf_counter(), Console()
    prepare_jax(config.device, config.matmul_precision)
    evaluation = EvaluationRun(config, console)
    folder = Path(config.output_dir or evaluation.stored.run_dir / REPORT_FOLDER).expanduser()
    check_writable(folder, "output_dir")  # checked now, not after minutes of work
    _introduce(evaluation, console)
    draws = config.video_config.num_clips > 0
    # starts probing for a renderer at once; a software renderer keeps one core busy per process
    queued = VideoQueue(evaluation.walker.config, 2) if draws else contextlib.nullcontext()
    with terminate_cleanly(), queued as queue:
        evaluation.play()
        if queue is not None:
            evaluation.draw_clips(queue, folder)
        evaluation.measure()
        if queue is not None:
            evaluation.draw_latent(queue, folder)
        document = evaluation.assemble(time.perf_counter() - started)
        videos, errors = {}, []
        if queue is not None:
            with frame_progress(console, "videos") as progress:
                videos, errors = queue.finish(partial(progress, "drawing"))
        no_videos = NO_VIDEOS_ASKED if queue is None else " ".join(errors)
        page = evaluation.write(folder, document, videos, no_videos)
    for error in errors:
        warn(console, error)
    _print_document(console, document)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    return 0


def _introduce(evaluation: EvaluationRun, console: Console) -> None:
    stored, clips = evaluation.stored, evaluation.clips
    loaded = stored.loaded
    console.print(f"student: {loaded.path}{loaded.at_steps}", soft_wrap=True)
    if loaded.is_own_teacher:
        warn(console, "the checkpoint holds no teacher: the student's own networks stand in for it")
    counts = {name: evaluation.clip_sets.count(name) for name in ("train", "held_out", "other")}
    found = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n)
    console.print(f"clips: {clips.num_clips} of {clips.source} ({found})", soft_wrap=True)
    if not stored.same_clips:
        warn(console, "the student was not trained on these clips")


def _print_document(console: Console, document: Mapping[str, Any]) -> None:
    """Prints metrics side by side, the targets, and the alarms."""
    console.print(_means(document))
    table = Table(title="What decides", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    shown = tiles(document)
    for tile in shown:
        verdict = _MARKS.get(tile.verdict, "")
        parts = (tile.value, tile.detail, tile.target and f"({tile.target})", verdict)
        table.add_row(tile.label, "  ".join(part for part in parts if part))
    console.print(table)
    console.print(verdict_line(shown))
    for alarm in document["alarms"]:
        warn(console, f"{alarm['what']}: {alarm['found']}. {alarm['change']}")


def _means(document: Mapping[str, Any]) -> Table:
    policies = list(document["policies"])
    columns = {policy: metrics_of(document, policy, "all") for policy in policies}
    held_out = {p: metrics_of(document, p, "held_out") for p in policies}
    if all(held_out.values()):
        columns |= {f"{policy}, held out": found for policy, found in held_out.items()}
    table = Table("", title="Means over episodes", title_justify="left")
    for head in columns:
        table.add_column(head, justify="right")
    for name in _SHOWN:
        means = [(found.get(name) or {}).get("mean") for found in columns.values()]
        cells = ("" if mean is None else f"{mean:.4g}" for mean in means)
        table.add_row(metric_label(document, name), *cells)
    return table
