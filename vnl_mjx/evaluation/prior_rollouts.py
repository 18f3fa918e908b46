"""Runs the decoder from the prior alone, and measures survival and motion against the data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.operations import merge
from vnl_mjx.evaluation.motion_statistics import (
    MotionReader,
    Motions,
    compare_motions,
    half_distances,
    over_halves,
)
from vnl_mjx.evaluation.protocol import EvaluatedPolicy
from vnl_mjx.evaluation.rollout import EndFunction, EpisodeRunner, Episodes, Rollout
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask, StepOutcome
from vnl_mjx.tasks.policies import PriorPolicy, prior_policy
from vnl_mjx.utils.vae_checkpointing import LoadedStudent
from vnl_mjx.walkers.walker import Walker

SURVIVAL_SECONDS = (1, 2, 5, 10)
STARTS = ("clips", "neutral")
# Baseline modes, which ignore the student or the clip.
BASELINES = ("random_latent", "zero_action")
_LOWEST_TORSO = 0.5  # share of the torso's lowest height over the floor in the clips

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class PriorMode:
    """Defines how latents are drawn around the prior mean.

    Attributes:
        std_scale: factor of the learned standard deviation.
        fixed_std: fixed standard deviation; None for the learned one.
        correlation_s: time constant of the noise, seconds; 0 draws it anew in each control step.
        mean_scale: factor of the prior mean.
        action_scale: factor of the decoded action.
    """

    std_scale: float = 1.0
    fixed_std: float | None = None
    correlation_s: float = 0.0
    mean_scale: float = 1.0
    action_scale: float = 1.0

    def correlation(self, control_hz: float) -> float:
        """Returns the correlation of the noise between two control steps."""
        return math.exp(-1.0 / (self.correlation_s * control_hz)) if self.correlation_s else 0.0

    @property
    def needs_gaussian(self) -> bool:
        """Whether the mode needs a Gaussian prior; any other prior has its mode and its samples."""
        return self.fixed_std is not None or self.correlation_s > 0


def prior_modes(fixed_std: float = 0.37, correlation_s: float = 0.2) -> dict[str, PriorMode]:
    """Returns the modes of a report, with two baselines.

    The modes act at the prior mean, or draw around it with the learned or a fixed deviation, or with the
    learned one and smooth noise. The baselines are latents from N(0, I) and zero action.
    """
    return {
        "mean": PriorMode(std_scale=0.0),
        "learned": PriorMode(),
        "fixed": PriorMode(fixed_std=fixed_std),
        "smooth": PriorMode(correlation_s=correlation_s),
        "random_latent": PriorMode(fixed_std=1.0, mean_scale=0.0),
        "zero_action": PriorMode(std_scale=0.0, action_scale=0.0),
    }


def mode_policy(
    mode: PriorMode, loaded: LoadedStudent, num_episodes: int, control_hz: float
) -> PriorPolicy:
    """Returns the policy of a mode for `num_episodes` episodes at once."""
    return prior_policy(
        loaded.params,
        loaded.teacher,
        loaded.student,
        num_episodes,
        std_scale=mode.std_scale,
        fixed_std=mode.fixed_std,
        correlation=mode.correlation(control_hz),
        mean_scale=mode.mean_scale,
        action_scale=mode.action_scale,
    )


def baselines(
    task: ImitationTask, loaded: LoadedStudent, num_episodes: int, how: str
) -> list[EvaluatedPolicy]:
    """Returns `BASELINES`, which follow no clip, as policies with a single way of acting.

    `random_latent` is left out if the student's latent is not Gaussian.
    """
    control_hz = 1.0 / task.config.physics.control_timestep
    modes = prior_modes()
    return [
        EvaluatedPolicy(
            name,
            task,
            lambda _, mode=modes[name]: mode_policy(mode, loaded, num_episodes, control_hz),
            (how,),
        )
        for name in BASELINES
        if loaded.student.is_gaussian or not modes[name].needs_gaussian
    ]


def fallen(walker: Walker, clips: ReferenceClips) -> EndFunction:
    """Returns the `EndFunction` of free rollouts: a fall terminates, nothing truncates.

    An episode has fallen if the simulation diverged, the torso's z axis points below the horizontal, or the
    torso is lower over the floor than half of its lowest height in `clips`. A body without a free root
    cannot fall.
    """
    root, floor = walker.root_body, walker.floor_height
    heights = np.asarray(clips.body_positions)[:, root, 2] - floor
    lowest = floor + _LOWEST_TORSO * float(heights.min())

    def ending(state: ImitationState, outcome: StepOutcome) -> tuple[jax.Array, jax.Array]:
        physics = state.physics
        if walker.root is None:
            return physics.diverged, jnp.bool_(False)
        upside_down = physics.xmat[root, 2, 2] < 0.0
        low = physics.xpos[root, 2] < lowest
        return physics.diverged | upside_down | low, jnp.bool_(False)

    return ending


def neutral_clip(walker: Walker, num_frames: int, rate_hz: float) -> ReferenceClips:
    """Returns the walker's default pose at rest, with its lowest foot on the floor, as one clip."""
    qpos = walker.model.qpos0[None].copy()
    poses = Kinematics(walker.model)(qpos)
    if root := walker.root:
        lowest = FootHeights(walker)(poses.positions, poses.quaternions).min()
        qpos[0, root.position][2] -= lowest
    still = np.repeat(qpos, num_frames, axis=0)
    return clips_from_poses(
        walker, still, [num_frames], rate_hz, names=("neutral",), source="default pose"
    )


class SurvivalCurve(NamedTuple):
    """Holds the share of episodes that still stand, with its 95 % interval, [1 + control step] each."""

    seconds: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def survival_curve(rollout: Rollout, num_steps: int) -> SurvivalCurve:
    """Returns survival after 0 ... `num_steps` control steps of a rollout of that length."""
    stands = (rollout.steps.alive & ~rollout.steps.terminated).mean(axis=1)
    # the rollout ends early if no episode stands
    share = np.concatenate([[1.0], stands, np.zeros(num_steps - len(stands))])
    low, high = wilson(share, rollout.num_episodes)
    return SurvivalCurve(np.arange(1 + num_steps) / rollout.control_hz, share, low, high)


def wilson(share: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns 95 % intervals of shares of `count` episodes (Wilson, J. Am. Stat. Assoc. 22, 1927, p. 209).

    Each episode has its own start. A bootstrap interval would have no width if all episodes agree.
    """
    squared = _NORMAL_95**2 / count
    center = (share + squared / 2) / (1 + squared)
    half = _NORMAL_95 * np.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
    return np.maximum(center - half, 0.0), np.minimum(center + half, 1.0)


@dataclass(frozen=True)
class PriorEvaluation:
    """Holds rollouts of the prior by mode and start, at the clips' rate, and the data for comparison.

    `clips` holds the data's clips and, last, the neutral pose. An episode without a fall has `num_steps`.
    `halves` holds the distances between two halves of the data.
    """

    clips: ReferenceClips
    rollouts: Mapping[str, Mapping[str, Rollout]]
    motions: Mapping[str, Mapping[str, Motions]]
    data: Motions
    halves: Mapping[str, float | None]
    num_steps: int

    def survival_curve(self, mode: str, start: str) -> SurvivalCurve:
        """Returns the survival curve of a mode from a start."""
        return survival_curve(self.rollouts[mode][start], self.num_steps)

    def summary(self) -> dict[str, Any]:
        """Returns, by mode and start, survival at some times and `compare_motions`; JSON-able.

        The entry "clips" compares one half of the clips with the other.
        """
        found = {
            mode: {start: self._summary_of(mode, start) for start in starts}
            for mode, starts in self.rollouts.items()
        }
        order = np.random.default_rng(0).permutation(len(self.data.joints))
        if len(order) < 2:
            return found
        one, other = (self.data.part(own) for own in np.array_split(order, 2))
        half = compare_motions(one, other, self.clips.joint_names, self.halves)
        return found | {"clips": {"clips": half}}

    def by_behaviour(self, motions: Motions, clip: np.ndarray) -> dict[str, dict[str, Any]]:
        """Returns, for each label, `over_halves` of the trajectories that start in one of its clips.

        `clip` [trajectory] is the clip of each start. Labels of a single clip are left out.
        """
        labels = np.array([info.label for info in self.clips.origins])
        found = {}
        for label in sorted(set(labels[clip]) - {""}):
            own, data = np.flatnonzero(labels[clip] == label), np.flatnonzero(labels == label)
            if len(data) > 1:
                distances = over_halves(motions.part(own), self.data.part(data), self.halves)
                found[label] = {"num_episodes": len(own), "over_halves": distances}
        return found

    def _summary_of(self, mode: str, start: str) -> dict[str, Any]:
        rollout, curve = self.rollouts[mode][start], self.survival_curve(mode, start)
        length = float(curve.seconds[-1])
        asked = sorted({float(s) for s in SURVIVAL_SECONDS if s < length} | {length})
        rows = {f"{s:g}": round(s * rollout.control_hz) for s in asked}
        return {
            "num_episodes": rollout.num_episodes,
            "seconds": length,
            "survival": {second: float(curve.share[row]) for second, row in rows.items()},
            "survival_interval": {
                second: {"low": float(curve.low[row]), "high": float(curve.high[row])}
                for second, row in rows.items()
            },
            "seconds_alive": float(curve.share[1:].sum() / rollout.control_hz),
            **self.compared(self.motions[mode][start], np.asarray(rollout.episodes.clip)),
        }

    def compared(self, motions: Motions, clip: np.ndarray) -> dict[str, Any]:
        """Returns `compare_motions` with the data, and `by_behaviour`; trajectories start in `clip`."""
        found = compare_motions(motions, self.data, self.clips.joint_names, self.halves)
        return found | {"by_behaviour": self.by_behaviour(motions, clip)}


class PriorEvaluator:
    """Runs the prior of one student; compiles once for all modes and starts."""

    def __init__(self, task: ImitationTask, loaded: LoadedStudent, clips: ReferenceClips):
        """Takes the student and the data, which give the starts and the comparison.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        task.check_clips(clips)
        self.loaded, self._num_clips = loaded, clips.num_clips
        still = neutral_clip(task.walker, task.frames_needed, clips.rate_hz)
        self.clips = merge([clips, still])
        self.player = EpisodeRunner(task, fallen(task.walker, clips))
        self.reader = MotionReader(task.walker)
        self._data = self.reader.of_clips(clips)

    def run(
        self,
        modes: Mapping[str, PriorMode] | None = None,
        *,
        starts: Sequence[str] = STARTS,
        seconds: float = 10.0,
        num_episodes: int = 32,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> PriorEvaluation:
        """Runs every mode from random frames of the clips and from the neutral pose.

        Each mode (default: `prior_modes()`) has `num_episodes` from each given start of `STARTS`, with the
        same starts and noise in every mode. Episodes last `seconds` unless they fall. `progress` is called
        with the control steps done and their maximum.
        """
        modes, loaded = prior_modes() if modes is None else modes, self.loaded
        control_hz = 1.0 / self.player.task.config.physics.control_timestep
        num_steps = max(1, round(seconds * control_hz))
        total = num_steps * len(modes) * len(starts)
        rollouts: dict[str, dict[str, Rollout]] = {mode: {} for mode in modes}
        for index, (name, start) in enumerate((m, s) for m in modes for s in starts):
            actor = mode_policy(modes[name], loaded, num_episodes, control_hz)
            episodes = self._episodes(start, num_episodes, seed)
            rollouts[name][start] = self.player.run(
                actor, self.clips, episodes, seed + 1, num_steps
            )
            if progress is not None:
                progress((index + 1) * num_steps, total)
        motions = {
            mode: {s: self.reader.of_rollout(r, self.clips.rate_hz) for s, r in starts.items()}
            for mode, starts in rollouts.items()
        }
        halves = half_distances(self._data)
        return PriorEvaluation(self.clips, rollouts, motions, self._data, halves, num_steps)

    def _episodes(self, start: str, num_episodes: int, seed: int) -> Episodes:
        """Draws starts: the neutral pose, or random frames of the clips, which are taken in random order."""
        rng = np.random.default_rng(seed)
        clip = np.full(num_episodes, self._num_clips)  # the neutral pose is the last
        if start == "clips":
            clip = np.resize(rng.permutation(self._num_clips), num_episodes)
        last = np.asarray(self.clips.lengths)[clip] - self.player.task.frames_needed
        return Episodes(
            clip=clip.astype(np.int32),
            start_frame=rng.integers(0, last + 1).astype(np.int32),
            key=np.asarray(jax.random.split(jax.random.PRNGKey(seed), num_episodes)),
        )
