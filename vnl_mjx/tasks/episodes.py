"""Many imitation environments that start again when they end, and which clips they start in.

What a reinforcement-learning trainer needs of a task is the protocol `Episodes`; the probe problems of
the tests implement it too.
"""

from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.guidance import PoseGuide
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask, StepOutcome


class Episodes(Protocol):
    """Batched environments: every array of a state has a leading axis of `num_envs`.

    `data` is whatever the task reads besides its state (reference clips): an argument, so that it is
    no constant of a compiled function.
    """

    reference_size: int
    proprioception_size: int
    action_size: int

    def reset(self, key: jax.Array, num_envs: int, data: Any) -> Any:
        """Starts `num_envs` environments."""
        ...

    def observe(self, state: Any, data: Any) -> jax.Array:
        """What the policy sees, [num_envs, reference + proprioception]."""
        ...

    def step(self, state: Any, action: jax.Array, data: Any) -> tuple[Any, StepOutcome]:
        """One control step with `action` [num_envs, action] in (-1, 1); nothing is reset."""
        ...

    def reset_finished(self, state: Any, outcome: StepOutcome, data: Any) -> Any:
        """Restarts what `outcome` says has ended."""
        ...

    def guide(self, state: Any, data: Any) -> jax.Array | None:
        """An action [num_envs, action] to learn from at first; None where the task knows none."""
        ...


@flax.struct.dataclass
class EpisodesState:
    """Environments and what is known of the clips.

    Attributes:
        imitation: [num_envs] environments.
        failure_rate: [clip] running share of the episodes that failed, 1 before the first.
    """

    imitation: ImitationState
    failure_rate: jax.Array


class ImitationEpisodes:
    """The imitation task as `Episodes`; clips that fail more often are drawn more often."""

    def __init__(
        self,
        imitation: ImitationTask,
        failure_weighting: float = 0.0,
        failure_memory: float = 0.95,
        guide: PoseGuide | None = None,
    ):
        """Wraps the task.

        Args:
            imitation: one environment's functions.
            failure_weighting: share of the starts that are drawn in proportion to the clips' failure
                rates; the rest is uniform, so that no clip is forgotten.
            failure_memory: factor by which one more episode of a clip fades what was known of it.
            guide: what `guide` asks, for a training that has use for it.
        """
        self.imitation = imitation
        self.reference_size = imitation.layout.reference_size
        self.proprioception_size = imitation.layout.proprioception_size
        self.action_size = imitation.action_size
        self._failure_weighting, self._failure_memory = failure_weighting, failure_memory
        self._guide = guide

    def reset(self, key: jax.Array, num_envs: int, data: ReferenceClips) -> EpisodesState:
        """Starts `num_envs` environments, each at its own clip and frame."""
        keys = jax.random.split(key, num_envs)
        return EpisodesState(
            imitation=jax.vmap(lambda k: self.imitation.reset(k, data))(keys),
            failure_rate=jnp.ones(data.num_clips),
        )

    def observe(self, state: EpisodesState, data: ReferenceClips) -> jax.Array:
        """See `Episodes.observe`."""
        return jax.vmap(lambda s: self.imitation.observe(s, data))(state.imitation).flat()

    def step(
        self, state: EpisodesState, action: jax.Array, data: ReferenceClips
    ) -> tuple[EpisodesState, StepOutcome]:
        """See `Episodes.step`."""
        step = jax.vmap(lambda s, a: self.imitation.step(s, a, data))
        moved, outcome = step(state.imitation, action)
        return state.replace(imitation=moved), outcome

    def guide(self, state: EpisodesState, data: ReferenceClips) -> jax.Array | None:
        """See `Episodes.guide`."""
        if self._guide is None:
            return None
        guide = self._guide
        return jax.vmap(lambda s: guide.action(s, data))(state.imitation)

    def clip_weights(self, state: EpisodesState) -> jax.Array:
        """Probability [clip] of each clip at the next start."""
        rate = state.failure_rate
        proportional = rate / jnp.maximum(jnp.sum(rate), 1e-9)
        share = self._failure_weighting * jnp.any(rate > 0)
        return share * proportional + (1.0 - share) / rate.shape[0]

    def reset_finished(
        self, state: EpisodesState, outcome: StepOutcome, data: ReferenceClips
    ) -> EpisodesState:
        """Notes how the finished episodes went and restarts them."""
        done = outcome.terminated | outcome.truncated
        state = state.replace(failure_rate=self._noted(state, outcome))
        weights = self.clip_weights(state)
        reset = jax.vmap(lambda d, s: self.imitation.reset_where(d, s, data, weights))
        return state.replace(imitation=reset(done, state.imitation))

    def _noted(self, state: EpisodesState, outcome: StepOutcome) -> jax.Array:
        """The failure rate after the episodes that `outcome` ended, as if they had ended in turn."""
        rate = state.failure_rate
        per_clip = jnp.zeros((2, *rate.shape)).at[:, state.imitation.clip]
        counts = jnp.stack([outcome.terminated | outcome.truncated, outcome.terminated])
        ended, failed = per_clip.add(counts.astype(jnp.float32))
        kept = self._failure_memory**ended
        return kept * rate + (1.0 - kept) * failed / jnp.maximum(ended, 1.0)
