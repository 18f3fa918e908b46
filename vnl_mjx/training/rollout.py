"""The student acts, the frozen teacher labels every visited state."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.vae_distillation import DistillationState, Label, VaeDistillationTask


@flax.struct.dataclass
class RolloutStatistics:
    """Sums over a rollout's [time, num_envs] control steps; divide by `num_steps` for means.

    Attributes:
        num_steps: [] control steps summed over environments.
        reward: [] sum of rewards.
        terms: named sums of reward terms.
        distances: named sums of distances to the reference, see `tasks.terminations.distances`.
        failures: named counts of failure flags ("nan" counts diverged simulations).
        episodes: [] episodes that ended, `survived` of which without a failure.
        survived: [] see `episodes`.
        episode_reward: [] sum over the ended episodes.
        episode_steps: [] sum over the ended episodes.
        overflowed: [] steps in which the simulation left contacts out.
    """

    num_steps: jax.Array
    reward: jax.Array
    terms: dict[str, jax.Array]
    distances: dict[str, jax.Array]
    failures: dict[str, jax.Array]
    episodes: jax.Array
    survived: jax.Array
    episode_reward: jax.Array
    episode_steps: jax.Array
    overflowed: jax.Array


def student_rollout(
    task: VaeDistillationTask,
    student: StudentVAE,
    params: Any,
    teacher: FrozenPolicy,
    clips: ReferenceClips,
    state: DistillationState,
    key: jax.Array,
    unroll_length: int,
    teacher_fraction: jax.Array,
) -> tuple[DistillationState, Label, RolloutStatistics]:
    """Runs every environment for `unroll_length` control steps.

    Args:
        task: the batched task.
        student: the student's functions, and `params` its parameters.
        params: see `student`.
        teacher: the frozen policy.
        clips: the training clips.
        state: [num_envs] environments.
        key: one random key.
        unroll_length: control steps.
        teacher_fraction: [] share of the environments in which the teacher acts (warm start).

    Returns:
        The environments afterwards, the labelled states [unroll_length, num_envs, ...] and statistics.
    """
    num_envs = state.episode_reward.shape[0]
    teacher_acts = (jnp.arange(num_envs) < teacher_fraction * num_envs)[:, None]

    def control_step(state: DistillationState, key: jax.Array):
        state, label = task.label(state, teacher, clips)
        action = student.act(params, label.proprioception, label.reference, key)
        action = jnp.where(teacher_acts, label.teacher_action, action)
        state, outcome = task.step(state, action, clips)
        state, end = task.reset_finished(state, outcome, teacher, clips)
        statistics = jax.tree.map(
            lambda x: jnp.sum(x, dtype=jnp.float32),
            RolloutStatistics(
                num_steps=jnp.ones(num_envs),
                reward=outcome.reward,
                terms=outcome.terms,
                distances=outcome.distances,
                failures=outcome.failures,
                episodes=end.ended,
                survived=end.survived,
                episode_reward=end.episode_reward,
                episode_steps=end.episode_steps,
                overflowed=outcome.overflowed,
            ),
        )
        return state, (label, statistics)

    state, (labels, statistics) = jax.lax.scan(
        control_step, state, jax.random.split(key, unroll_length)
    )
    return state, labels, jax.tree.map(lambda x: jnp.sum(x, axis=0), statistics)
