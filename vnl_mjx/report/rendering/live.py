"""An episode that advances one control step at a time, for the live view."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import EndFunction, EpisodeEnvironment, EpisodeRunner
from vnl_mjx.report.rendering.viewed_policies import ViewedPolicy
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.policies import Policy, PriorRecord
from vnl_mjx.training.rollout import RolloutState, begin, rollout

_ACTIVITY_CLIPS = 4
_ACTIVITY_S = 1.5


@dataclass(frozen=True)
class LiveStep:
    """What a control step led to.

    Attributes:
        qpos: [nq].
        reference_qpos: [nq] of the frame that the reward read; the clip's last once it is over.
        reward: of this step.
        failed: the episode ended so.
        over: the episode ended otherwise.
        extra: what the policy gave of the step (`Acted.extra`), [1, ...] each; None at the start.
    """

    qpos: np.ndarray
    reference_qpos: np.ndarray
    reward: float
    failed: bool
    over: bool
    extra: Any = None


class LiveEpisode:
    """One environment of a task; the policy may change from step to step.

    Attributes:
        control_hz: steps per second.
        num_clips: that can be started from.
        num_steps: since the start.
    """

    def __init__(self, task: ImitationTask, clips: ReferenceClips, seed: int = 0):
        """Compiles nothing yet: that comes with the first step of each kind of actor.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        task = EpisodeRunner(task).task  # without its time limit
        task.check_clips(clips)
        self.control_hz = 1.0 / task.config.physics.control_timestep
        self.num_clips, self.num_steps = clips.num_clips, 0
        self._clips, self._qpos = jax.tree.map(jnp.asarray, clips), np.asarray(clips.qpos())
        self._last = np.asarray(clips.starts) + np.asarray(clips.lengths) - 1
        self._first = np.asarray(clips.starts)
        self._task, self._key = task, jax.random.PRNGKey(seed)
        self._reset = jax.jit(partial(_reset, task))
        self._steps: dict[EndFunction | None, Any] = {}
        self._state: RolloutState | None = None
        self._policy: ViewedPolicy | None = None

    def start(self, clip: int, start_frame: int = 0) -> LiveStep:
        """Begins at a frame of a clip."""
        self._key, key = jax.random.split(self._key)
        self._environment = self._reset(self._clips, clip, start_frame, key)
        self._policy, self.num_steps, self._clip = None, 0, clip
        return self._told(start_frame, 0.0, False, False)

    def step(self, policy: ViewedPolicy, actor: Policy) -> LiveStep:
        """Goes on by one control step.

        Args:
            policy: who acts, for its ending.
            actor: of it, with one episode.
        """
        if self._policy is not policy:  # whose memory begins here
            self._policy = policy
            self._state = begin(self._environment, actor, 1)
        if policy.ending not in self._steps:
            env = EpisodeEnvironment(self._task, policy.ending)
            self._steps[policy.ending] = jax.jit(partial(_step, env))
        self._key, key = jax.random.split(self._key)
        self._state, told, extra = self._steps[policy.ending](actor, self._clips, self._state, key)
        assert self._state is not None
        self._environment = self._state.environments
        self.num_steps += 1
        frame, reward, failed, over = (np.asarray(x)[0].item() for x in told)
        return self._told(frame, reward, failed, over, extra)

    def _told(
        self, frame: int, reward: float, failed: bool, over: bool, extra: Any = None
    ) -> LiveStep:
        row = min(self._first[self._clip] + frame, self._last[self._clip])
        qpos = np.asarray(self._environment.physics.qpos)[0]
        return LiveStep(qpos, self._qpos[row], reward, failed, over, extra)


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


def _reset(
    task: ImitationTask, clips: ReferenceClips, clip: Any, start_frame: Any, key: jax.Array
) -> ImitationState:
    """One environment, with a leading axis of 1."""
    key, noise_key = jax.random.split(key)
    reset = jax.vmap(lambda k: task.reset_to(k, clips, clip, start_frame, noise_key))
    return reset(key[None])


def _step(
    env: EpisodeEnvironment, policy: Policy, clips: ReferenceClips, state: RolloutState, key: Any
) -> tuple[RolloutState, tuple[Any, ...], Any]:
    """State, (frame, reward, failed, over) [1] each and what the policy gave, after a control step."""

    def record(step: Any) -> Any:
        outcome = step.outcome
        frame = jax.vmap(env.task.frame)(step.after)
        told = frame, outcome.reward, outcome.terminated, outcome.truncated
        return told, step.acted.extra

    state, recorded, _ = rollout(env, policy, state, clips, key, 1, record, reset=False)
    return state, *jax.tree.map(lambda x: x[0], recorded)
