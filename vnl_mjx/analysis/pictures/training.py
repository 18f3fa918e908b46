"""First pictures of a run: training curves, the latent in two dimensions, KL per dimension."""

import json
from pathlib import Path

import matplotlib
import matplotlib.backends.backend_agg
import matplotlib.figure
import numpy as np
from matplotlib import ticker

from vnl_mjx.analysis.evaluation.comparison import Comparison
from vnl_mjx.gaussians import kl_divergence
from vnl_mjx.reference.clips import ReferenceClips

_STUDENT_CURVES = {
    "loss/action_mse": "action MSE",
    "loss/kl": "KL(posterior || prior), nats",
    "latent/active_units": "active units",
    "rollout/reward_per_step": "reward per step",
    "episode/steps": "episode length, control steps",
    "time/env_steps_per_second": "environment steps per second",
}
_TEACHER_CURVES = {
    "rollout/reward_fraction": "imitation reward / maximum",
    "episode/survival": "survival",
    "episode/steps": "episode length, control steps",
    "loss/action_std": "standard deviation of actions",
    "loss/explained_variance": "returns explained by the value",
    "time/env_steps_per_second": "environment steps per second",
}
_MAX_NAMED_CLIPS = 10


def _figure(rows: int, columns: int, size: tuple[float, float]):
    # The Agg canvas draws without a display and leaves the user's own backend alone.
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def training_curves(metrics_file: Path, folder: Path) -> None:
    """Draws `training.png` from the JSONL metrics of a distillation; nothing before the first row."""
    _draw_curves(metrics_file, folder, _STUDENT_CURVES)


def teacher_curves(metrics_file: Path, folder: Path) -> None:
    """Draws `training.png` from the JSONL metrics of a teacher's training; as `training_curves`."""
    _draw_curves(metrics_file, folder, _TEACHER_CURVES)


def _draw_curves(metrics_file: Path, folder: Path, curves: dict[str, str]) -> None:
    rows = [json.loads(line) for line in metrics_file.read_text().splitlines() if line]
    rows = [row for row in rows if "loss/total" in row]
    if not rows:
        return
    steps = [row["env_steps"] for row in rows]
    figure, axes = _figure(2, 3, (12, 6))
    for axis, (name, label) in zip(axes.flat, curves.items(), strict=True):
        axis.plot(steps, [row[name] for row in rows], marker="." if len(rows) < 30 else None)
        axis.set(xlabel="environment steps", title=label)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.xaxis.set_major_formatter(ticker.EngFormatter())
        if name == "loss/action_mse":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "training.png", dpi=120)


def latent_plots(comparison: Comparison, clips: ReferenceClips, folder: Path) -> None:
    """Draws `latent_pca.png` and `latent_kl.png` of the student's visited states."""
    folder.mkdir(parents=True, exist_ok=True)
    _draw_pca(comparison, clips, folder / "latent_pca.png")
    _draw_kl(comparison, folder / "latent_kl.png")


def principal_components(points: np.ndarray, num: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Projects [point, dim] on its first principal components.

    Returns:
        [point, num] coordinates and the [num] shares of variance that they explain.
    """
    centred = points - points.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.square(singular) / max(np.square(singular).sum(), 1e-12)
    return left[:, :num] * singular[:num], share[:num]


def _draw_pca(comparison: Comparison, clips: ReferenceClips, path: Path) -> None:
    steps = comparison.student.steps
    alive = steps.alive
    points, share = principal_components(steps.seen.posterior.mean[alive])
    clip = np.broadcast_to(comparison.student.episodes.clip, alive.shape)[alive]
    seconds = steps.frame[alive] / clips.rate_hz
    figure, (by_clip, by_time) = _figure(1, 2, (12, 5))
    colors = matplotlib.colormaps["tab10" if clips.num_clips <= 10 else "turbo"]
    for index in np.unique(clip):
        color = colors(index if clips.num_clips <= 10 else index / max(clips.num_clips - 1, 1))
        label = clips.names[index] if clips.num_clips <= _MAX_NAMED_CLIPS else None
        rows = points[clip == index]
        by_clip.scatter(*rows.T, s=4, color=color, label=label, rasterized=True)
    if clips.num_clips <= _MAX_NAMED_CLIPS:
        by_clip.legend(markerscale=4, fontsize="small")
    drawn = by_time.scatter(*points.T, s=4, c=seconds, cmap="viridis", rasterized=True)
    figure.colorbar(drawn, ax=by_time, label="time in the clip, s")
    by_clip.set_title("posterior means by clip")
    by_time.set_title("posterior means by time")
    for axis in (by_clip, by_time):
        axis.set(xlabel=f"PC 1 ({100 * share[0]:.0f} %)", ylabel=f"PC 2 ({100 * share[1]:.0f} %)")
    figure.savefig(path, dpi=120)


def _draw_kl(comparison: Comparison, path: Path) -> None:
    alive, seen = comparison.student.steps.alive, comparison.student.steps.seen
    posterior, prior = seen.posterior, seen.prior
    kl = kl_divergence(posterior.mean, posterior.logvar, prior.mean, prior.logvar)
    kl = np.sort(np.asarray(kl)[alive].mean(axis=0))[::-1]
    figure, axis = _figure(1, 1, (8, 4))
    axis.bar(np.arange(len(kl)), kl)
    axis.set(
        xlabel="latent dimension, sorted",
        ylabel="nats",
        title=f"KL(posterior || prior) per dimension, {kl.sum():.2f} nats in all",
    )
    figure.savefig(path, dpi=120)
