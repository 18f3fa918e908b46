"""Evaluates how well a policy tracks reference clips, and compares it with a teacher's targets."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.config.walker import RODENT_SOURCE
from vnl_mjx.evaluation.episode_metrics import episode_metrics
from vnl_mjx.evaluation.metrics import metric
from vnl_mjx.evaluation.per_episode import means
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.walkers.walker import Walker

# Targets on a teacher's training clips: words, metric, bound, and format.
_TARGETS = (
    ("survival to the clip's end >= 99 %", "survival", 0.99, "{:.1%}"),
    ("imitation reward >= 0.9 of its maximum", "reward_fraction", 0.9, "{:.3f}"),
)
_RODENT = ("root position error <= 5 mm", "root_error_mm", 5.0, "{:.1f} mm")
_FREE = ("root position error <= 5 % of the body's length", "root_error_share", 0.05, "{:.1%}")
_FIXED = (
    "end-effector error <= 5 % of the body's length",
    "end_effector_error_share",
    0.05,
    "{:.1%}",
)
_MAX_SPEED_DEVIATION = 0.05


def evaluate_tracking(
    rollout: Rollout, clips: ReferenceClips, walker: Walker, config: RewardConfig
) -> dict[str, Any]:
    """Returns how well a rollout tracks `clips`, JSON-able; `config` is the task's reward.

    Metrics of `episode_metrics`, as means over episodes: over `all`, over each of the `clips`, and for each
    of the `episodes`. None if there is nothing to measure.
    """
    metrics = episode_metrics(rollout, clips, walker, config)

    def pooled(rows: np.ndarray) -> dict[str, Any]:
        return {"num_episodes": len(rows), **means(metrics, rows)}

    episodes = rollout.episodes
    starts = zip(episodes.clip.tolist(), episodes.start_frame.tolist(), strict=True)
    return {
        "all": pooled(np.arange(rollout.num_episodes)),
        "clips": {
            name: pooled(np.flatnonzero(episodes.clip == clip))
            for clip, name in enumerate(clips.names)
        },
        "episodes": [
            {"clip": clips.names[clip], "start_frame": frame} | pooled(np.array([row]))
            for row, (clip, frame) in enumerate(starts)
        ],
    }


def judge(summary: Mapping[str, Any], walker: Walker) -> list[dict[str, Any]]:
    """Returns each target with its result from `evaluate_tracking` of a walker, JSON-able.

    `target` and `found` are for a person; `met` is None if no clip moves.
    """
    pooled = summary["all"]
    place = _FIXED if walker.root is None else _FREE
    if walker.config.source == RODENT_SOURCE:
        place = _RODENT
    rows = []
    for target, name, bound, text in (*_TARGETS, place):
        value = pooled[name]  # None: every simulation diverged at once
        found = "not measured" if value is None else text.format(value)
        met = value is not None and metric(name).reaches(value, bound)
        rows.append({"target": target, "found": found, "value": value, "met": met})
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
