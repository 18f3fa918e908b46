"""Whether a back end learns what the others learn, and how long a student takes to follow its teacher."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vnl_mjx.analysis.benchmark.scale.measuring import (
    Note,
    compile_costs,
    compile_pool,
    compile_updates,
    copied,
    timed_call,
)
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.actors import PolicyActor
from vnl_mjx.evaluation.comparison import Evaluator
from vnl_mjx.evaluation.rollout import Player, Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.vae_distillation import VaeDistillation

TARGET_RATIO = 0.95
NUM_EPISODES = 32
# Between evaluations the number of updates grows by this factor.
_GROWTH = 1.25
_SEED = 0


def learn_by_ppo(trainer: Ppo, num_updates: int, note: Note, passing_reward: float) -> None:
    """Notes "learning": the reward per step of a policy before and after a short PPO.

    Args:
        trainer: of a task that is soon learnt.
        num_updates: updates.
        note: is told.
        passing_reward: what a back end on which it learns does not fall short of.
    """
    player = Player(trainer.task.imitation)

    def reward(policy: FrozenPolicy) -> float:
        """Mean over the steps that each clip has, from its first frame; control is the mode."""
        clips = trainer.data
        episodes = player.draw(clips, clips.num_clips, _SEED)
        rollout = player.play(PolicyActor(policy, sampled=False), clips, episodes, _SEED)
        return float(episode_rewards(rollout).sum() / rollout.possible_steps.sum())

    with compile_pool(1) as pool:
        compile_updates(trainer, pool)
        state = trainer.init(_SEED)
    before = reward(copied(trainer.policy(state)))
    seconds = 0.0
    for _ in range(num_updates):
        update_seconds, (state, _) = timed_call(trainer.update, state)
        seconds += update_seconds
    after = reward(trainer.policy(state))
    note(
        "learning",
        {
            "reward_before": before,
            "reward": after,
            "passing_reward": passing_reward,
            "passed": bool(after >= passing_reward > before),
            "env_steps": trainer.env_steps(state),
            "train_seconds": seconds,
            "programs": compile_costs(trainer.programs),
        },
    )


def distil_to_target(
    trainer: VaeDistillation,
    held_out: ReferenceClips,
    elsewhere: Callable[[], ImitationTask],
    note: Note,
    max_train_seconds: float,
) -> None:
    """Notes "ratio": seconds of training until a student earns what its teacher does, or nearly.

    Compiling and evaluating are not counted. What is there so far is noted after each evaluation.

    Args:
        trainer: of the student.
        held_out: clips to compare the two on.
        elsewhere: gives the task on the back end on which the student is judged once more in the end.
        note: is told.
        max_train_seconds: it is given up then.
    """
    teacher = trainer.teacher
    evaluator = Evaluator(trainer.task.imitation, trainer.student)
    with compile_pool(1) as pool:
        compile_updates(trainer, pool)
        state = trainer.init(_SEED)
    target = _mean_reward(evaluator, state.params, teacher, held_out, teacher_acts=True)
    found: dict[str, Any] = {"teacher_reward": target, "reached": False, "curve": []}
    seconds, updates, ratio = 0.0, 0, -math.inf
    while ratio < TARGET_RATIO and seconds < max_train_seconds:
        for _ in range(max(1, round(updates * (_GROWTH - 1)))):
            update_seconds, (state, _) = timed_call(trainer.update, state)
            seconds, updates = seconds + update_seconds, updates + 1
        ratio = _mean_reward(evaluator, state.params, teacher, held_out) / target
        row = {"train_seconds": seconds, "updates": updates, "ratio": ratio}
        found["curve"].append(row | {"env_steps": trainer.env_steps(state)})
        found |= row | {"reached": ratio >= TARGET_RATIO, "env_steps": trainer.env_steps(state)}
        note("ratio", found)
    other = Evaluator(elsewhere(), trainer.student)
    rewards = [
        _mean_reward(other, state.params, teacher, held_out, teacher_acts=acts)
        for acts in (False, True)
    ]
    note("ratio", found | {"ratio_elsewhere": rewards[0] / rewards[1]})


def _mean_reward(
    evaluator: Evaluator,
    params: Any,
    teacher: FrozenPolicy,
    clips: ReferenceClips,
    teacher_acts: bool = False,
) -> float:
    rollout = evaluator.rollout(
        params, teacher, clips, NUM_EPISODES, _SEED, teacher_acts=teacher_acts
    )
    return float(episode_rewards(rollout).mean())


def episode_rewards(rollout: Rollout) -> np.ndarray:
    """Sum of the rewards of each episode until it ended, [episode]."""
    steps = rollout.steps
    return np.where(steps.alive, steps.reward, 0.0).sum(axis=0)
