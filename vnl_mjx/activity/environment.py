"""Defines environments that follow a stretch of a recording to its end, whatever happens to the body."""

from dataclasses import replace
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import NO_TIME_LIMIT
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.environment import Observation, StepOutcome, VectorEnvironment
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask


@flax.struct.dataclass
class SessionState:
    """Holds environments, [num_envs] each.

    Attributes:
        imitation: where the next control step begins.
        moved: the simulation after the last control step; equal to `imitation.physics`, but in an open loop
            and after a fall.
        settling: int32, control steps for which the body does not count as following, after a fall.
    """

    imitation: ImitationState
    moved: PhysicsState
    settling: jax.Array


def session_task(task: ImitationTask) -> ImitationTask:
    """Returns the task without a time limit and without noise, whose frame is that of the recording's clock.

    A body is set on the reference with the reference's velocity. `quirks.frame_lags` would be a frame late.
    """
    config = replace(
        task.config,
        episode_frames=NO_TIME_LIMIT,
        reset_noise_scale=0.0,
        initial_velocity="reference",
        quirks=replace(task.config.quirks, frame_lags=False),
    )
    return ImitationTask(config, task.walker, task.physics)


class SessionEnvironment(VectorEnvironment):
    """Follows stretches; sets fallen bodies on the reference anew; in an open loop all, in every step."""

    task: ImitationTask

    def __init__(self, task: ImitationTask, settle_steps: int, open_loop: bool = False):
        """Takes a task of `session_task`, and how long a body settles after a fall."""
        super().__init__(task)
        self._settle_steps, self._open_loop = settle_steps, open_loop

    def start(self, keys: jax.Array, data: ReferenceClips) -> SessionState:
        """Sets each body on the first frame of its own clip of `data`; `keys` are [num_envs, 2]."""
        own = jnp.arange(len(keys), dtype=jnp.int32)
        set_on = jax.vmap(lambda key, clip: self.task.reset_to(key, data, clip, 0, key))
        imitation = set_on(keys, own)
        return SessionState(imitation, imitation.physics, jnp.zeros_like(own))

    def at_first_frame(self, state: SessionState) -> SessionState:
        """Returns the same environments for clips (`sessions.windows`) that begin at their current frame."""
        zero = jnp.zeros_like(state.settling)
        return state.replace(imitation=state.imitation.replace(start_frame=zero, num_steps=zero))

    def observe(self, state: SessionState, data: ReferenceClips) -> Observation:
        """See `Environment.observe`."""
        return super().observe(state.imitation, data)

    def step(
        self, state: SessionState, action: jax.Array, data: ReferenceClips
    ) -> tuple[SessionState, StepOutcome]:
        """See `Environment.step`; only a fall ends an episode, and in an open loop nothing does."""
        imitation, outcome = super().step(state.imitation, action, data)
        never = jnp.zeros_like(outcome.truncated)
        outcome = outcome.replace(truncated=never)
        physics = imitation.physics
        if self._open_loop:
            outcome = outcome.replace(terminated=never)
            placed = self._on_reference(imitation, ~never, data)
            imitation = imitation.replace(physics=placed.physics)
        settling = jnp.maximum(state.settling - 1, 0)
        return SessionState(imitation, physics, settling), outcome

    def reset_finished(
        self, state: SessionState, outcome: StepOutcome, data: ReferenceClips
    ) -> SessionState:
        """Sets the bodies that fell on the reference at that time."""
        if self._open_loop:
            return state
        fell = outcome.done
        placed = self._on_reference(state.imitation, fell, data)
        return SessionState(
            imitation=masking.where(fell, placed, state.imitation),
            moved=state.moved,
            settling=jnp.where(fell, self._settle_steps, state.settling),
        )

    def _on_reference(self, imitation: ImitationState, where: jax.Array, data: Any) -> Any:
        def one(state: ImitationState, where: jax.Array) -> ImitationState:
            frame = self.task.frame(state)
            placed = self.task.reset_to(state.key, data, state.clip, frame, state.key, where)
            return placed.replace(start_frame=state.start_frame, num_steps=state.num_steps)

        return jax.vmap(one)(imitation, where)
