"""Runs an episode of a task step by step, and defines the actors of its page."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.report.rendering.live import LiveEpisode, LiveStep, ViewedPolicy
from vnl_mjx.tasks.downstream.task import LATENT_MEASURES, DownstreamData, DownstreamTask
from vnl_mjx.tasks.environment import VectorEnvironment
from vnl_mjx.tasks.policies import Policy
from vnl_mjx.training.rollout import RolloutState, Step, begin, rollout


class Actor(Protocol):
    """Defines an actor on a page.

    Attributes:
        obeys: whether a command is its goal.
        begins_in_clip: whether an episode starts in a given clip.
    """

    obeys: bool
    begins_in_clip: bool

    def start(self, clip: int) -> LiveStep:
        """Starts an episode; `clip` counts if `begins_in_clip`."""
        ...

    def step(self, command: np.ndarray) -> LiveStep:
        """Makes one control step; `command` [size] counts if `obeys`."""
        ...


class TaskActor:
    """Runs a policy in its task, in one environment; a step is one compiled call."""

    begins_in_clip = False

    def __init__(
        self,
        task: DownstreamTask,
        data: DownstreamData,
        policy: Policy,
        seed: int = 0,
        obeys: bool = False,
    ):
        """Compiles nothing yet.

        Args:
            task: the task.
            data: data that the task reads.
            policy: the policy.
            seed: seed of starts and goals.
            obeys: the goal is the command, an array; otherwise the task draws it.
        """
        self.obeys, env = obeys, VectorEnvironment(task)
        self._policy, self._data, self._key = policy, data, jax.random.key(seed)
        self._marks = jax.jit(lambda state: task.goal.marks(_first(state.environments.goal)))
        self._reset = jax.jit(lambda policy, data, key: begin(env.reset(key, 1, data), policy, 1))

        def record(step: Step) -> Any:
            after, outcome = step.after, step.outcome
            marks = jax.vmap(lambda state: task.goal.marks(state.goal))(after)
            ends = outcome.terminated, outcome.truncated
            measures = {n: x for n, x in outcome.distances.items() if n not in LATENT_MEASURES}
            return after.physics.qpos, outcome.reward, ends, marks, measures

        def advance(
            policy: Policy, data: DownstreamData, state: RolloutState, command: jax.Array, key: Any
        ) -> Any:
            key, own = jax.random.split(key)
            if obeys:
                told = state.environments.replace(goal=command[None])
                state = state.replace(environments=told)
            state, steps, _ = rollout(env, policy, state, data, own, 1, record, reset=False)
            return state, key, _first(_first(steps))

        self._advance = jax.jit(advance)

    def start(self, clip: int = 0) -> LiveStep:
        """See `Actor`; the task draws the start."""
        self._key, key = jax.random.split(self._key)
        self._state = self._reset(self._policy, self._data, key)
        qpos = np.asarray(self._state.environments.physics.qpos)[0]
        return LiveStep(qpos, None, 0.0, False, False, marks=np.asarray(self._marks(self._state)))

    def step(self, command: np.ndarray) -> LiveStep:
        """See `Actor`."""
        goal = jnp.asarray(command, jnp.float32)
        told = self._advance(self._policy, self._data, self._state, goal, self._key)
        self._state, self._key, step = told
        qpos, reward, (failed, over), marks, measures = jax.device_get(step)
        return LiveStep(
            qpos, None, float(reward), bool(failed), bool(over), marks=marks, measures=measures
        )


class ClipActor:
    """Runs a student on a clip, or its prior from the clip's first frame on."""

    obeys, begins_in_clip = False, True

    def __init__(self, episode: LiveEpisode, policy: ViewedPolicy):
        """Takes an episode and the policy."""
        self._episode, self._policy, self._actor = episode, policy, policy.actor()

    def start(self, clip: int) -> LiveStep:
        """See `Actor`."""
        return self._seen(self._episode.start(clip))

    def step(self, command: np.ndarray) -> LiveStep:
        """See `Actor`."""
        return self._seen(self._episode.step(self._policy, self._actor))

    def _seen(self, step: LiveStep) -> LiveStep:
        return step if self._policy.follows else step.alone()


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)
