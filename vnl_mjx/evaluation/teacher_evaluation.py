"""How well a policy tracks reference clips: each clip from its first frame, and from drawn ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.evaluation.foot_slip import FootSlip
from vnl_mjx.evaluation.path_length import PathLengths, path_lengths
from vnl_mjx.evaluation.per_episode import mean_or_none
from vnl_mjx.evaluation.rollout import EpisodeRunner, Rollout
from vnl_mjx.evaluation.tracking import pose_errors
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms


class TeacherEvaluator:
    """Compiles once and serves every evaluation of a run."""

    def __init__(self, task: ImitationTask):
        """Takes the task, whose time limit does not hold: episodes run to the end of their clip."""
        self._player = EpisodeRunner(task)
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
        """Plays each clip once from its first frame, then as many episodes more from drawn frames.

        Args:
            policy: who acts.
            clips: what is followed.
            num_random_starts: episodes from frames that a reset of the task may draw.
            seed: of those frames, of the noise at each start and of actions that are drawn.
            deterministic: act at the mode, else draw latents and actions.
            progress: called with the control steps done and the most that can come.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        episodes = self._player.draw(clips, clips.num_clips + num_random_starts, seed)
        actor = TeacherPolicy(policy, sampled=not deterministic)
        rollout = self._player.run(actor, clips, episodes, seed + 1, progress=progress)
        return TeacherEvaluation(
            clip_names=clips.names,
            rollout=rollout,
            tracking=track(rollout, clips, self._player.task.config.reward),
            paths=path_lengths(rollout, clips),
            foot_slip=self._foot_slip.of_rollout(rollout),
        )


@dataclass(frozen=True)
class Tracking:
    """Distance from the reference frame that the reward read, [time, episode] each.

    Attributes:
        imitation: sum of the imitation terms over the greatest that it can be.
        root_error_mm: of the root's position.
        root_angle_deg: between the orientations of the root.
        joint_error_rad: mean over joints of the absolute difference.
    """

    imitation: np.ndarray
    root_error_mm: np.ndarray
    root_angle_deg: np.ndarray
    joint_error_rad: np.ndarray


@dataclass(frozen=True)
class TeacherEvaluation:
    """One evaluation.

    Attributes:
        clip_names: of the clips that were followed.
        rollout: what the simulation did.
        tracking: per step.
        paths: per episode.
        foot_slip: [episode] mean speed of what touches the floor along it, mm/s; NaN: nothing did.
    """

    clip_names: tuple[str, ...]
    rollout: Rollout
    tracking: Tracking
    paths: PathLengths
    foot_slip: np.ndarray

    def per_episode(self) -> list[dict[str, Any]]:
        """Figures of each episode, with its clip and first frame."""
        episodes = self.rollout.episodes
        starts = zip(episodes.clip.tolist(), episodes.start_frame.tolist(), strict=True)
        return [
            {"clip": self.clip_names[clip], "start_frame": frame} | self._figures(np.array([row]))
            for row, (clip, frame) in enumerate(starts)
        ]

    def per_clip(self) -> dict[str, dict[str, Any]]:
        """Figures of all episodes of each clip."""
        clip = self.rollout.episodes.clip
        rows = {name: np.flatnonzero(clip == i) for i, name in enumerate(self.clip_names)}
        return {name: self._figures(own) for name, own in rows.items()}

    def pooled(self) -> dict[str, Any]:
        """Figures of all episodes; every control step counts alike."""
        return self._figures(np.arange(self.rollout.num_episodes))

    def summary(self) -> dict[str, Any]:
        """Everything, JSON-able: `all`, `clips` by name, `episodes`."""
        return {"all": self.pooled(), "clips": self.per_clip(), "episodes": self.per_episode()}

    def headline(self) -> dict[str, float]:
        """The few figures worth a line in a training log."""
        pooled = self.pooled()
        names = ("survival", "reward_fraction", "completed_fraction", "root_error_mm")
        values = {f"eval/{name}": pooled[name] for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _figures(self, rows: np.ndarray) -> dict[str, Any]:
        """Figures of the episodes `rows`; None where there is nothing to measure."""
        steps, paths = self.rollout.steps, self.paths
        alive, diverged = steps.alive[:, rows], steps.diverged[:, rows]
        valid = alive & ~diverged
        root_error = self.tracking.root_error_mm[:, rows][valid]
        moving = rows[paths.moving[rows]]
        speed, clip_speed = (
            float(path[moving].sum() / seconds[moving].sum()) if len(moving) else None
            for path, seconds in (
                (paths.path, paths.seconds),
                (paths.clip_path, paths.clip_seconds),
            )
        )
        slip = self.foot_slip[rows]
        return {
            "num_episodes": len(rows),
            "survival": float(self.rollout.survived[rows].mean()),
            "steps": float(alive.sum(axis=0).mean()),
            "reward_per_step": mean_or_none(steps.reward[:, rows][alive]),
            "reward_fraction": mean_or_none(self.tracking.imitation[:, rows][alive]),
            "completed_fraction": self._completed(rows),
            "root_error_mm": mean_or_none(root_error),
            "root_error_p95_mm": float(np.percentile(root_error, 95)) if len(root_error) else None,
            "root_angle_deg": mean_or_none(self.tracking.root_angle_deg[:, rows][valid]),
            "joint_error_rad": mean_or_none(self.tracking.joint_error_rad[:, rows][valid]),
            "speed": speed,
            "clip_speed": clip_speed,
            "speed_ratio": speed / clip_speed if speed is not None and clip_speed else None,
            "foot_slip_mm_per_s": mean_or_none(slip[np.isfinite(slip)]),
            "diverged": int((diverged & alive).sum()),
            "terms": {
                name: mean_or_none(term[:, rows][alive]) for name, term in steps.terms.items()
            },
        }

    def _completed(self, rows: np.ndarray) -> float:
        """As the reward fraction, with nothing for the steps that failures left undone."""
        alive = self.rollout.steps.alive[:, rows]
        lived = np.maximum(alive.sum(axis=0), 1)
        possible = np.maximum(self.rollout.possible_steps[rows], lived)
        earned = np.where(alive, self.tracking.imitation[:, rows], 0.0).sum(axis=0)
        return float(earned.sum() / possible.sum())


def track(rollout: Rollout, clips: ReferenceClips, config: RewardConfig) -> Tracking:
    """Compares every step of a rollout with the frame that its reward read."""
    steps = rollout.steps
    reference = np.asarray(clips.qpos())[rollout.reference_rows(clips)]
    errors = pose_errors(steps.qpos, reference, clips.layout)
    imitation = sum(np.asarray(steps.terms[name], np.float64) for name in imitation_terms(config))
    return Tracking(
        imitation=np.asarray(imitation) / imitation_reward_maximum(config),
        root_error_mm=errors["root_error_mm"],
        root_angle_deg=errors["root_angle_deg"],
        joint_error_rad=errors["joint_error_rad"],
    )
