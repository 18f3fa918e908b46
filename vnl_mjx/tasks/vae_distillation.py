"""The imitation task as a student and its frozen teacher see it together.

Any frozen policy serves as the teacher: what is used of it is `initial_memory`, `normalize` and `act`.
"""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask, StepOutcome


@flax.struct.dataclass
class DistillationState:
    """One environment and the teacher's memory in it (`()` for a feed-forward teacher).

    Attributes:
        imitation: the environment.
        memory: the teacher's recurrent state before this step's observation.
        episode_reward: [] float, summed since the reset.
    """

    imitation: ImitationState
    memory: jax.Array | tuple
    episode_reward: jax.Array


@flax.struct.dataclass
class Label:
    """A visited state: what the student sees and what the teacher would do there.

    Attributes:
        reference: [..., reference_size], normalised by the teacher's frozen statistics.
        proprioception: [..., proprioception_size], likewise.
        teacher_action: [..., nu] the teacher's deterministic action, after tanh.
    """

    reference: jax.Array
    proprioception: jax.Array
    teacher_action: jax.Array


@flax.struct.dataclass
class EpisodeEnd:
    """Statistics of the episode that a step ended, zero where it ended none; [] each.

    Attributes:
        ended: bool.
        survived: bool, it ended by truncation.
        episode_reward: sum of rewards.
        episode_steps: control steps.
    """

    ended: jax.Array
    survived: jax.Array
    episode_reward: jax.Array
    episode_steps: jax.Array


class VaeDistillationTask:
    """Batched over environments: every array has a leading axis of `num_envs`."""

    def __init__(self, imitation: ImitationTask):
        """Wraps the task that the teacher was trained in."""
        self.imitation = imitation

    def reset(
        self, key: jax.Array, num_envs: int, teacher: FrozenPolicy, clips: ReferenceClips
    ) -> DistillationState:
        """Starts `num_envs` environments, each at its own clip and frame."""
        keys = jax.random.split(key, num_envs)
        states = jax.vmap(lambda k: self.imitation.reset(k, clips))(keys)
        return DistillationState(
            imitation=states,
            memory=teacher.initial_memory((num_envs,)),
            episode_reward=jnp.zeros(num_envs),
        )

    def label(
        self, state: DistillationState, teacher: FrozenPolicy, clips: ReferenceClips
    ) -> tuple[DistillationState, Label]:
        """Shows the current states to the teacher, whose memory advances."""
        observe = jax.vmap(lambda s: self.imitation.observe(s, clips))
        observation = observe(state.imitation).flat()
        output = teacher.act(observation, state.memory)
        size = self.imitation.layout.reference_size
        normalized = teacher.normalize(observation)
        label = Label(
            reference=normalized[..., :size],
            proprioception=normalized[..., size:],
            teacher_action=jax.lax.stop_gradient(output.action),
        )
        return state.replace(memory=output.memory), label

    def step(
        self, state: DistillationState, action: jax.Array, clips: ReferenceClips
    ) -> tuple[DistillationState, StepOutcome]:
        """One control step with `action` [num_envs, nu]; nothing is reset."""
        step = jax.vmap(lambda s, a: self.imitation.step(s, a, clips))
        moved, outcome = step(state.imitation, action)
        reward = state.episode_reward + outcome.reward
        return state.replace(imitation=moved, episode_reward=reward), outcome

    def reset_finished(
        self,
        state: DistillationState,
        outcome: StepOutcome,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
    ) -> tuple[DistillationState, EpisodeEnd]:
        """Restarts what terminated or was truncated, and says how those episodes went."""
        done = outcome.terminated | outcome.truncated
        end = EpisodeEnd(
            ended=done,
            survived=outcome.truncated,
            episode_reward=jnp.where(done, state.episode_reward, 0.0),
            episode_steps=jnp.where(done, state.imitation.num_steps, 0),
        )
        reset = jax.vmap(lambda d, s: self.imitation.reset_where(d, s, clips))
        restarted = DistillationState(
            imitation=reset(done, state.imitation),
            memory=masking.where(done, teacher.initial_memory(done.shape), state.memory),
            episode_reward=jnp.where(done, 0.0, state.episode_reward),
        )
        return restarted, end
