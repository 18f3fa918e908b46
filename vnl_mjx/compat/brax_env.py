"""The imitation task behind the environment interfaces of brax and of MuJoCo Playground.

    env = BraxImitationEnv(task, clips)
    brax.training.agents.ppo.train.train(env, wrap_env_fn=wrap_for_training, episode_length=195, ...)

Two conventions of starting again are to be had. With `auto_reset` (the default), the environment
restarts itself at a freshly drawn clip and frame, as in our own trainer: wrap it by
`wrap_for_training`. Without, brax's and Playground's own wrappers can be used. Those put a finished
environment back to the state of its first reset, and their episode wrapper writes its own
`info["truncation"]`, so that the end of a clip reaches brax's PPO as a failure.

brax is loaded when the first environment is made, not on import. Playground need not be installed.
(`train` of brax 0.14.2 calls `jax.device_put_replicated`, which JAX 0.10 lacks; the rest of it works.)
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

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask

_FAILED = "failed_{}"


@flax.struct.dataclass
class PlaygroundState:
    """A state with the fields of MuJoCo Playground's `mjx_env.State`.

    `data` is the environment (`data.physics` has qpos and qvel), the rest is as in brax's `State`.
    """

    data: ImitationState
    obs: Any
    reward: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    info: dict[str, Any]


class BraxImitationEnv:
    """One imitation environment as a `brax.envs.Env`; batch it with `wrap_for_training` or `vmap`.

    `State.pipeline_state` is the whole `ImitationState`, so putting it back restores the episode too.
    `State.metrics` holds the reward terms and failures of the step. `State.info` holds `truncation` (1
    where the clip or the time limit ended without a failure) and, with `auto_reset`, what brax's
    episode wrapper would add: `steps` and `episode_metrics` of the episode so far, `episode_done`. After
    the last step of an episode these are still its own, while `pipeline_state` and `obs` are the next's.
    """

    _state_field = "pipeline_state"
    _state_type: Any = None  # brax's `State`, once it is loaded

    def __init__(
        self,
        task: ImitationTask,
        clips: ReferenceClips,
        *,
        auto_reset: bool = True,
        episode_length: int | None = None,
        observation: str = "flat",
    ):
        """Checks the clips.

        Args:
            task: the task, on any physics back end.
            clips: to start in.
            auto_reset: start again at a freshly drawn clip and frame in the step that ends an episode.
            episode_length: control steps after which an episode is truncated; only with `auto_reset`.
            observation: "flat", reference before proprioception, or "parts" for a dict of the two.

        Raises:
            UserError: a clip is too short, or has another frame rate.
        """
        if observation not in ("flat", "parts"):
            raise ValueError(f'{observation=} must be "flat" or "parts"')
        if episode_length is not None and not auto_reset:
            raise ValueError(f"{episode_length=} needs auto_reset=True")
        task.check_clips(clips)
        self.task, self.clips = task, jax.device_put(clips)
        self.auto_reset, self.episode_length = auto_reset, episode_length
        self._observation = observation
        self._state_type = self._state_type or _brax().State

    def reset(self, rng: jax.Array) -> Any:
        """Starts at a drawn clip and frame; `rng` is one raw key, [2] uint32."""
        start = self.task.reset(rng, self.clips)
        zero = jnp.float32(0)
        _, outcome = jax.eval_shape(self.task.step, start, start.previous_action, self.clips)
        metrics = dict.fromkeys((*outcome.terms, *map(_FAILED.format, outcome.failures)), zero)
        info: dict[str, Any] = {"truncation": zero}
        if self.auto_reset:
            sums = dict.fromkeys(("sum_reward", "length", *metrics), zero)
            info |= {"steps": zero, "episode_done": zero, "episode_metrics": sums}
        fields = {"obs": self._observe(start), "reward": zero, "done": zero, "metrics": metrics}
        return self._state_type(info=info, **fields, **{self._state_field: start})

    def step(self, state: Any, action: jax.Array) -> Any:
        """One control step with `action` [action_size] in (-1, 1)."""
        before: ImitationState = getattr(state, self._state_field)
        after, outcome = self.task.step(before, action, self.clips)
        truncated = outcome.truncated
        if self.episode_length is not None:
            truncated |= (after.num_steps >= self.episode_length) & ~outcome.terminated
        done = outcome.terminated | truncated
        metrics = _metrics(outcome)
        info: dict[str, Any] = {"truncation": truncated.astype(jnp.float32)}
        if self.auto_reset:
            now = {"sum_reward": outcome.reward, "length": jnp.float32(1), **metrics}
            info["steps"] = after.num_steps.astype(jnp.float32)
            info["episode_done"] = done.astype(jnp.float32)
            info["episode_metrics"] = _episode_sums(state, now)
            after = self.task.reset_where(done, after, self.clips)
        return state.replace(
            obs=self._observe(after),
            reward=outcome.reward,
            done=done.astype(jnp.float32),
            # What wrappers keep in the two dicts stays there.
            metrics={**state.metrics, **metrics},
            info={**state.info, **info},
            **{self._state_field: after},
        )

    @property
    def observation_size(self) -> int | Mapping[str, tuple[int, ...]]:
        """Length of the flat observation, or the shape of each part."""
        layout = self.task.layout
        reference, proprioception = layout.reference_size, layout.proprioception_size
        if self._observation == "flat":
            return reference + proprioception
        return {"reference": (reference,), "proprioception": (proprioception,)}

    @property
    def action_size(self) -> int:
        """Number of actuators."""
        return self.task.action_size

    @property
    def backend(self) -> str:
        """Name of the physics back end's class."""
        return type(self.task.physics).__name__

    @property
    def dt(self) -> float:
        """Seconds per control step."""
        return self.task.config.physics.control_timestep

    @property
    def mj_model(self) -> mujoco.MjModel:
        """The simulated model, with the task's solver and time step."""
        return self.task.physics.model

    @property
    def unwrapped(self) -> "BraxImitationEnv":
        """Itself."""
        return self

    def _observe(self, state: ImitationState) -> jax.Array | dict[str, jax.Array]:
        parts = self.task.observe(state, self.clips)
        if self._observation == "flat":
            return parts.flat()
        return {name: parts[name] for name in ("reference", "proprioception")}


class PlaygroundImitationEnv(BraxImitationEnv):
    """The same with the interface of MuJoCo Playground's `MjxEnv`, without `render`."""

    _state_field, _state_type = "data", PlaygroundState

    @property
    def sim_dt(self) -> float:
        """Seconds per physics step."""
        return self.task.config.physics.timestep

    @property
    def n_substeps(self) -> int:
        """Physics steps per control step."""
        return self.task.config.physics.num_substeps

    @property
    def xml_path(self) -> str:
        """What the walker was built from: "rodent" or the path of an MJCF file."""
        return self.task.walker.config.source

    @cached_property
    def mjx_model(self) -> Any:
        """`mj_model` on the device, for reading: a change to it does not reach the simulation."""
        from vnl_mjx.physics.mjx import mjx

        return mjx.put_model(self.mj_model, impl="jax")


def wrap_for_training(
    env: BraxImitationEnv,
    episode_length: int | None = None,
    action_repeat: int = 1,
    randomization_fn: Any = None,
) -> Any:
    """Many environments that restart freshly, in brax's `VmapWrapper`: `reset` takes [num_envs, 2] keys.

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
    """Sums of the episode with the step `now`; they begin anew where `state` had ended one."""
    sums, goes_on = state.info["episode_metrics"], 1.0 - state.done
    return {name: goes_on * sums[name] + value for name, value in now.items()}


def _brax() -> SimpleNamespace:
    """The parts of brax that are used; `BraxImitationEnv` counts as its `Env` from then on."""
    quiet = io.StringIO()
    # MJX prints that Warp is missing, and jaxopt warns that it is no longer maintained.
    with redirect_stdout(quiet), redirect_stderr(quiet), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from brax.envs.base import Env, State
        from brax.envs.wrappers.training import VmapWrapper
    Env.register(BraxImitationEnv)
    return SimpleNamespace(State=State, VmapWrapper=VmapWrapper)
