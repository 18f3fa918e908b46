"""A policy plays episodes of the imitation task, each once, and everything that it did is kept."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.analysis.evaluation.comparison import Episodes
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationTask

# Compiled together; the length of the clips is then no constant of what is compiled.
CHUNK_STEPS = 25
_NO_TIME_LIMIT = 10**8  # frames


@flax.struct.dataclass
class TeacherSteps:
    """What happened, [time, episode, ...]. Entries where `alive` is false mean nothing.

    Attributes:
        alive: bool, the episode had not ended before this step.
        reward: float, of this step.
        terms: named reward terms.
        terminated: bool, this step failed.
        truncated: bool, this step reached the end of the clip.
        diverged: bool, this step's simulation met NaN.
        frame: int32, the reference frame that the reward of this step read.
        qpos: [.., nq] pose after the step; zeros where it diverged.
    """

    alive: Any
    reward: Any
    terms: dict[str, Any]
    terminated: Any
    truncated: Any
    diverged: Any
    frame: Any
    qpos: Any


@flax.struct.dataclass
class TeacherRollout:
    """Played episodes, NumPy.

    Attributes:
        episodes: where they began, [episode] each.
        start_qpos: [episode, nq] pose before the first step.
        possible_steps: [episode] control steps from the start to the end of the clip.
        steps: [time, episode, ...] each control step.
        control_hz: steps per second.
    """

    episodes: Episodes
    start_qpos: np.ndarray
    possible_steps: np.ndarray
    steps: TeacherSteps
    control_hz: float = flax.struct.field(pytree_node=False)

    def qpos_of(self, episode: int) -> np.ndarray:
        """Poses [1 + steps, nq] of one episode from before its first step; none that diverged."""
        kept = self.steps.alive[:, episode] & ~self.steps.diverged[:, episode]
        return np.concatenate([self.start_qpos[None, episode], self.steps.qpos[kept, episode]])


class TeacherPlayer:
    """Compiles once and plays whatever policy of the same architecture it is given."""

    def __init__(self, task: ImitationTask):
        """Takes the task; its time limit does not hold here, episodes run to the end of the clip."""
        config = replace(task.config, episode_frames=_NO_TIME_LIMIT)
        self.task = ImitationTask(config, task.walker, task.physics)
        self._steps_per_frame = math.ceil(
            1.0 / (config.mocap_hz * config.physics.control_timestep) - 1e-6
        )
        self._start = jax.jit(partial(_start, self.task))
        self._advance = jax.jit(partial(_advance, self.task), static_argnames="deterministic")

    def play(
        self,
        policy: FrozenPolicy,
        clips: ReferenceClips,
        episodes: Episodes,
        seed: int,
        deterministic: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> TeacherRollout:
        """Plays every episode until it fails or its clip ends; none begins again.

        Args:
            policy: who acts; a recurrent one starts each episode without memory.
            clips: what is followed.
            episodes: where episodes begin.
            seed: of the actions that are drawn.
            deterministic: act at the mode, else draw latents and actions.
            progress: called with the control steps done and the most that can come.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        self.task.check_clips(clips)
        on_device = jax.tree.map(jnp.asarray, clips)
        state = self._start(on_device, episodes)
        start_qpos = np.asarray(state.physics.qpos)
        num_episodes = len(start_qpos)
        carry = state, policy.initial_memory((num_episodes,)), jnp.ones(num_episodes, bool)
        possible_steps = self._possible_steps(clips, episodes)
        # the frame index may lag by one (`ImitationTask.frame`)
        most_steps, chunks = int(possible_steps.max()) + self._steps_per_frame, []
        keys = jax.random.split(jax.random.PRNGKey(seed), math.ceil(most_steps / CHUNK_STEPS))
        for chunk, key in enumerate(keys):
            carry, steps = self._advance(policy, on_device, carry, key, deterministic=deterministic)
            chunks.append(jax.device_get(steps))
            if progress is not None:
                progress(min((chunk + 1) * CHUNK_STEPS, most_steps), most_steps)
            if not np.any(carry[-1]):
                break
        return TeacherRollout(
            episodes=jax.device_get(episodes),
            start_qpos=start_qpos,
            possible_steps=possible_steps,
            steps=jax.tree.map(lambda *parts: np.concatenate(parts), *chunks),
            control_hz=1.0 / self.task.config.physics.control_timestep,
        )

    def _possible_steps(self, clips: ReferenceClips, episodes: Episodes) -> np.ndarray:
        config = self.task.config
        last = np.asarray(clips.lengths)[np.asarray(episodes.clip)] - 1 - config.traj_length
        seconds = (last - np.asarray(episodes.start_frame)) / config.mocap_hz
        steps = np.ceil(seconds / config.physics.control_timestep - 1e-6)
        return np.maximum(steps.astype(int), 1)


def _start(task: ImitationTask, clips: ReferenceClips, episodes: Episodes) -> Any:
    reset = jax.vmap(lambda e: task.reset_to(e.key, clips, e.clip, e.start_frame, e.key))
    return reset(episodes)


def _advance(
    task: ImitationTask,
    policy: FrozenPolicy,
    clips: ReferenceClips,
    carry: tuple[Any, Any, jax.Array],
    key: jax.Array,
    *,
    deterministic: bool,
) -> tuple[tuple[Any, Any, jax.Array], TeacherSteps]:
    """`CHUNK_STEPS` control steps of all episodes: environments, memory, who is alive."""

    def control_step(carry, key):
        state, memory, alive = carry
        observation = jax.vmap(lambda s: task.observe(s, clips))(state).flat()
        output = policy.act(observation, memory, key=None if deterministic else key)
        state, outcome = jax.vmap(lambda s, a: task.step(s, a, clips))(state, output.action)
        step = TeacherSteps(
            alive=alive,
            reward=outcome.reward,
            terms=outcome.terms,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            diverged=outcome.failures["nan"],
            frame=jax.vmap(task.frame)(state),
            qpos=state.physics.qpos,
        )
        return (state, output.memory, alive & ~(outcome.terminated | outcome.truncated)), step

    return jax.lax.scan(control_step, carry, jax.random.split(key, CHUNK_STEPS))
