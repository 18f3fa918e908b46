"""What one evaluation has more than another, clip by clip."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnl_mjx.evaluation.bootstrap import Interval, difference
from vnl_mjx.report.lookup import Document, main_acting, main_policy


@dataclass(frozen=True)
class Difference:
    """What a run has more than the first, on the clips that both were evaluated on.

    Attributes:
        interval: of the mean over clips.
        num_clips: that both have.
        better: True, False, or None where the interval holds 0 or neither direction is better.
    """

    interval: Interval
    num_clips: int
    better: bool | None


def differences(first: Document, other: Document) -> dict[str, Difference]:
    """Each metric's difference on common clips, the other's minus the first's."""
    clips = common_clips(first, other)
    own, others = _values_by_clip(first), _values_by_clip(other)
    found = {}
    for name, metric in other["metrics"].items():
        pairs = [(others[c].get(name), own[c].get(name)) for c in clips]
        pairs = [pair for pair in pairs if None not in pair]
        if not pairs:
            continue
        theirs, ours = np.array(pairs, np.float64).T
        between = difference(theirs, ours, np.arange(len(pairs)))
        found[name] = Difference(between, len(pairs), _better(between, metric.get("better")))
    return found


def _better(between: Interval, better: str | None) -> bool | None:
    if better is None or not (between.low > 0 or between.high < 0):
        return None
    return (between.low > 0) == (better == "higher")


def _values_by_clip(document: Document) -> Mapping[str, Mapping[str, float | None]]:
    played = document["policies"].get(main_policy(document), {})
    return played.get(main_acting(document), {}).get("clips", {})


def common_clips(first: Document, other: Document) -> list[str]:
    """Names of the clips that both were evaluated on."""
    others = _values_by_clip(other)
    return [clip for clip in _values_by_clip(first) if clip in others]
