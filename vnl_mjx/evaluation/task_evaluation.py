"""Evaluates a task's policy in a student's latent space, and its distance from the student's prior."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import masking
from vnl_mjx.evaluation.bootstrap import UNKNOWN, interval
from vnl_mjx.evaluation.motion_statistics import ClipMotions
from vnl_mjx.evaluation.prior_rollouts import wilson
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.downstream.task import (
    BEYOND,
    DISTANCE,
    LATENT_MEASURES,
    DownstreamData,
    DownstreamTask,
)
from vnl_mjx.tasks.environment import Observation, VectorEnvironment
from vnl_mjx.tasks.policies import Acted, Policy, TeacherPolicy
from vnl_mjx.training.rollout import Step, begin, rollout

CHUNK_S = 1.0  # compiled together
SETTLED_S = 1.5  # after another goal was drawn: what is measured from then on is "settled"
SETTLED = "_settled"


@flax.struct.dataclass
class HeldPolicy:
    """Holds each action of a policy for several control steps.

    Attributes:
        policy: the policy.
        times: static; control steps that an action lasts.
        action_size: static.
    """

    policy: Policy
    times: int = flax.struct.field(pytree_node=False)
    action_size: int = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`; holds the policy's memory, its last action, and for how many steps that was held."""
        action = jnp.zeros((num_envs, self.action_size))
        return self.policy.initial_memory(num_envs), action, jnp.zeros(num_envs, jnp.int32)

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        inner, last, count = memory
        acted, is_due = self.policy.act(observation, inner, key), count % self.times == 0
        action, inner = masking.where(is_due, (acted.action, acted.memory), (last, inner))
        return Acted(action, (inner, action, count + 1), acted.extra)


def task_policy(policy: FrozenPolicy, action_repeat: int) -> HeldPolicy:
    """Returns a task's trained policy, acting at its mode."""
    return HeldPolicy(TeacherPolicy(policy), action_repeat, policy.config.action_size)


@flax.struct.dataclass
class ConstantAction:
    """Returns the same action always, as a baseline.

    Attributes:
        action: [action], or one for each environment [num_envs, action].
    """

    action: jax.Array

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return ()

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        num_envs = next(iter(observation.parts.values())).shape[0]
        action = jnp.broadcast_to(self.action, (num_envs, self.action.shape[-1]))
        return Acted(action, memory, ())


@dataclass(frozen=True)
class TaskEpisodes:
    """Holds episodes of a task in NumPy, [time, episode, ...]; entries where `alive` is false mean nothing.

    Attributes:
        alive: bool, the episode had not ended before this step.
        reward: of this step.
        measures: named measures (`Goal.measures`, and the latent's distance from the prior's mean).
        fell: bool, the step ended in a fall or a simulation that diverged.
        qpos: [time, episode, nq] after the step.
        marks: [time, episode, mark, 3] places to show (`Goal.marks`), m.
        start_qpos: [episode, nq].
        control_hz: steps per second.
    """

    alive: np.ndarray
    reward: np.ndarray
    measures: dict[str, np.ndarray]
    fell: np.ndarray
    qpos: np.ndarray
    marks: np.ndarray
    start_qpos: np.ndarray
    control_hz: float

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return self.alive.shape[1]

    def qpos_of(self, episode: int) -> np.ndarray:
        """Returns poses [1 + steps, nq] of one episode, up to its end."""
        kept = self.alive[:, episode]
        return np.concatenate([self.start_qpos[None, episode], self.qpos[kept, episode]])


class TaskPlayer:
    """Runs episodes of one task; compiles once for all policies of one kind."""

    def __init__(self, task: DownstreamTask):
        """Takes the task, with episodes of the wanted length."""
        self.task, self._env = task, VectorEnvironment(task)
        self._chunk = max(1, round(CHUNK_S / task.control_timestep))
        self._begin = jax.jit(self._env.reset, static_argnums=1)
        self._advance = jax.jit(
            lambda policy, data, state, key: rollout(
                self._env, policy, state, data, key, self._chunk, self._recorded, reset=False
            )[:2]
        )

    def play(
        self,
        policy: Policy,
        data: DownstreamData,
        num_episodes: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> TaskEpisodes:
        """Runs episodes together until the last one ends; a seed fixes starts and goals."""
        key, start_key = jax.random.split(jax.random.key(seed))
        state = begin(self._begin(start_key, num_episodes, data), policy, num_episodes)
        start_qpos, total = np.asarray(state.environments.physics.qpos), self.task.episode_steps
        chunks = []
        while len(chunks) * self._chunk < total and bool(state.alive.any()):
            key, own = jax.random.split(key)
            state, recorded = self._advance(policy, data, state, own)
            chunks.append(jax.device_get(recorded))
            if progress is not None:
                progress(min(len(chunks) * self._chunk, total), total)
        steps = jax.tree.map(lambda *x: np.concatenate(x)[:total], *chunks)
        return TaskEpisodes(
            **steps, start_qpos=start_qpos, control_hz=1.0 / self.task.control_timestep
        )

    def _recorded(self, step: Step) -> dict[str, Any]:
        outcome = step.outcome
        return {
            "alive": step.alive,
            "reward": outcome.reward,
            "measures": outcome.distances,
            "fell": outcome.terminated,
            "qpos": step.after.physics.qpos,
            # a goal may have no arrays
            "marks": jax.vmap(self.task.goal.marks, axis_size=len(step.alive))(step.after.goal),
        }


def evaluate_task(
    played: TaskEpisodes,
    task: DownstreamTask,
    data: DownstreamData,
    clips: ClipMotions | None = None,
) -> dict[str, Any]:
    """Measures episodes; JSON-able.

    Returns:
        `num_episodes`, `seconds`; under `measures` each with its mean and 95 % interval: the mean over an
        episode's steps, of `Goal.events` the sum, and with `_settled` behind the name the mean over the steps
        from `SETTLED_S` on after another goal was drawn; `no_fall`, the share of episodes without a fall;
        `reward` per step; `latent`: how far from the prior's mean (in its deviations), the share of steps
        `beyond` the radius within which 95 % of the prior lie, and `variance_ratio`, the mean square over
        that of the prior's own draws; with `clips` `motion`, as `compare_motions` with them.
    """
    alive, goal = played.alive, task.goal
    measures = {
        name: _each(values, alive, name in goal.events) for name, values in played.measures.items()
    }
    if goal.redraw_s is not None:
        period = round(goal.redraw_s * played.control_hz)
        since = np.arange(len(alive)) % period
        settled = alive & (since >= SETTLED_S * played.control_hz)[:, None]
        for name, values in played.measures.items():
            if name not in goal.events and name not in LATENT_MEASURES:
                measures[name + SETTLED] = _each(values, settled)
    fell = (played.fell & alive).any(axis=0)
    found: dict[str, Any] = {
        "num_episodes": played.num_episodes,
        "seconds": task.episode_steps / played.control_hz,
        "measures": {n: _interval(v) for n, v in measures.items() if n not in LATENT_MEASURES},
        "no_fall": _share(~fell),
        "reward": _interval(_each(played.reward, alive)),
    }
    if DISTANCE in played.measures:
        found["latent"] = _latent(played, data)
    if clips is not None:
        trajectories = [played.qpos_of(i) for i in range(played.num_episodes)]
        found["motion"] = clips.compare(trajectories, played.control_hz)
    return found


def headline(found: Mapping[str, Any]) -> dict[str, float]:
    """Returns the means by name, as a row of a log."""
    row = {name: own["mean"] for name, own in found["measures"].items()}
    row |= {"no_fall": found["no_fall"]["mean"], "reward_per_step": found["reward"]["mean"]}
    if "latent" in found:
        row |= {f"latent_{name}": value for name, value in found["latent"].items()}
    return {name: float("nan") if value is None else value for name, value in row.items()}


def _latent(played: TaskEpisodes, data: DownstreamData) -> dict[str, float]:
    distance = played.measures[DISTANCE][played.alive]
    size = data.low_level.student.latent_dim
    return {
        "distance_median": float(np.median(distance)),
        "distance_95": float(np.quantile(distance, 0.95)),
        "beyond": float(played.measures[BEYOND][played.alive].mean()),
        "variance_ratio": float(np.mean(np.square(distance)) / size),
    }


def _each(values: np.ndarray, counts: np.ndarray, is_event: bool = False) -> np.ndarray:
    """Returns the mean or sum over the counted steps of each episode, [episode]; NaN without any."""
    sums, steps = np.where(counts, values, 0.0).sum(axis=0), counts.sum(axis=0)
    if is_event:
        return sums
    return np.where(steps > 0, sums / np.maximum(steps, 1), np.nan)


def _interval(values: np.ndarray) -> dict[str, float | None]:
    if not np.isfinite(values).any():
        return UNKNOWN.as_dict()
    return interval(values, np.arange(len(values))).as_dict()


def _share(holds: np.ndarray) -> dict[str, float | None]:
    share = np.array([holds.mean()])
    (low,), (high,) = wilson(share, len(holds))
    return {"mean": float(share[0]), "low": float(low), "high": float(high)}
