"""Computes observations: the reference ahead, relative to the body, and proprioception.

Both are lists of terms by name (`ImitationConfig.reference` and `.proprioception`); `config/imitation.py` has
those of track-mjx's generations, dm_control and vnl-playground. `docs/observations.md` describes every term.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.clips.container import ReferenceClips, ReferenceFrames
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.extensions import is_path
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.terms.observations import (
    BODY_TERMS,
    CONTROL_TERMS,
    REFERENCE_TERMS,
    SENSORS,
    sensor_rows,
    track_mjx_terms,
)
from vnl_mjx.tasks.terms.state import Term, TermState, find_terms, frames_ahead, term_state
from vnl_mjx.walkers.walker import Walker

_ACTIONS_READ = {"last_action": 1, "previous_action": 2}


@dataclass(frozen=True)
class ObservationLayout:
    """Holds names and sizes of the parts, in order: the contract between a task and a policy."""

    reference: tuple[tuple[str, int], ...]
    proprioception: tuple[tuple[str, int], ...]

    @property
    def reference_size(self) -> int:
        """Length of the reference part."""
        return sum(size for _, size in self.reference)

    @property
    def proprioception_size(self) -> int:
        """Length of the proprioceptive part."""
        return sum(size for _, size in self.proprioception)

    def slices(self) -> dict[str, tuple[int, int]]:
        """Returns start and stop of each named part in the flat observation."""
        result, start = {}, 0
        for name, size in (*self.reference, *self.proprioception):
            result[name] = (start, start + size)
            start += size
        return result


class ObservationFunctions:
    """Computes the observation of one task; looks up its terms by name once.

    Attributes:
        needs_previous: whether a term may read the pose of one control step ago.
        num_actions_read: number of past controls that the terms may read.
    """

    def __init__(self, config: ImitationConfig, walker: Walker, model: mujoco.MjModel):
        """Finds the terms that `config` names.

        Raises:
            UserError: a term is unknown or listed twice, or the walker lacks a sensor that it reads.
        """
        upstream = track_mjx_terms(walker, config.quirks)
        own = config.proprioception
        self._walker, self._traj_length = walker, config.traj_length
        self._quirks = config.quirks
        self._reference = find_terms("reference", config.reference, REFERENCE_TERMS | upstream)
        self._proprioception = find_terms("proprioception", own, BODY_TERMS)
        self.control_timestep = config.physics.control_timestep
        is_own = any(map(is_path, (*config.reference, *own)))  # a user's term may read anything
        self.needs_previous = is_own or not CONTROL_TERMS.keys().isdisjoint(own)
        self.num_actions_read = max((_ACTIONS_READ.get(name, 0) for name in own), default=0)
        if is_own:
            self.num_actions_read = max(_ACTIONS_READ.values())
        for name in SENSORS.keys() & set(own):
            sensor_rows(model, name)
            if model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_SENSOR):
                raise ValueError(
                    "the observation reads sensors: PhysicsConfig.sensors must be True"
                )

    def layout(self, state: PhysicsState) -> ObservationLayout:
        """Returns the sizes of all parts for simulations shaped like `state` (unbatched)."""
        ahead = frames_ahead(self._walker, self._traj_length)
        actions = jnp.zeros((max(self.num_actions_read, 1), self._walker.model.nu))

        def sizes(terms: dict[str, Term]) -> tuple[tuple[str, int], ...]:
            def evaluate(state: PhysicsState, ahead: ReferenceFrames) -> dict[str, jax.Array]:
                seen = term_state(state, self._walker, self.control_timestep, actions=actions)
                return {name: term(seen, ahead, self._walker) for name, term in terms.items()}

            shapes = jax.eval_shape(evaluate, state, ahead)
            return tuple((name, shapes[name].size) for name in terms)

        return ObservationLayout(sizes(self._reference), sizes(self._proprioception))

    def observe(
        self,
        state: PhysicsState,
        clips: ReferenceClips,
        clip: jax.Array,
        frame: jax.Array,
        previous_qpos: jax.Array | None = None,
        actions: jax.Array | None = None,
    ) -> Observation:
        """Observes one simulation at `frame` of `clip`; replaces NaN and Inf as upstream does.

        Args:
            state: state of the simulation.
            clips: clips that it follows.
            clip: [] index of the clip.
            frame: [] frame of the clip.
            previous_qpos: [nq] pose one control step ago, and after a reset the pose now. Only needed
                where `needs_previous`.
            actions: [at least `num_actions_read`, nu] last controls, oldest first, zeros before the
                episode. Only needed where `num_actions_read` > 0.
        """
        seen = self._seen(state, previous_qpos, actions)
        first = frame + 1
        if self._quirks.late_end:
            first = jnp.minimum(first, jnp.asarray(clips.lengths)[clip] - self._traj_length)
        ahead = clips.window(clip, first, self._traj_length)
        return Observation.of(
            reference=self._flat(self._reference, seen, ahead),
            proprioception=self._flat(self._proprioception, seen, ahead),
        )

    def proprioception(
        self,
        state: PhysicsState,
        previous_qpos: jax.Array | None = None,
        actions: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the proprioception [size] without reading a clip; see `observe` for arguments."""
        return self._flat(self._proprioception, self._seen(state, previous_qpos, actions), None)

    def _flat(
        self, terms: dict[str, Term], seen: TermState, ahead: ReferenceFrames | None
    ) -> jax.Array:
        parts = [term(seen, ahead, self._walker).reshape(-1) for term in terms.values()]
        return jnp.nan_to_num(jnp.concatenate(parts)) if parts else jnp.zeros(0)

    def _seen(
        self, state: PhysicsState, previous_qpos: jax.Array | None, actions: jax.Array | None
    ) -> TermState:
        if previous_qpos is None and self.needs_previous:
            raise ValueError("these terms need previous_qpos, the pose one control step ago")
        if actions is None and self.num_actions_read:
            raise ValueError(f"these terms need the last {self.num_actions_read} controls")
        return term_state(
            state,
            self._walker,
            self.control_timestep,
            previous_qpos=previous_qpos,
            actions=actions,
            root_lags=self._quirks.root_lags,
        )
