"""Names of muscles and joints to parts of the body, for errors that a person can read."""

from collections.abc import Sequence

# First match wins; keywords are those of dm_control's rodent and of most legged walkers.
_KEYWORDS = {
    "spine": ("lumbar", "vertebra", "spine", "abdomen"),
    "neck_head": ("cervical", "atlas", "mandible", "neck", "head", "jaw"),
    "tail": ("caudal", "tail"),
    "hindlimb": ("hip", "knee", "ankle", "toe"),
    "forelimb": ("scapula", "shoulder", "elbow", "wrist", "finger"),
}


def actuator_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Indices of `names` by part of the body; what no keyword covers is "other"."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        matches = (group for group, words in _KEYWORDS.items() if any(w in name for w in words))
        groups.setdefault(next(matches, "other"), []).append(index)
    return groups
