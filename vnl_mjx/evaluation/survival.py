"""How long the episodes of a free-running body stand."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.evaluation.rollout import Rollout

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of the episodes that still stand, [1 + control step] each.

    Attributes:
        seconds: since the start.
        share: of all episodes.
        low, high: 95 % interval of the share.
    """

    seconds: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def survival_curve(rollout: Rollout, num_steps: int) -> SurvivalCurve:
    """After 0 ... `num_steps` control steps of a rollout that was to last as long."""
    stands = (rollout.steps.alive & ~rollout.steps.terminated).mean(axis=1)
    # the rollout ends early where none stands
    share = np.concatenate([[1.0], stands, np.zeros(num_steps - len(stands))])
    low, high = wilson(share, rollout.num_episodes)
    return SurvivalCurve(np.arange(1 + num_steps) / rollout.control_hz, share, low, high)


def wilson(share: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of shares of `count` episodes (Wilson, J. Am. Stat. Assoc. 22, 1927, p. 209).

    Each episode has a start of its own. A bootstrap would be sure of what all of them do alike.
    """
    squared = _NORMAL_95**2 / count
    center = (share + squared / 2) / (1 + squared)
    half = _NORMAL_95 * np.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
    return np.maximum(center - half, 0.0), np.minimum(center + half, 1.0)
