"""Batches the imitation task for training, with sampling of clips by failure rate, and pushes."""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.environment import Observation, StepOutcome, VectorEnvironment
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.walkers.layout import FreeRoot

_PUSHES = 1  # stream of an environment's key for pushes


@flax.struct.dataclass
class ImitationEnvironmentState:
    """Holds environments and the clips' failure rates.

    Attributes:
        imitation: [num_envs] environments.
        failure_rate: [clip] running share of the episodes that failed, 1 before the first.
    """

    imitation: ImitationState
    failure_rate: jax.Array

    @property
    def physics(self) -> PhysicsState:
        """The simulations, [num_envs] each."""
        return self.imitation.physics

    @property
    def control(self) -> jax.Array:
        """Control of the last step, [num_envs, nu]."""
        return self.imitation.previous_action


class ImitationEnvironment(VectorEnvironment):
    """Batches an `ImitationTask`; draws clips that fail more often more often."""

    task: ImitationTask

    def __init__(
        self,
        task: ImitationTask,
        failure_weighting: float = 0.0,
        failure_memory: float = 0.95,
        push_interval_s: float | None = None,
        push_speed: float = 0.0,
    ):
        """Wraps the task.

        Args:
            task: one environment's functions.
            failure_weighting: share of the starts that are drawn in proportion to the clips' failure
                rates; the rest is uniform, so that no clip is forgotten.
            failure_memory: decay of a clip's failure rate with each further episode.
            push_interval_s: mean seconds between pushes, which come at random times; None: none. A body
                without a free root is not pushed.
            push_speed: largest change of the root's velocity along x and y by a push, m/s.
        """
        super().__init__(task)
        self._push_speed, self._push_chance = push_speed, 0.0
        if push_interval_s is not None and task.walker.root is not None:
            self._push_chance = task.config.physics.control_timestep / push_interval_s
        self._failure_weighting, self._failure_memory = failure_weighting, failure_memory

    def reset(
        self, key: jax.Array, num_envs: int, data: ReferenceClips
    ) -> ImitationEnvironmentState:
        """Starts `num_envs` environments, each at its own clip and frame."""
        imitation = super().reset(key, num_envs, data)
        return ImitationEnvironmentState(imitation, failure_rate=jnp.ones(data.num_clips))

    def observe(self, state: ImitationEnvironmentState, data: ReferenceClips) -> Observation:
        """See `Environment.observe`."""
        return super().observe(state.imitation, data)

    def step(
        self, state: ImitationEnvironmentState, action: jax.Array, data: ReferenceClips
    ) -> tuple[ImitationEnvironmentState, StepOutcome]:
        """See `Environment.step`."""
        imitation = state.imitation
        if self._push_chance:
            imitation = jax.vmap(self._pushed)(imitation)
        moved, outcome = super().step(imitation, action, data)
        return state.replace(imitation=moved), outcome

    def reset_finished(
        self, state: ImitationEnvironmentState, outcome: StepOutcome, data: ReferenceClips
    ) -> ImitationEnvironmentState:
        """Updates failure rates with the finished episodes and restarts them."""
        rate = self._updated_rate(state, outcome)
        state = state.replace(failure_rate=rate)
        # Once for all environments: with many clips, a sum per environment would cost more than the physics.
        upto = jnp.cumsum(self.clip_weights(state)) if self._failure_weighting else None
        reset = jax.vmap(lambda k, d: self.task.reset(k, data, d, upto))
        fresh = reset(state.imitation.key, outcome.done)
        return state.replace(imitation=masking.where(outcome.done, fresh, state.imitation))

    def clip_weights(self, state: ImitationEnvironmentState) -> jax.Array:
        """Returns the probability [clip] of each clip at the next start."""
        rate = state.failure_rate
        proportional = rate / jnp.maximum(jnp.sum(rate), 1e-9)
        share = self._failure_weighting * jnp.any(rate > 0)
        return share * proportional + (1.0 - share) / rate.shape[0]

    def _pushed(self, state: ImitationState) -> ImitationState:
        """Changes the root's velocity of one environment at random times."""
        key = jax.random.fold_in(jax.random.fold_in(state.key, _PUSHES), state.num_steps)
        when_key, push_key = jax.random.split(key)
        push = self._push_speed * jax.random.uniform(push_key, (2,), minval=-1.0)
        push = jnp.where(jax.random.uniform(when_key) < self._push_chance, push, 0.0)
        x = FreeRoot.velocity.start
        qvel = state.physics.qvel.at[x : x + 2].add(push)
        return state.replace(physics=state.physics.replace(qvel=qvel))

    def _updated_rate(self, state: ImitationEnvironmentState, outcome: StepOutcome) -> jax.Array:
        """Returns failure rates after the episodes that `outcome` ended, as if they had ended in turn."""
        rate = state.failure_rate
        per_clip = jnp.zeros((2, *rate.shape)).at[:, state.imitation.clip]
        counts = jnp.stack([outcome.done, outcome.terminated])
        ended, failed = per_clip.add(counts.astype(jnp.float32))
        kept = self._failure_memory**ended
        return kept * rate + (1.0 - kept) * failed / jnp.maximum(ended, 1.0)
