"""How well a policy tracks reference clips: each clip from its first frame, and from drawn ones."""

from collections.abc import Callable
from dataclasses import dataclass
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
from vnl_mjx.evaluation.path_length import PathLengths, path_lengths
from vnl_mjx.evaluation.per_episode import episode_mean, mean_or_none
from vnl_mjx.evaluation.protocol import (
    DETERMINISTIC,
    SAMPLED,
    TEACHER,
    PolicyEvaluator,
    evaluated_teacher,
)
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.evaluation.tracking import pose_step_errors
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.imitation import ImitationTask


class TeacherEvaluator:
    """`PolicyEvaluator` for one task; compiles once and serves every evaluation of a run."""

    def __init__(self, task: ImitationTask):
        """Takes the task, whose time limit does not hold: episodes run to the end of their clip."""
        self._task, self._evaluator = task, PolicyEvaluator()
        self._foot_slip = FootSlip(task.walker)

    def run(
        self,
        policy: FrozenPolicy,
        clips: ReferenceClips,
        num_random_starts: int = 0,
        seed: int = 0,
        deterministic: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> "TeacherEvaluation":
        """Runs each clip once from its first frame, then as many episodes more from drawn frames.

        Args:
            policy: what acts.
            clips: what is followed.
            num_random_starts: episodes from frames that a reset of the task may draw.
            seed: of those frames, of the noise at each start and of actions that are drawn.
            deterministic: act at the mode, else draw latents and actions.
            progress: called with the control steps done and the most that can come.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        how = DETERMINISTIC if deterministic else SAMPLED
        played = self._evaluator.run(
            [evaluated_teacher(self._task, policy, TEACHER)],
            clips,
            clips.num_clips + num_random_starts,
            (how,),
            seed,
            progress and (lambda _, done, total: progress(done, total)),
        )
        reward = self._task.config.reward
        return TeacherEvaluation.of(played[TEACHER][how], clips, self._foot_slip, reward)


@dataclass(frozen=True)
class TeacherEvaluation:
    """One evaluation.

    Attributes:
        clip_names: of the clips that were followed.
        rollout: what the simulation did.
        metrics: [episode] each, as of `episode_metrics`; those that need no positions of bodies.
        root_error_mm: [time, episode]; NaN where the step did not happen or diverged.
        paths: per episode.
    """

    clip_names: tuple[str, ...]
    rollout: Rollout
    metrics: dict[str, np.ndarray]
    root_error_mm: np.ndarray
    paths: PathLengths

    @classmethod
    def of(
        cls, rollout: Rollout, clips: ReferenceClips, foot_slip: FootSlip, config: RewardConfig
    ) -> "TeacherEvaluation":
        """Measures a rollout on `clips`; `config` is the task's reward."""
        errors, paths = pose_step_errors(rollout, clips), path_lengths(rollout, clips)
        metrics = outcome_metrics(rollout) | imitation_metrics(rollout, config)
        metrics |= {name: episode_mean(error) for name, error in errors.items()}
        metrics |= {
            "speed_ratio": speed_ratio(paths),
            "foot_slip_mm_per_s": foot_slip.of_rollout(rollout),
        }
        return cls(clips.names, rollout, metrics, errors["root_error_mm"], paths)

    def per_episode(self) -> list[dict[str, Any]]:
        """Returns the numbers of each episode, with its clip and first frame."""
        episodes = self.rollout.episodes
        starts = zip(episodes.clip.tolist(), episodes.start_frame.tolist(), strict=True)
        return [
            {"clip": self.clip_names[clip], "start_frame": frame} | self._pooled(np.array([row]))
            for row, (clip, frame) in enumerate(starts)
        ]

    def per_clip(self) -> dict[str, dict[str, Any]]:
        """Returns the numbers of all episodes of each clip."""
        clip = self.rollout.episodes.clip
        rows = {name: np.flatnonzero(clip == i) for i, name in enumerate(self.clip_names)}
        return {name: self._pooled(own) for name, own in rows.items()}

    def pooled(self) -> dict[str, Any]:
        """Returns the numbers of all episodes; every control step counts alike."""
        return self._pooled(np.arange(self.rollout.num_episodes))

    def summary(self) -> dict[str, Any]:
        """Returns everything, JSON-able.

        Returns:
            `all` and `clips` by name, in which every control step counts alike; `episodes`; and
            `means_over_episodes`, in which every episode does, as in the report of a student.
        """
        return {
            "all": self.pooled(),
            "means_over_episodes": {
                name: mean_or_none(values[np.isfinite(values)])
                for name, values in self.metrics.items()
            },
            "clips": self.per_clip(),
            "episodes": self.per_episode(),
        }

    def headline(self) -> dict[str, float]:
        """Returns the few numbers that a training log holds."""
        pooled = self.pooled()
        names = ("survival", "reward_fraction", "completed_fraction", "root_error_mm")
        values = {f"eval/{name}": pooled[name] for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _pooled(self, rows: np.ndarray) -> dict[str, Any]:
        """Returns numbers of the episodes `rows`; None where there is nothing to measure.

        A mean over control steps is that of the episodes weighted by their numbers of steps.
        """
        rollout, paths = self.rollout, self.paths
        lived, valid = rollout.steps.alive.sum(axis=0), rollout.valid.sum(axis=0)
        slip = self.metrics["foot_slip_mm_per_s"]

        def mean(name: str, weights: np.ndarray) -> float | None:
            values, own = self.metrics[name][rows], weights[rows]
            counted = own > 0
            return float(np.average(values[counted], weights=own[counted])) if own.any() else None

        root_error = self.root_error_mm[:, rows]
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
            "survival": float(self.metrics["survival"][rows].mean()),
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
            "foot_slip_mm_per_s": mean("foot_slip_mm_per_s", np.isfinite(slip)),
            "diverged": int(self.metrics["diverged"][rows].sum()),
            "terms": {
                name.removeprefix(TERM): mean(name, lived)
                for name in self.metrics
                if name.startswith(TERM)
            },
        }
