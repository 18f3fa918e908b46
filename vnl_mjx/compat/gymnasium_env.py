"""Wraps any `Task` as an environment of Gymnasium, single or vectorised.

    env = TaskEnv(task, data)  # data: what the task reads besides its state, such as clips
    envs = TaskVectorEnv(task, data, num_envs=64)

JAX compiles the steps; inputs and outputs are NumPy arrays. `vnl_mjx.gymnasium_ids` has ids for
`gymnasium.make`, which load stored policies' tasks. Importing this module imports Gymnasium (extra
`gymnasium`).
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

import jax
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.tasks.environment import Observation, StepOutcome, Task, VectorEnvironment
from vnl_mjx.versions import how_to_install

try:
    from gymnasium import Env, spaces
    from gymnasium.utils import seeding
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ModuleNotFoundError as error:
    raise UserError(
        "gymnasium: needs the extra 'gymnasium', found no gymnasium; run "
        + how_to_install("gymnasium")
    ) from error

Layout = Literal["flat", "parts"]
Observed: TypeAlias = np.ndarray | dict[str, np.ndarray]
Info: TypeAlias = dict[str, Any]


class Camera(Protocol):
    """Renders an environment."""

    def picture(self, state: Any) -> np.ndarray:
        """Returns a picture, uint8 [height, width, 3], of the state of one environment."""
        ...

    def close(self) -> None:
        """Frees the renderer; may be called again."""
        ...


class TaskEnv(Env[Observed, np.ndarray]):
    """One environment.

    Observations are float32, actions float32 [action_size] in [-1, 1]. `info` of a step holds "reward_terms",
    "distances" and "failures" by name, and "overflowed" (`StepOutcome`).

    Attributes:
        task: the simulated task.
        state: state of the task, None before the first reset.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        data: Any = (),
        *,
        observation: Layout = "flat",
        render_mode: str | None = None,
        camera: Camera | None = None,
    ):
        """Builds the spaces; the first reset compiles.

        Args:
            task: the task, on any physics back end.
            data: data that the task reads besides its state.
            observation: "flat", or "parts" for a dict of the parts.
            render_mode: None, or "rgb_array" with a `camera`.
            camera: renders the pictures of `render`.

        Raises:
            UserError: `observation` or `render_mode` is unknown, or there is no camera.
        """
        self.render_mode, self._camera = checked_render_mode(render_mode, camera), camera
        self.metadata = self.metadata | render_rate(task)
        self.observation_space, self.action_space = task_spaces(task, observation)
        self.task, self.state, self._data = task, None, jax.device_put(data)

        def start(key: jax.Array, data: Any) -> tuple[Any, Any]:
            state = task.reset(key, data)
            return state, observed(task.observe(state, data), observation)

        def step(state: Any, action: jax.Array, data: Any) -> tuple[Any, Any, StepOutcome]:
            state, outcome = task.step(state, action, data)
            return state, observed(task.observe(state, data), observation), outcome

        self._start, self._step = jax.jit(start), jax.jit(step)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, Info]:
        """Starts an episode; `options` must be empty."""
        super().reset(seed=seed)
        refuse_options(options)
        self.state, obs = self._start(drawn_key(self.np_random), self._data)
        return copied(obs), {}

    def step(self, action: np.ndarray) -> tuple[Observed, float, bool, bool, Info]:
        """Makes one control step with `action` [action_size]."""
        action = np.asarray(action, np.float32)
        self.state, obs, outcome = self._step(self.state, action, self._data)
        outcome = jax.tree.map(lambda x: x.item(), jax.device_get(outcome))
        info = step_info(outcome)
        return copied(obs), outcome.reward, outcome.terminated, outcome.truncated, info

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture, uint8 [height, width, 3], in the mode "rgb_array"."""
        if self._camera is None or self.render_mode is None:
            return None
        return self._camera.picture(self.state)

    def close(self) -> None:
        """Frees the renderer."""
        if self._camera is not None:
            self._camera.close()


class TaskVectorEnv(VectorEnv[Observed, np.ndarray, np.ndarray]):
    """Many environments in one compiled step.

    An environment whose episode ends is reset in the same step (`AutoresetMode.SAME_STEP`): its observation
    is the first of the next episode, `info` has the last one under "final_obs", an object array, and the
    step's info under "final_info". As in Gymnasium's `SyncVectorEnv`, each entry "name" of an info comes with
    a mask "_name", bool [num_envs]. Environment i of a reset with an int as seed starts as a `TaskEnv` with
    `seed + i` does.

    Attributes:
        task: the simulated task.
        state: of all environments, None before the first reset.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    _camera: Camera | None = None  # older Gymnasiums close environments that were never built

    def __init__(
        self,
        task: Task,
        data: Any = (),
        *,
        num_envs: int = 1,
        observation: Layout = "flat",
        render_mode: str | None = None,
        camera: Camera | None = None,
    ):
        """Builds the spaces; see `TaskEnv`."""
        self.render_mode, self._camera = checked_render_mode(render_mode, camera), camera
        self.metadata = self.metadata | render_rate(task)
        self.single_observation_space, self.single_action_space = task_spaces(task, observation)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.task, self.num_envs, self.state = task, num_envs, None
        self._data = jax.device_put(data)
        env = VectorEnvironment(task)

        def start(keys: jax.Array, data: Any) -> tuple[Any, Any]:
            state = jax.vmap(lambda key: task.reset(key, data))(keys)
            return state, observed(env.observe(state, data), observation)

        def step(state: Any, action: jax.Array, data: Any) -> tuple[Any, Any, Any, StepOutcome]:
            moved, outcome = env.step(state, action, data)
            state = env.reset_finished(moved, outcome, data)
            seen = [observed(env.observe(s, data), observation) for s in (state, moved)]
            return state, *seen, outcome

        self._start, self._step = jax.jit(start), jax.jit(step)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observed, Info]:
        """Starts all episodes; `seed` is the first one's, or a list of all. `options` must be empty."""
        refuse_options(options)
        if isinstance(seed, list):
            seeds = seed
        else:
            super().reset(seed=seed)
            seeds = [None if seed is None else seed + row for row in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise UserError(f"seed: expected {self.num_envs} seeds, found {len(seeds)}")
        sources = [self.np_random if s is None else seeding.np_random(s)[0] for s in seeds]
        keys = np.stack([drawn_key(source) for source in sources])
        self.state, obs = self._start(keys, self._data)
        return copied(obs), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observed, np.ndarray, np.ndarray, np.ndarray, Info]:
        """Makes one control step with `actions` [num_envs, action_size]; resets ended episodes."""
        actions = np.asarray(actions, np.float32)
        self.state, obs, last, outcome = self._step(self.state, actions, self._data)
        outcome = copied(outcome)
        done = outcome.terminated | outcome.truncated
        info = masked(step_info(outcome), ~done)
        if done.any():
            final, last = np.full(self.num_envs, None, object), copied(last)
            for row in np.flatnonzero(done):
                final[row] = jax.tree.map(lambda x, row=row: x[row].copy(), last)
            info |= {"final_obs": final, "_final_obs": done.copy()}
            info |= masked({"final_info": step_info(outcome)}, done)
        return copied(obs), outcome.reward, outcome.terminated, outcome.truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns a picture of each environment, uint8 [height, width, 3]."""
        if self._camera is None or self.render_mode is None:
            return None
        picture = self._camera.picture
        rows = range(self.num_envs)
        return tuple(picture(jax.tree.map(lambda x, row=row: x[row], self.state)) for row in rows)

    def close_extras(self, **kwargs: Any) -> None:
        """Frees the renderer."""
        if self._camera is not None:
            self._camera.close()


def task_spaces(task: Task, layout: Layout) -> tuple[spaces.Space, spaces.Box]:
    """Returns the spaces of observations and actions of one environment."""
    if layout not in ("flat", "parts"):
        raise UserError(f"observation: expected 'flat' or 'parts', found {layout!r}")

    def box(size: int, bound: float) -> spaces.Box:
        return spaces.Box(-bound, bound, (size,), np.float32)

    sizes: Mapping[str, int] = task.observation_sizes
    if layout == "flat":
        seen: spaces.Space = box(sum(sizes.values()), np.inf)
    else:
        seen = spaces.Dict({name: box(size, np.inf) for name, size in sizes.items()})
    return seen, box(task.action_size, 1.0)


def observed(observation: Observation, layout: Layout) -> Any:
    """Returns an observation in the form of the space."""
    return observation.flat() if layout == "flat" else dict(observation.parts)


def step_info(outcome: StepOutcome) -> Info:
    """Returns the entries of an info on a step."""
    return {
        "reward_terms": outcome.terms,
        "distances": outcome.distances,
        "failures": outcome.failures,
        "overflowed": outcome.overflowed,
    }


def masked(info: Info, mask: np.ndarray) -> Info:
    """Returns an info with zeros outside the rows [num_envs] bool, and the mask beside each entry."""
    found = {}
    for name, value in info.items():
        is_group = isinstance(value, Mapping)
        found[name] = masked(dict(value), mask) if is_group else np.where(mask, value, False)
        found[f"_{name}"] = mask.copy()
    return found


def drawn_key(source: np.random.Generator) -> np.ndarray:
    """Draws a raw key of JAX, uint32 [2]."""
    return source.integers(2**32, size=2, dtype=np.uint32)


def copied(tree: Any) -> Any:
    """Returns writable NumPy arrays of their own."""
    return jax.tree.map(np.array, tree)


def refuse_options(options: dict[str, Any] | None) -> None:
    """Raises UserError for any option of a reset."""
    if options:
        raise UserError(f"options: expected none, found {', '.join(map(str, options))}")


def checked_render_mode(mode: str | None, camera: Camera | None) -> str | None:
    """Returns the render mode; raises UserError if it is unknown or has no camera."""
    if mode not in (None, "rgb_array"):
        raise UserError(f"render_mode: expected None or 'rgb_array', found {mode!r}")
    if mode is not None and camera is None:
        raise UserError(f"render_mode: {mode!r} needs a camera, found none; give camera=")
    return mode


def render_rate(task: Any) -> dict[str, float]:
    """Returns the control rate as metadata; nothing for a task without physics."""
    physics = getattr(task, "physics", None)
    return {} if physics is None else {"render_fps": 1.0 / physics.config.control_timestep}
