"""Episodes of the imitation task, each played once, and everything that happened in them.

Whoever acts is an `Actor`: a teacher, a student that follows a reference, a prior that follows nothing.
Nothing is reset, so an episode's first end is its end.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask, StepOutcome

# Compiled together; the length of the clips is then no constant of what is compiled.
CHUNK_STEPS = 25
_NO_TIME_LIMIT = 10**8  # frames


@flax.struct.dataclass
class Episodes:
    """Where episodes start, [episode] each.

    Attributes:
        clip: int32, index into the clips.
        start_frame: int32, frame of the clip.
        key: [episode, 2] uint32, of the start's noise.
    """

    clip: Any
    start_frame: Any
    key: Any


class Acted(NamedTuple):
    """What an actor did in one step of all episodes.

    Attributes:
        action: [episode, nu] in [-1, 1].
        memory: for its next step.
        seen: a pytree of [episode, ...] arrays that the rollout keeps.
    """

    action: jax.Array
    memory: Any
    seen: Any


class Actor(Protocol):
    """Who acts: a pytree, so that other parameters of the same sizes compile nothing."""

    def initial_memory(self, num_episodes: int) -> Any:
        """Memory before the first step."""
        ...

    def act(self, observation: jax.Array, memory: Any, key: jax.Array) -> Acted:
        """One step from observations [episode, reference + proprioception], raw."""
        ...


@flax.struct.dataclass
class Steps:
    """What happened, [time, episode, ...]. Entries where `alive` is false mean nothing.

    Attributes:
        alive: bool, the episode had not ended before this step.
        reward: float, of this step.
        terms: named reward terms.
        distances: named distances to the reference (`tasks.terminations.distances`).
        terminated: bool, this step failed.
        truncated: bool, this step ended the episode otherwise: at the end of the clip.
        diverged: bool, this step's simulation met NaN.
        frame: int32, the reference frame that the reward of this step read.
        qpos: [.., nq] pose after the step; zeros where it diverged.
        qvel: [.., nv] velocity after the step; zeros where it diverged.
        action: [.., nu] of this step, in [-1, 1].
        power: mechanical power of the actuators, sum of |force * velocity| over joints, W.
        seen: what the actor kept (`Acted.seen`).
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
    seen: Any


@flax.struct.dataclass
class Rollout:
    """Played episodes, NumPy.

    Attributes:
        episodes: where they began, [episode] each.
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
        """Poses [1 + steps, nq] of one episode from before its first step; none that diverged."""
        kept = self.valid[:, episode]
        return np.concatenate([self.start_qpos[None, episode], self.steps.qpos[kept, episode]])

    def reference_rows(self, clips: ReferenceClips) -> np.ndarray:
        """Row of `clips` that each step is compared with, [time, episode].

        It is the frame that the reward read. Steps that mean nothing may lie beyond the clip; they get
        its last frame.
        """
        clip = self.episodes.clip
        last = np.asarray(clips.lengths)[clip] - 1
        return np.asarray(clips.starts)[clip] + np.minimum(self.steps.frame, last)


# Says of one environment after a step whether it failed, and whether it ended without failing.
Ending = Callable[[ImitationState, StepOutcome], tuple[jax.Array, jax.Array]]


def with_the_task(state: ImitationState, outcome: StepOutcome) -> tuple[jax.Array, jax.Array]:
    """The `Ending` of those who follow: as the task says."""
    return outcome.terminated, outcome.truncated


def draw_episodes(
    task: ImitationTask, clips: ReferenceClips, num_episodes: int, seed: int
) -> Episodes:
    """Goes round the clips: first each from its first frame, then from random ones."""
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


class Player:
    """Compiles once for each kind of actor and plays whatever parameters it is given."""

    def __init__(self, task: ImitationTask, ending: Ending = with_the_task):
        """Takes the task; its time limit does not hold here, episodes run to the end of the clip."""
        config = replace(task.config, episode_frames=_NO_TIME_LIMIT)
        self.task = ImitationTask(config, task.walker, task.physics)
        self._steps_per_frame = math.ceil(
            1.0 / (config.mocap_hz * config.physics.control_timestep) - 1e-6
        )
        self._draw = jax.jit(partial(draw_episodes, self.task), static_argnums=1)
        self._start = jax.jit(partial(_start, self.task))
        self._advance = jax.jit(partial(_advance, self.task, ending))

    def draw(self, clips: ReferenceClips, num_episodes: int, seed: int) -> Episodes:
        """See `draw_episodes`.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        self.task.check_clips(clips)  # before frames are drawn that it does not have
        return self._draw(clips, num_episodes, seed)

    def play(
        self,
        actor: Actor,
        clips: ReferenceClips,
        episodes: Episodes,
        seed: int,
        num_steps: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Rollout:
        """Plays every episode until it ends; none begins again.

        Args:
            actor: who acts; a recurrent one starts each episode without memory.
            clips: what is followed, or at least started from.
            episodes: where episodes begin.
            seed: of what the actor draws.
            num_steps: control steps at most; None for as many as the clips have.
            progress: called with the control steps done and the most that can come.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        self.task.check_clips(clips)
        on_device = jax.tree.map(jnp.asarray, clips)
        state = self._start(on_device, episodes)
        start_qpos, start_qvel = np.asarray(state.physics.qpos), np.asarray(state.physics.qvel)
        carry = state, actor.initial_memory(len(start_qpos)), jnp.ones(len(start_qpos), bool)
        possible_steps = self._possible_steps(clips, episodes)
        if num_steps is None:  # the frame index may lag by one (`ImitationTask.frame`)
            num_steps = int(possible_steps.max()) + self._steps_per_frame
        chunks = []
        keys = jax.random.split(jax.random.PRNGKey(seed), math.ceil(num_steps / CHUNK_STEPS))
        for chunk, key in enumerate(keys):
            carry, steps = self._advance(actor, on_device, carry, key)
            chunks.append(jax.device_get(steps))
            if progress is not None:
                progress(min((chunk + 1) * CHUNK_STEPS, num_steps), num_steps)
            if not np.any(carry[-1]):
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
    reset = jax.vmap(lambda e: task.reset_to(e.key, clips, e.clip, e.start_frame, e.key))
    return reset(episodes)


def _advance(
    task: ImitationTask,
    ending: Ending,
    actor: Actor,
    clips: ReferenceClips,
    carry: tuple[ImitationState, Any, jax.Array],
    key: jax.Array,
) -> tuple[tuple[ImitationState, Any, jax.Array], Steps]:
    """`CHUNK_STEPS` control steps of all episodes: environments, memory, who is alive."""

    def control_step(carry, key):
        state, memory, alive = carry
        observation = jax.vmap(lambda s: task.observe(s, clips))(state).flat()
        acted = actor.act(observation, memory, key)
        state, outcome = jax.vmap(lambda s, a: task.step(s, a, clips))(state, acted.action)
        failed, over = jax.vmap(ending)(state, outcome)
        physics = state.physics
        step = Steps(
            alive=alive,
            reward=outcome.reward,
            terms=outcome.terms,
            distances=outcome.distances,
            terminated=failed,
            truncated=over,
            diverged=outcome.failures["nan"],
            frame=jax.vmap(task.frame)(state),
            qpos=physics.qpos,
            qvel=physics.qvel,
            action=acted.action,
            power=jnp.sum(jnp.abs(physics.qfrc_actuator * physics.qvel), axis=-1),
            seen=acted.seen,
        )
        return (state, acted.memory, alive & ~(failed | over)), step

    return jax.lax.scan(control_step, carry, jax.random.split(key, CHUNK_STEPS))
