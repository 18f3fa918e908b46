"""Is this environment the one that the teacher was trained in? Checked before anything is learnt."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.vae_distillation import VaeDistillationTask

# Observations further than this from the teacher's mean, in its standard deviations, are rare (1e-6 of a
# Gaussian) where the layout is right.
_FAR_SIGMA = 10.0
_FAR_SHARE_WARNING = 0.02
_FLOOR_STD = 1e-5
_LOW_REWARD_SHARE = 0.3


@flax.struct.dataclass
class Replay:
    """Means over a replay of the teacher, [] each.

    Attributes:
        reward: per control step.
        episode_steps: control steps per ended episode.
        survival: share of ended episodes that did not fail.
        far_share: share of observation entries beyond `_FAR_SIGMA` of the teacher's statistics.
        nan_steps: control steps whose simulation diverged.
        action_abs: mean absolute action.
    """

    reward: jax.Array
    episode_steps: jax.Array
    survival: jax.Array
    far_share: jax.Array
    nan_steps: jax.Array
    action_abs: jax.Array


def check_sizes(task: ImitationTask, teacher: FrozenPolicy) -> None:
    """Compares what the task gives with what the teacher's network reads.

    Raises:
        UserError: a size differs.
    """
    network = teacher.config
    pairs = {
        "reference observation": (network.reference_size, task.layout.reference_size),
        "proprioception": (network.proprioception_size, task.layout.proprioception_size),
        "action": (network.action_size, task.action_size),
    }
    for name, (expected, found) in pairs.items():
        if expected != found:
            raise UserError(
                f"teacher: its network has {name} size {expected}, the environment rebuilt from its "
                f"config has {found} ({task.config.generation} layout); the walker_config, "
                "reference_config or env_config in the checkpoint is not the one it was trained with"
            )


def replay_teacher(
    task: VaeDistillationTask,
    teacher: FrozenPolicy,
    clips: ReferenceClips,
    num_envs: int = 32,
    num_steps: int = 200,
    seed: int = 0,
) -> Replay:
    """Lets the teacher act for `num_steps` control steps in `num_envs` environments, with resets."""

    def control_step(state, _):
        observe = jax.vmap(lambda s: task.imitation.observe(s, clips))
        normalized = teacher.normalize(observe(state.imitation).flat())
        informative = teacher.obs_std > _FLOOR_STD
        far = jnp.sum((jnp.abs(normalized) > _FAR_SIGMA) & informative) / (
            num_envs * jnp.maximum(jnp.sum(informative), 1)
        )
        state, label = task.label(state, teacher, clips)
        state, outcome = task.step(state, label.teacher_action, clips)
        state, end = task.reset_finished(state, outcome, teacher, clips)
        totals = (
            jnp.mean(outcome.reward),
            jnp.sum(end.ended),
            jnp.sum(end.survived),
            jnp.sum(end.episode_steps),
            far,
            jnp.sum(outcome.failures["nan"]),
            jnp.mean(jnp.abs(label.teacher_action)),
        )
        return state, totals

    @jax.jit
    def run(key):
        state = task.reset(key, num_envs, teacher, clips)
        _, totals = jax.lax.scan(control_step, state, length=num_steps)
        return totals

    reward, ended, survived, steps, far, nan, action = run(jax.random.PRNGKey(seed))
    episodes = jnp.maximum(jnp.sum(ended), 1)
    return Replay(
        reward=jnp.mean(reward),
        episode_steps=jnp.sum(steps) / episodes,
        survival=jnp.sum(survived) / episodes,
        far_share=jnp.mean(far),
        nan_steps=jnp.sum(nan),
        action_abs=jnp.mean(action),
    )


def judge(replay: Replay, task: ImitationTask) -> tuple[dict[str, str], list[str]]:
    """Table rows for a person, and what in them looks wrong.

    Raises:
        UserError: the teacher's actions are not finite.
    """
    values: dict[str, Any] = {
        field: float(np.asarray(getattr(replay, field)))
        for field in ("reward", "episode_steps", "survival", "far_share", "nan_steps", "action_abs")
    }
    if not np.isfinite(values["action_abs"]):
        raise UserError("teacher: its actions are not finite; the checkpoint's parameters are unusable")
    reward = task.config.reward
    best = reward.pos_weight + reward.quat_weight + reward.joint_weight + reward.endeff_weight
    best += reward.angvel_weight + reward.bodypos_weight
    rows = {
        "reward per step": f"{values['reward']:.3f} (perfect tracking without costs: {best:g})",
        "episode length": f"{values['episode_steps']:.0f} of {task.max_episode_steps} control steps",
        "survival": f"{100 * values['survival']:.0f} % of ended episodes",
        "observations beyond 10 sigma": f"{100 * values['far_share']:.2f} %",
        "diverged simulations": f"{values['nan_steps']:.0f}",
    }
    warnings = []
    if values["far_share"] > _FAR_SHARE_WARNING:
        warnings.append(
            f"{100 * values['far_share']:.1f} % of the observations lie more than 10 standard deviations "
            "from the teacher's own statistics: another walker, other clips, or an untrained teacher"
        )
    if values["reward"] < _LOW_REWARD_SHARE * best:
        warnings.append(
            f"the teacher earns {values['reward']:.2f} of {best:g} per step: it does not track these clips "
            "(an untrained teacher, or clips unlike those it was trained on)"
        )
    return rows, warnings
