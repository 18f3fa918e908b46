"""Checks, before training, that the environment matches the teacher's."""

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum

_FAR_SHARE_WARNING = 0.02
_LOW_REWARD_SHARE = 0.3


def check_sizes(task: ImitationTask, teacher: FrozenPolicy) -> None:
    """Compares the sizes of the task with those of the teacher's network.

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


def judge_replay(replay: Rollout, task: ImitationTask) -> tuple[dict[str, str], list[str]]:
    """Returns table rows and warnings on a rollout of the teacher.

    Raises:
        UserError: the teacher's actions are not finite.
    """
    steps, alive = replay.steps, replay.steps.alive
    if not np.isfinite(steps.extra.teacher_action[alive]).all():
        raise UserError(
            "teacher: its actions are not finite; the checkpoint's parameters are unusable"
        )
    best = imitation_reward_maximum(task.config.reward)
    reward = steps.reward[alive].mean()
    far_share = steps.extra.far_share[alive].mean()
    longest = replay.possible_steps.mean()
    diverged = int(steps.diverged[alive].sum())
    rows = {
        "replayed": f"{alive.sum():,} control steps in {alive.shape[1]} episodes",
        "reward per step": f"{reward:.3f} (perfect tracking without costs: {best:g})",
        "episode length": f"{alive.sum(axis=0).mean():.0f} of {longest:.0f} control steps",
        "survival": f"{100 * replay.survived.mean():.0f} % of episodes",
        "observations beyond 10 sigma": f"{100 * far_share:.2f} %",
        "diverged simulations": str(diverged),
    }
    warnings = []
    if far_share > _FAR_SHARE_WARNING:
        warnings.append(
            f"{100 * far_share:.1f} % of the observations lie more than 10 standard deviations from the "
            "teacher's own statistics: another walker, other clips, or an untrained teacher"
        )
    if reward < _LOW_REWARD_SHARE * best:
        warnings.append(
            f"the teacher earns {reward:.2f} of {best:g} per step: it does not track these clips (an "
            "untrained teacher, or clips unlike those it was trained on)"
        )
    return rows, warnings
