"""The programs that track-mjx compiles, in their shape and on the same model: what ours are measured by.

Facts from its `environment/task/single_clip_tracking.py` and `environment/wrappers.py`: brax's MJX
pipeline, whose whole state an environment carries; brax's wrappers around it, which keep a second one to
return to; clips that are constants of the program. Rewards and observations here are a few lines, and
there are neither networks nor learning, so what is measured is less than what it compiles.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

with (
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
    warnings.catch_warnings(),
):
    # brax imports MJX, which prints that Warp is missing, and a package that says that it is old.
    warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
    from brax.envs.base import PipelineEnv, State
    from brax.envs.wrappers.training import AutoResetWrapper, EpisodeWrapper, VmapWrapper
    from brax.io import mjcf

NUM_FRAMES_AHEAD = 5


class UpstreamShape(PipelineEnv):
    """Follow a clip, drawn at each start."""

    def __init__(self, model: mujoco.MjModel, num_substeps: int, poses: np.ndarray):
        """Takes the configured model and the poses of the clips, [clip, frame, nq]."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Brax System", UserWarning)  # it is not maintained
            system = mjcf.load_model(model)
        super().__init__(system, backend="mjx", n_frames=num_substeps)
        self._poses = jnp.asarray(poses, jnp.float32)
        self._last_start = self._poses.shape[1] - NUM_FRAMES_AHEAD - 1

    def reset(self, rng: jax.Array) -> State:
        """Starts at a drawn frame of a drawn clip."""
        clip_key, frame_key, noise_key = jax.random.split(rng, 3)
        clip = jax.random.randint(clip_key, (), 0, len(self._poses))
        frame = jax.random.randint(frame_key, (), 0, self._last_start + 1)
        noise = jax.random.uniform(noise_key, (self.sys.nv,), minval=-1e-3, maxval=1e-3)
        data = self.pipeline_init(self._poses[clip, frame], noise)
        info = {"clip": clip, "frame": frame}
        zero = jnp.zeros(())
        return State(data, self._observe(data, info), zero, zero, {"error": zero}, info)

    def step(self, state: State, action: jax.Array) -> State:
        """One control step."""
        data = self.pipeline_step(state.pipeline_state, action)
        info = dict(state.info)
        info["frame"] = jnp.minimum(info["frame"] + 1, self._last_start)
        error = jnp.sum((data.qpos - self._poses[info["clip"], info["frame"]]) ** 2)
        is_nan = [jnp.isnan(x).any() for x in jax.tree.leaves(data)]
        done = jnp.float32((error > 1.0) | jnp.stack(is_nan).any())
        return state.replace(
            pipeline_state=data,
            obs=self._observe(data, info),
            reward=jnp.exp(-error),
            done=done,
            metrics={"error": error},
            info=info,
        )

    def _observe(self, data: Any, info: dict[str, jax.Array]) -> jax.Array:
        ahead = jax.lax.dynamic_slice_in_dim(
            self._poses[info["clip"]], info["frame"] + 1, NUM_FRAMES_AHEAD
        )
        own = data.qpos, data.qvel, data.qfrc_actuator, data.xpos.ravel()
        return jnp.concatenate([(ahead - data.qpos).ravel(), *own])


def upstream_programs(
    model: mujoco.MjModel,
    num_substeps: int,
    poses: np.ndarray,
    num_envs: int,
    unroll_length: int,
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """By name: a function to compile, and the shapes of its arguments.

    Args:
        model: configured as the back end has it.
        num_substeps: physics steps per control step.
        poses: of the clips to follow, [clip, frame, nq].
        num_envs: environments.
        unroll_length: control steps of a rollout.
    """
    env = UpstreamShape(model, num_substeps, poses)
    env = AutoResetWrapper(VmapWrapper(EpisodeWrapper(env, 200, 1)))

    def rollout(state: State, key: jax.Array):
        def step(state, key):
            action = jax.random.uniform(key, (num_envs, model.nu), minval=-1.0)
            state = env.step(state, action)
            return state, (state.obs, action, state.reward, state.done)

        return jax.lax.scan(step, state, jax.random.split(key, unroll_length))

    key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.PRNGKey(0), num_envs))
    state = jax.eval_shape(env.reset, keys)
    return {"reset": (env.reset, (keys,)), "rollout": (rollout, (state, key))}
