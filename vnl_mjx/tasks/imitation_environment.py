"""The imitation task as a batched `Environment`, and which clips its episodes start in."""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.environment import Observation, StepOutcome, VectorEnvironment
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask


@flax.struct.dataclass
class ImitationEnvironmentState:
    """Environments and what is known of the clips.

    Attributes:
        imitation: [num_envs] environments.
        failure_rate: [clip] running share of the episodes that failed, 1 before the first.
    """

    imitation: ImitationState
    failure_rate: jax.Array


class ImitationEnvironment(VectorEnvironment):
    """Many environments of an `ImitationTask`; clips that fail more often are drawn more often."""

    task: ImitationTask

    def __init__(
        self, task: ImitationTask, failure_weighting: float = 0.0, failure_memory: float = 0.95
    ):
        """Wraps the task.

        Args:
            task: one environment's functions.
            failure_weighting: share of the starts that are drawn in proportion to the clips' failure
                rates; the rest is uniform, so that no clip is forgotten.
            failure_memory: factor by which one more episode of a clip fades what was known of it.
        """
        super().__init__(task)
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
        moved, outcome = super().step(state.imitation, action, data)
        return state.replace(imitation=moved), outcome

    def reset_finished(
        self, state: ImitationEnvironmentState, outcome: StepOutcome, data: ReferenceClips
    ) -> ImitationEnvironmentState:
        """Notes how the finished episodes went and restarts them."""
        rate = self._updated_rate(state, outcome)
        state = state.replace(failure_rate=rate)
        # Once for all environments: of many clips, the draw in each would cost more than the physics.
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

    def _updated_rate(self, state: ImitationEnvironmentState, outcome: StepOutcome) -> jax.Array:
        """Returns the failure rate after the episodes that `outcome` ended, as if they had ended in turn."""
        rate = state.failure_rate
        per_clip = jnp.zeros((2, *rate.shape)).at[:, state.imitation.clip]
        counts = jnp.stack([outcome.done, outcome.terminated])
        ended, failed = per_clip.add(counts.astype(jnp.float32))
        kept = self._failure_memory**ended
        return kept * rate + (1.0 - kept) * failed / jnp.maximum(ended, 1.0)
