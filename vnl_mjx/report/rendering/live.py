"""An episode that advances one control step at a time, for the live view."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import EndFunction, EpisodeRunner, Episodes
from vnl_mjx.report.rendering.viewed_policies import ViewedPolicy
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import Policy, PriorRecord
from vnl_mjx.training.rollout import begin

_ACTIVITY_CLIPS = 4
_ACTIVITY_S = 1.5


@dataclass(frozen=True)
class LiveStep:
    """What a control step led to: poses [nq] of simulation and reference, and whether it ended the episode.

    `reference_qpos` is of the frame that the reward read, the clip's last once it is over; `extra` is what
    the policy gave of the step, [1, ...] each (`Acted.extra`).
    """

    qpos: np.ndarray
    reference_qpos: np.ndarray
    reward: float
    failed: bool
    over: bool
    extra: Any = None


class LiveEpisode:
    """One environment of a task; the policy, with one episode, may change from step to step."""

    def __init__(self, task: ImitationTask, clips: ReferenceClips, seed: int = 0):
        """Compiles nothing yet: that comes with the first step of each kind of actor.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        task.check_clips(clips)
        self.control_hz = 1.0 / task.config.physics.control_timestep
        self.num_clips, self.num_steps = clips.num_clips, 0
        self._clips, self._qpos = jax.tree.map(jnp.asarray, clips), np.asarray(clips.qpos())
        self._first = np.asarray(clips.starts)
        self._last = self._first + np.asarray(clips.lengths) - 1
        self._task, self._key = task, jax.random.PRNGKey(seed)
        self._runners: dict[EndFunction | None, EpisodeRunner] = {}
        self._policy: ViewedPolicy | None = None

    def start(self, clip: int, start_frame: int = 0) -> LiveStep:
        """Begins at a frame of a clip."""
        self._key, key = jax.random.split(self._key)
        where = np.array([clip], np.int32), np.array([start_frame], np.int32)
        self._environments = self._runner(None).start(self._clips, Episodes(*where, key[None]))
        self._policy, self.num_steps, self._clip = None, 0, clip
        qpos = np.asarray(self._environments.physics.qpos)[0]
        return LiveStep(qpos, self._reference(start_frame), 0.0, False, False)

    def step(self, policy: ViewedPolicy, actor: Policy) -> LiveStep:
        """Goes on by one control step; `actor` is one of `policy`, whose ending counts."""
        if self._policy is not policy:  # whose memory begins here
            self._policy = policy
            self._state = begin(self._environments, actor, 1)
        self._key, key = jax.random.split(self._key)
        advance = self._runner(policy.ending).advance
        self._state, steps = advance(actor, self._clips, self._state, key, 1)
        self._environments = self._state.environments
        self.num_steps += 1
        step = jax.tree.map(lambda x: np.asarray(x)[0], steps)
        return LiveStep(
            qpos=step.qpos[0],
            reference_qpos=self._reference(step.frame.item()),
            reward=step.reward.item(),
            failed=step.terminated.item(),
            over=step.truncated.item(),
            extra=step.extra,
        )

    def _runner(self, ending: EndFunction | None) -> EpisodeRunner:
        if ending not in self._runners:
            self._runners[ending] = EpisodeRunner(self._task, ending)
        return self._runners[ending]

    def _reference(self, frame: int) -> np.ndarray:
        return self._qpos[min(self._first[self._clip] + frame, self._last[self._clip])]


def latent_activity(episode: LiveEpisode, policy: ViewedPolicy) -> np.ndarray:
    """Standard deviation [latent] of the mean that a policy decodes, over parts of some clips."""
    actor, means = policy.actor(noise=0.0), []
    for clip in range(min(episode.num_clips, _ACTIVITY_CLIPS)):
        episode.start(clip)
        for _ in range(round(_ACTIVITY_S * episode.control_hz)):
            step = episode.step(policy, actor)
            seen = step.extra.prior.mode() if isinstance(step.extra, PriorRecord) else step.extra
            means.append(np.asarray(seen)[0])
            if step.failed or step.over:
                break
    return np.std(means, axis=0)
