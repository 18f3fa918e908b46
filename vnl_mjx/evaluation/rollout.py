"""Runs episodes of the imitation task once each, and records every step.

Nothing is reset: an episode stops at its first end.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.environment import Observation, StepOutcome, VectorEnvironment
from vnl_mjx.tasks.guides import Guide
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.policies import Policy
from vnl_mjx.training.rollout import RolloutState, Step, begin, rollout

# Compiled together; the length of the clips is then no constant of what is compiled.
CHUNK_STEPS = 25
# Of all episodes together, so that between chunks a program with many episodes still answers to signals.
MOST_STEPS_AT_ONCE = 40_000
NO_TIME_LIMIT = 10**8  # frames


@flax.struct.dataclass
class Episodes:
    """Holds the starts of episodes, [episode] each: int32 clip and frame, and the key of the noise."""

    clip: Any
    start_frame: Any
    key: Any


@flax.struct.dataclass
class Steps:
    """Holds the steps of episodes, [time, episode, ...]; entries where `alive` is false are meaningless.

    Attributes:
        alive: bool, the episode had not ended before this step.
        reward: float, of this step.
        terms: named reward terms.
        distances: named distances to the reference (`tasks.terminations.distances`).
        terminated: bool, this step failed.
        truncated: bool, this step ended the episode otherwise: at the end of the clip.
        diverged: bool, this step's simulation met NaN; its `qpos` and `qvel` are zeros.
        frame: int32, the reference frame that the reward of this step read.
        qpos: [.., nq] pose after the step.
        qvel: [.., nv] velocity after the step.
        action: [.., nu] of this step, in [-1, 1].
        power: mechanical power of the actuators, sum of |force * velocity| over joints, W.
        extra: further outputs of the policy (`Acted.extra`).
    """

    alive: Any
    reward: Any
    terms: dict[str, Any]
    distances: dict[str, Any]
    terminated: Any
    truncated: Any
    diverged: Any
    frame: Any
    qpos: Any
    qvel: Any
    action: Any
    power: Any
    extra: Any


@flax.struct.dataclass
class Rollout:
    """Holds finished episodes in NumPy.

    Attributes:
        episodes: their starts, [episode] each.
        start_qpos: [episode, nq] pose before the first step.
        start_qvel: [episode, nv] velocity before the first step.
        possible_steps: [episode] control steps from the start to the end of the clip.
        steps: [time, episode, ...] each control step.
        control_hz: steps per second.
    """

    episodes: Episodes
    start_qpos: np.ndarray
    start_qvel: np.ndarray
    possible_steps: np.ndarray
    steps: Steps
    control_hz: float = flax.struct.field(pytree_node=False)

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.start_qpos)

    @property
    def valid(self) -> np.ndarray:
        """Steps that happened and did not diverge, bool [time, episode]."""
        return self.steps.alive & ~self.steps.diverged

    @property
    def survived(self) -> np.ndarray:
        """Whether each episode reached its end without failing, bool [episode]."""
        return (self.steps.truncated & self.steps.alive).any(axis=0)

    def qpos_of(self, episode: int) -> np.ndarray:
        """Returns poses [1 + steps, nq] of one episode from before its first step, without diverged ones."""
        kept = self.valid[:, episode]
        return np.concatenate([self.start_qpos[None, episode], self.steps.qpos[kept, episode]])

    def reference_rows(self, clips: ReferenceClips) -> np.ndarray:
        """Returns the row of `clips` whose frame the reward of each step read, [time, episode].

        Meaningless steps that lie beyond the clip get its last frame.
        """
        clip = self.episodes.clip
        last = np.asarray(clips.lengths)[clip] - 1
        return np.asarray(clips.starts)[clip] + np.minimum(self.steps.frame, last)


# Of one environment after a step: whether the episode failed, and whether it was truncated.
EndFunction = Callable[[ImitationState, StepOutcome], tuple[jax.Array, jax.Array]]


def draw_episodes(
    task: ImitationTask, clips: ReferenceClips, num_episodes: int, seed: int
) -> Episodes:
    """Cycles through the clips: first each from its first frame, then from random frames."""
    frame_key, noise_key = jax.random.split(jax.random.PRNGKey(seed))
    clip = jnp.arange(num_episodes, dtype=jnp.int32) % clips.num_clips
    num_starts = jnp.asarray(clips.lengths)[clip] - task.frames_needed + 1
    num_starts = jnp.minimum(num_starts, task.config.start_frame_range)
    drawn = jax.random.randint(frame_key, (num_episodes,), 0, num_starts)
    first_round = jnp.arange(num_episodes) < clips.num_clips
    return Episodes(
        clip=clip,
        start_frame=jnp.where(first_round, 0, drawn).astype(jnp.int32),
        key=jax.random.split(noise_key, num_episodes),
    )


class EpisodeEnvironment(VectorEnvironment):
    """Runs the imitation task with a custom end of episodes, or a guide that acts."""

    def __init__(
        self, task: ImitationTask, end_fn: EndFunction | None = None, guide: Guide | None = None
    ):
        """Takes the task and the function that ends episodes; None: the task's own.

        With a guide, its action is all that is observed; `GivenAction` takes it.
        """
        super().__init__(task)
        self._end_fn, self._guide = end_fn, guide

    def observe(self, state: ImitationState, data: ReferenceClips) -> Observation:
        """See `Environment.observe`."""
        if (guide := self._guide) is None:
            return super().observe(state, data)
        return Observation.of(action=jax.vmap(lambda s: guide(s, data))(state))

    def step(
        self, state: ImitationState, action: jax.Array, data: ReferenceClips
    ) -> tuple[ImitationState, StepOutcome]:
        """See `Environment.step`."""
        state, outcome = super().step(state, action, data)
        if self._end_fn is not None:
            terminated, truncated = jax.vmap(self._end_fn)(state, outcome)
            outcome = outcome.replace(terminated=terminated, truncated=truncated)
        return state, outcome


class EpisodeRunner:
    """Runs policies in episodes; compiles once for each kind of policy, whatever its parameters."""

    def __init__(
        self, task: ImitationTask, end_fn: EndFunction | None = None, guide: Guide | None = None
    ):
        """Takes the task, without its time limit, when episodes end, and who acts (`EpisodeEnvironment`)."""
        config = replace(task.config, episode_frames=NO_TIME_LIMIT)
        self.task = ImitationTask(config, task.walker, task.physics)
        self.env = EpisodeEnvironment(self.task, end_fn, guide)
        self._steps_per_frame = math.ceil(
            1.0 / (config.mocap_hz * config.physics.control_timestep) - 1e-6
        )
        self._draw = jax.jit(partial(draw_episodes, self.task), static_argnums=1)
        # Compiled at their first call: from clips and episodes to the environments at their start; from
        # policy, clips, `RolloutState`, key and (static) number of steps to the next state and `Steps`.
        self.start = jax.jit(partial(_start, self.task))
        self.advance = jax.jit(partial(_advance, self.env), static_argnums=4)

    def draw(self, clips: ReferenceClips, num_episodes: int, seed: int) -> Episodes:
        """See `draw_episodes`.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        self.task.check_clips(clips)  # checked before frames are drawn that a clip may not have
        return self._draw(clips, num_episodes, seed)

    def run(
        self,
        policy: Policy,
        clips: ReferenceClips,
        episodes: Episodes,
        seed: int,
        num_steps: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Rollout:
        """Runs every episode once, until it ends.

        The policy draws with `seed` and starts each episode without memory. It follows the clips, or only
        starts from them, for at most `num_steps` control steps (default: the clips' length). `progress` is
        called with the control steps done and their maximum.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        self.task.check_clips(clips)
        on_device = jax.tree.map(jnp.asarray, clips)
        state = self.start(on_device, episodes)
        start_qpos, start_qvel = np.asarray(state.physics.qpos), np.asarray(state.physics.qvel)
        state = begin(state, policy, len(start_qpos))
        possible_steps = self._possible_steps(clips, episodes)
        if num_steps is None:  # the frame index may lag by one (`ImitationTask.frame`)
            num_steps = int(possible_steps.max()) + self._steps_per_frame
        size = max(1, min(CHUNK_STEPS, MOST_STEPS_AT_ONCE // len(start_qpos)))
        chunks = []
        keys = jax.random.split(jax.random.PRNGKey(seed), math.ceil(num_steps / size))
        for chunk, key in enumerate(keys):
            state, steps = self.advance(policy, on_device, state, key, size)
            chunks.append(jax.device_get(steps))
            if progress is not None:
                progress(min((chunk + 1) * size, num_steps), num_steps)
            if not np.any(state.alive):
                break
        return Rollout(
            episodes=jax.device_get(episodes),
            start_qpos=start_qpos,
            start_qvel=start_qvel,
            possible_steps=possible_steps,
            steps=jax.tree.map(lambda *parts: np.concatenate(parts)[:num_steps], *chunks),
            control_hz=1.0 / self.task.config.physics.control_timestep,
        )

    def _possible_steps(self, clips: ReferenceClips, episodes: Episodes) -> np.ndarray:
        config = self.task.config
        last = np.asarray(clips.lengths)[np.asarray(episodes.clip)] - 1 - config.traj_length
        seconds = (last - np.asarray(episodes.start_frame)) / config.mocap_hz
        steps = np.ceil(seconds / config.physics.control_timestep - 1e-6)
        return np.maximum(steps.astype(int), 1)


def _start(task: ImitationTask, clips: ReferenceClips, episodes: Episodes) -> ImitationState:
    def one(episode: Episodes) -> ImitationState:
        # `episode.key` itself draws the noise at the start.
        key = jax.random.fold_in(episode.key, 1)
        return task.reset_to(key, clips, episode.clip, episode.start_frame, episode.key)

    return jax.vmap(one)(episodes)


def _advance(
    env: EpisodeEnvironment,
    policy: Policy,
    clips: ReferenceClips,
    state: RolloutState,
    key: jax.Array,
    num_steps: int,
) -> tuple[RolloutState, Steps]:
    """Makes control steps of all episodes."""

    def record(step: Step) -> Steps:
        outcome, physics = step.outcome, step.after.physics
        return Steps(
            alive=step.alive,
            reward=outcome.reward,
            terms=outcome.terms,
            distances=outcome.distances,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            diverged=outcome.failures["nan"],
            frame=jax.vmap(env.task.frame)(step.after),
            qpos=physics.qpos,
            qvel=physics.qvel,
            action=step.acted.action,
            power=jnp.sum(jnp.abs(physics.qfrc_actuator * physics.qvel), axis=-1),
            extra=step.acted.extra,
        )

    state, steps, _ = rollout(env, policy, state, clips, key, num_steps, record, reset=False)
    return state, steps
