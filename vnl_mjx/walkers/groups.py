"""Names of muscles and joints to parts of the body, for errors that a person can read."""

from collections.abc import Sequence

from vnl_mjx.config.walker import rodent_body


def actuator_groups(
    names: Sequence[str], groups: Sequence[Sequence[str]] = ()
) -> dict[str, list[int]]:
    """Returns indices of `names` by part of the body; what no group covers is "other".

    Args:
        names: of the actuators.
        groups: each a name and words; the first group with a word of an actuator's name has it. Default:
            those of the rodent, which serve most legged walkers.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        matches = (
            group
            for group, *words in groups or rodent_body().actuator_groups
            if any(word in name for word in words)
        )
        found.setdefault(next(matches, "other"), []).append(index)
    return found
