"""Wraps any `Task` as an environment of brax and of MuJoCo Playground.

    env = BraxTaskEnv(task, data)  # data: what the task reads besides its state, such as clips
    brax.training.agents.sac.train.train(env, wrap_env_fn=wrap_for_training, episode_length=195, ...)

Two conventions of restarting are available. With `auto_reset` (the default), the environment restarts with
a fresh reset of the task, as in our own trainer: wrap it in `wrap_for_training`. Without it, use brax's or
Playground's own wrappers. These put a finished environment back to the state of its first reset, and their
episode wrapper writes its own `info["truncation"]`, so an end without a failure (of a clip, or by time)
reaches brax's PPO as a failure.

The first environment loads brax, not the import of this module. Playground need not be installed.
docs/other_libraries.md lists the trainers that run.
"""

import copy
import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationTask

_FAILED = "failed_{}"


@flax.struct.dataclass
class PlaygroundState:
    """A state with the fields of MuJoCo Playground's `mjx_env.State`.

    `data` is the task's state (`data.physics` has qpos and qvel), the rest is as in brax's `State`.
    """

    data: Any
    obs: Any
    reward: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    info: dict[str, Any]


class BraxTaskEnv:
    """One environment of a task as a `brax.envs.Env`; batch it with `wrap_for_training` or `vmap`.

    `State.pipeline_state` is the task's whole state, so restoring it restores the episode. `State.metrics`
    holds the reward terms and failures of the step. `State.info` holds `truncation` (1 if the episode ended
    without a failure) and, with `auto_reset`, the entries of brax's episode wrapper: `steps` and
    `episode_metrics` of the episode so far, and `episode_done`. After the last step of an episode these
    still describe that episode, while `pipeline_state` and `obs` belong to the next one.
    """

    _state_field = "pipeline_state"
    _state_type: Any = None  # brax's `State`, once it is loaded

    def __init__(
        self,
        task: Any,
        data: Any = (),
        *,
        auto_reset: bool = True,
        episode_length: int | None = None,
        observation: str = "flat",
    ):
        """Loads brax.

        Args:
            task: a `Task`, on any physics back end.
            data: what it reads besides its state.
            auto_reset: start again, as a reset of the task does, in the step that ends an episode.
            episode_length: control steps after which an episode is truncated; only with `auto_reset`.
            observation: "flat", or "parts" for a dict of the parts.
        """
        if observation not in ("flat", "parts"):
            raise ValueError(f'{observation=} must be "flat" or "parts"')
        if episode_length is not None and not auto_reset:
            raise ValueError(f"{episode_length=} needs auto_reset=True")
        self.task, self.data = task, jax.device_put(data)
        self.auto_reset, self.episode_length = auto_reset, episode_length
        self._observation = observation
        self._state_type = self._state_type or _brax().State

    def reset(self, rng: jax.Array) -> Any:
        """Starts an episode; `rng` is one raw key, [2] uint32."""
        start = self.task.reset(rng, self.data)
        zero = jnp.float32(0)
        _, outcome = jax.eval_shape(self.task.step, start, jnp.zeros(self.action_size), self.data)
        metrics = dict.fromkeys((*outcome.terms, *map(_FAILED.format, outcome.failures)), zero)
        info: dict[str, Any] = {"truncation": zero}
        if self.auto_reset:
            sums = dict.fromkeys(("sum_reward", "length", *metrics), zero)
            info |= {"steps": zero, "episode_done": zero, "episode_metrics": sums}
        fields = {"obs": self._observe(start), "reward": zero, "done": zero, "metrics": metrics}
        return self._state_type(info=info, **fields, **{self._state_field: start})

    def step(self, state: Any, action: jax.Array) -> Any:
        """Makes one control step with `action` [action_size] in (-1, 1)."""
        after, outcome = self.task.step(getattr(state, self._state_field), action, self.data)
        truncated, metrics, info = outcome.truncated, _metrics(outcome), {}
        if self.auto_reset:
            now = {"sum_reward": outcome.reward, "length": jnp.float32(1), **metrics}
            info["episode_metrics"] = sums = _episode_sums(state, now)
            info["steps"] = sums["length"]
        if self.episode_length is not None:
            truncated |= (info["steps"] >= self.episode_length) & ~outcome.terminated
        done = outcome.terminated | truncated
        info["truncation"] = truncated.astype(jnp.float32)
        if self.auto_reset:
            info["episode_done"] = done.astype(jnp.float32)
            fresh = self.task.reset(after.key, self.data, done)
            after = masking.where(done, fresh, after)
        return state.replace(
            obs=self._observe(after),
            reward=outcome.reward,
            done=done.astype(jnp.float32),
            # Keeps the entries of wrappers in the two dicts.
            metrics={**state.metrics, **metrics},
            info={**state.info, **info},
            **{self._state_field: after},
        )

    @property
    def observation_size(self) -> int | Mapping[str, tuple[int, ...]]:
        """Length of the flat observation, or the shape of each part."""
        sizes = self.task.observation_sizes
        if self._observation == "flat":
            return sum(sizes.values())
        return {name: (size,) for name, size in sizes.items()}

    @property
    def action_size(self) -> int:
        """Of an action in (-1, 1)."""
        return self.task.action_size

    @property
    def backend(self) -> str:
        """Name of the physics back end's class."""
        return type(self.task.physics).__name__

    @property
    def dt(self) -> float:
        """Seconds per control step."""
        return self.task.physics.config.control_timestep

    @property
    def mj_model(self) -> mujoco.MjModel:
        """The simulated model, with the task's solver and time step."""
        return self.task.physics.model

    @property
    def unwrapped(self) -> "BraxTaskEnv":
        """The environment itself."""
        return self

    def _observe(self, state: Any) -> jax.Array | dict[str, jax.Array]:
        seen = self.task.observe(state, self.data)
        return seen.flat() if self._observation == "flat" else dict(seen.parts)


class PlaygroundTaskEnv(BraxTaskEnv):
    """The same environment with the interface of MuJoCo Playground's `MjxEnv`, without `render`."""

    _state_field, _state_type = "data", PlaygroundState

    @property
    def sim_dt(self) -> float:
        """Seconds per physics step."""
        return self.task.physics.config.timestep

    @property
    def n_substeps(self) -> int:
        """Physics steps per control step."""
        return self.task.physics.config.num_substeps

    @property
    def xml_path(self) -> str:
        """What the walker was built from: "rodent" or the path of an MJCF file."""
        return self.task.walker.config.source

    @cached_property
    def mjx_model(self) -> Any:
        """`mj_model` on the device, for reading: a change to it does not reach the simulation."""
        from vnl_mjx.physics.mjx import mjx

        return mjx.put_model(self.mj_model, impl="jax")


class _ImitationData:
    """Checks the clips of an imitation task, which are its `data`."""

    def __init__(self, task: ImitationTask, clips: ReferenceClips, **options: Any):
        """Takes `options` as `BraxTaskEnv` does.

        Raises:
            UserError: a clip is too short, or has another frame rate.
        """
        task.check_clips(clips)
        super().__init__(task, clips, **options)  # pyright: ignore[reportCallIssue]
        self.clips = clips


class BraxImitationEnv(_ImitationData, BraxTaskEnv):
    """The imitation task; `data` are its clips."""


class PlaygroundImitationEnv(_ImitationData, PlaygroundTaskEnv):
    """The imitation task; `data` are its clips."""


def wrap_for_training(
    env: BraxTaskEnv,
    episode_length: int | None = None,
    action_repeat: int = 1,
    randomization_fn: Any = None,
) -> Any:
    """Wraps a restarting environment in brax's `VmapWrapper`, whose `reset` takes [num_envs, 2] keys.

    brax's trainers take this function as `wrap_env_fn`. The control rate is the task's `num_substeps`, so
    `action_repeat` must be 1, and its `randomization` takes the place of a `randomization_fn`.

    Raises:
        ValueError: the environment does not restart itself, or an argument is not supported.
    """
    if not env.auto_reset:
        raise ValueError("wrap_for_training needs an environment with auto_reset=True")
    if action_repeat != 1 or randomization_fn is not None:
        raise ValueError(f"not supported: {action_repeat=}, {randomization_fn=}")
    if episode_length is not None:
        env = copy.copy(env)
        env.episode_length = episode_length
    return _brax().VmapWrapper(env)


def _metrics(outcome: StepOutcome) -> dict[str, jax.Array]:
    failures = {_FAILED.format(name): flag for name, flag in outcome.failures.items()}
    return {name: jnp.float32(value) for name, value in {**outcome.terms, **failures}.items()}


def _episode_sums(state: Any, now: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Adds the step `now` to the episode's sums; starts anew if `state` had ended an episode."""
    sums, goes_on = state.info["episode_metrics"], 1.0 - state.done
    return {name: goes_on * sums[name] + value for name, value in now.items()}


def _brax() -> SimpleNamespace:
    """Returns the parts of brax in use, and registers `BraxTaskEnv` as brax's `Env`."""
    quiet = io.StringIO()
    # MJX prints that Warp is missing, and jaxopt warns that it is no longer maintained.
    with redirect_stdout(quiet), redirect_stderr(quiet), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from brax.envs.base import Env, State
        from brax.envs.wrappers.training import VmapWrapper
    Env.register(BraxTaskEnv)
    return SimpleNamespace(State=State, VmapWrapper=VmapWrapper)
