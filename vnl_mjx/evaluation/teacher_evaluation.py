"""How well a policy tracks reference clips, and whether that is what a teacher has to reach."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.evaluation.contact import FootSlip
from vnl_mjx.evaluation.episode_metrics import (
    TERM,
    counted_steps,
    imitation_metrics,
    outcome_metrics,
    speed_ratio,
)
from vnl_mjx.evaluation.per_episode import episode_mean, mean_or_none
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.evaluation.smoothness import PathLengths, path_lengths
from vnl_mjx.evaluation.tracking import pose_step_errors
from vnl_mjx.walkers.walker import Walker

# On the clips that a teacher was trained on: in words, the number, how it is written, and when it is met.
_TARGETS = (
    ("survival to the clip's end >= 99 %", "survival", "{:.1%}", lambda share: share >= 0.99),
    (
        "imitation reward >= 0.9 of its maximum",
        "reward_fraction",
        "{:.3f}",
        lambda share: share >= 0.9,
    ),
    ("root position error <= 5 mm", "root_error_mm", "{:.1f} mm", lambda error: error <= 5.0),
)
_MAX_SPEED_DEVIATION = 0.05


def evaluate_tracking(
    rollout: Rollout, clips: ReferenceClips, walker: Walker, config: RewardConfig
) -> dict[str, Any]:
    """Returns how well a rollout tracks `clips`, JSON-able; `config` is the task's reward.

    In `all`, `clips` and `episodes` every control step counts alike; in `means_over_episodes` every episode
    does, as in the report of a student. None where there is nothing to measure.
    """
    errors, paths = pose_step_errors(rollout, clips), path_lengths(rollout, clips)
    metrics = outcome_metrics(rollout) | imitation_metrics(rollout, config)
    metrics |= {name: episode_mean(error) for name, error in errors.items()}
    metrics |= {
        "speed_ratio": speed_ratio(paths),
        "foot_slip_mm_per_s": FootSlip(walker).of_rollout(rollout),
    }

    def pooled(rows: np.ndarray) -> dict[str, Any]:
        return _pooled(rows, rollout, metrics, errors["root_error_mm"], paths)

    episodes = rollout.episodes
    starts = zip(episodes.clip.tolist(), episodes.start_frame.tolist(), strict=True)
    return {
        "all": pooled(np.arange(rollout.num_episodes)),
        "means_over_episodes": {name: mean_or_none(values) for name, values in metrics.items()},
        "clips": {
            name: pooled(np.flatnonzero(episodes.clip == clip))
            for clip, name in enumerate(clips.names)
        },
        "episodes": [
            {"clip": clips.names[clip], "start_frame": frame} | pooled(np.array([row]))
            for row, (clip, frame) in enumerate(starts)
        ],
    }


def _pooled(
    rows: np.ndarray,
    rollout: Rollout,
    metrics: Mapping[str, np.ndarray],
    root_error_mm: np.ndarray,
    paths: PathLengths,
) -> dict[str, Any]:
    """The episodes `rows`; a mean over control steps is theirs, weighted by their numbers of steps."""
    lived, valid = rollout.steps.alive.sum(axis=0), rollout.valid.sum(axis=0)

    def mean(name: str, weights: np.ndarray) -> float | None:
        values, own = metrics[name][rows], weights[rows]
        counted = own > 0
        return float(np.average(values[counted], weights=own[counted])) if own.any() else None

    root_error = root_error_mm[:, rows]
    root_error = root_error[np.isfinite(root_error)]
    moving = rows[paths.moving[rows]]
    speed, clip_speed = (
        float(path[moving].sum() / seconds[moving].sum()) if len(moving) else None
        for path, seconds in (
            (paths.path, paths.seconds),
            (paths.clip_path, paths.clip_seconds),
        )
    )
    return {
        "num_episodes": len(rows),
        "survival": float(metrics["survival"][rows].mean()),
        "steps": float(lived[rows].mean()),
        "reward_per_step": mean("reward_per_step", lived),
        "reward_fraction": mean("reward_fraction", lived),
        "completed_fraction": mean("completed_fraction", counted_steps(rollout)),
        "root_error_mm": mean("root_error_mm", valid),
        "root_error_p95_mm": float(np.percentile(root_error, 95)) if len(root_error) else None,
        "root_angle_deg": mean("root_angle_deg", valid),
        "joint_error_rad": mean("joint_error_rad", valid),
        "speed": speed,
        "clip_speed": clip_speed,
        "speed_ratio": speed / clip_speed if speed is not None and clip_speed else None,
        "foot_slip_mm_per_s": mean(
            "foot_slip_mm_per_s", np.isfinite(metrics["foot_slip_mm_per_s"])
        ),
        "diverged": int(metrics["diverged"][rows].sum()),
        "terms": {
            name.removeprefix(TERM): mean(name, lived) for name in metrics if name.startswith(TERM)
        },
    }


def headline(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns the few numbers of `evaluate_tracking` that a training log holds."""
    names = ("survival", "reward_fraction", "completed_fraction", "root_error_mm")
    values = {f"eval/{name}": summary["all"][name] for name in names}
    return {name: value for name, value in values.items() if value is not None}


def judge(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns each target with what `evaluate_tracking` says of it, JSON-able.

    `target` and `found` are for a person; `met` is None where no clip moves.
    """
    pooled = summary["all"]
    rows = []
    for target, name, text, reached in _TARGETS:
        value = pooled[name]  # None: every simulation diverged at once
        found = "not measured" if value is None else text.format(value)
        met = value is not None and reached(value)
        rows.append({"target": target, "found": found, "value": value, "met": bool(met)})
    return [*rows, _speed(summary["clips"])]


def _speed(clips: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    target = "each moving clip at its speed within 5 %"
    off = {n: f["speed_ratio"] - 1.0 for n, f in clips.items() if f["speed_ratio"] is not None}
    if not off:
        return {"target": target, "found": "", "value": None, "met": None}
    worst = max(off, key=lambda name: abs(off[name]))
    return {
        "target": target,
        "found": f"{off[worst]:+.1%} ({worst})",
        "value": off[worst],
        "met": abs(off[worst]) <= _MAX_SPEED_DEVIATION,
    }
