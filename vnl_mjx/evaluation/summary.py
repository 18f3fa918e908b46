"""Summarises metrics of episodes in the sections "policies" and "differences" of `metrics.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.evaluation.bootstrap import difference, interval, ratio_of_means
from vnl_mjx.evaluation.per_episode import means
from vnl_mjx.evaluation.protocol import TEACHER

Figures = Mapping[str, np.ndarray]


class ClipSets:
    """Groups the episodes of an evaluation by clip and set.

    `clip` is the index of each episode's clip, `set_of_clip` says "train", "held_out" or "other" of each,
    and `members` has the clips of "all", "train" and "held_out", where there are any.
    """

    def __init__(
        self, clip: np.ndarray, names: Sequence[str], set_of_clip: Sequence[str], seed: int = 0
    ):
        """Groups the clips."""
        self.clip, self.names, self.set_of_clip, self.seed = clip, names, set_of_clip, seed
        sets = np.array(set_of_clip)
        members = {"all": np.arange(len(names))}
        members |= {name: np.flatnonzero(sets == name) for name in ("train", "held_out")}
        self.members = {name: clips for name, clips in members.items() if len(clips)}


def policies(
    figures: Mapping[str, Mapping[str, Figures]], sets: ClipSets
) -> dict[str, dict[str, Any]]:
    """Returns means with intervals by policy, acting and set, and by clip; metrics are [episode] each."""
    return {
        name: {how: _played(values, sets) for how, values in ways.items()}
        for name, ways in figures.items()
    }


def differences(
    figures: Mapping[str, Mapping[str, Figures]], sets: ClipSets
) -> dict[str, dict[str, Any]]:
    """Returns paired differences of every policy from the teacher; empty without a teacher."""
    teacher = figures.get(TEACHER, {})
    return {
        f"{name} vs {TEACHER}": {
            how: _differences(values, teacher[how], sets)
            for how, values in ways.items()
            if how in teacher
        }
        for name, ways in figures.items()
        if name != TEACHER and teacher
    }


def _played(values: Figures, sets: ClipSets) -> dict[str, Any]:
    by_set = {}
    for name, clips in sets.members.items():
        own = np.isin(sets.clip, clips)
        figures = {
            metric: interval(value[own], sets.clip[own], seed=sets.seed).as_dict()
            for metric, value in values.items()
        }
        by_set[name] = {"num_clips": len(clips), "num_episodes": int(own.sum()), "figures": figures}
    by_clip = {name: means(values, sets.clip == i) for i, name in enumerate(sets.names)}
    return {"sets": by_set, "clips": by_clip}


def _differences(values: Figures, teacher: Figures, sets: ClipSets) -> dict[str, Any]:
    rewards, teacher_rewards = values["episode_reward"], teacher["episode_reward"]
    found = {}
    for name, clips in sets.members.items():
        own = np.isin(sets.clip, clips)
        pairs = {
            metric: difference(
                value[own], teacher[metric][own], sets.clip[own], sets.seed
            ).as_dict()
            for metric, value in values.items()
            if metric in teacher
        }
        ratio = ratio_of_means(rewards[own], teacher_rewards[own], sets.clip[own], sets.seed)
        found[name] = {"reward_ratio": ratio.as_dict(), **pairs}
    return found
