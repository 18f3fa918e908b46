"""Evaluates student and teacher during a distillation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.evaluation.action_errors import action_section
from vnl_mjx.evaluation.bootstrap import ratio_of_means
from vnl_mjx.evaluation.episode_metrics import episode_metrics
from vnl_mjx.evaluation.latent.statistics import seen_latent_statistics
from vnl_mjx.evaluation.metrics import log_row
from vnl_mjx.evaluation.per_episode import means
from vnl_mjx.evaluation.protocol import STUDENT, TEACHER
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.walkers.walker import Walker


def evaluate_student(
    rollouts: Mapping[str, Rollout], clips: ReferenceClips, walker: Walker, config: RewardConfig
) -> dict[str, Any]:
    """Returns an evaluation of `STUDENT` and `TEACHER` in the same episodes on `clips`, JSON-able.

    Metrics of `episode_metrics` as means over the episodes, of each of the two; `reward_ratio`; `action` and
    `latent` as in `metrics.json` of a report. `config` is the task's reward.
    """
    student = rollouts[STUDENT]
    metrics = {
        name: episode_metrics(rollouts[name], clips, walker, config) for name in (STUDENT, TEACHER)
    }
    own, others = (metrics[name]["episode_reward"] for name in (STUDENT, TEACHER))
    every = np.arange(student.num_episodes)
    return {
        "num_episodes": student.num_episodes,
        **{name: means(values, every) for name, values in metrics.items()},
        "reward_ratio": ratio_of_means(own, others, student.episodes.clip).as_dict()["mean"],
        "action": action_section(rollouts, walker),
        "latent": seen_latent_statistics(student),
    }


def student_row(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Returns the results of `evaluate_student` that a training log holds, by their names there."""
    row = {}
    for name in (STUDENT, TEACHER):
        row |= log_row(evaluation[name], name)
    seen, latent = evaluation["action"]["on_student_states"], evaluation["latent"]
    more = {"reward_ratio": evaluation["reward_ratio"]}
    more |= {f"action_{name}": seen[name] for name in ("mse", "mae", "r2")}
    more |= {name: latent.get(name) for name in ("kl", "active_units")}
    return row | {f"eval/{name}": value for name, value in more.items() if value is not None}
