"""Which names are each other's left and right."""

import re
from collections.abc import Iterator, Sequence

_OTHER = {"l": "r", "L": "R", "left": "right", "Left": "Right", "LEFT": "RIGHT"}
_OTHER |= {right: left for left, right in _OTHER.items()}
# Tried in this order; all matches in a name are exchanged, and the result must be a name.
_RULES = (
    re.compile(
        r"(?<![A-Za-z])(left|right|Left|Right|LEFT|RIGHT|[LRlr])(?![A-Za-z])"
    ),  # hip_L_abduct
    re.compile(r"(Left|Right|LEFT|RIGHT)"),  # LeftFoot, footLeft
    re.compile(r"^(left|right)|(left|right)$"),  # leftFoot, footleft
    re.compile(r"(?<=[a-z0-9])([LR])$"),  # KneeL
    re.compile(r"^([lrLR])(?=[a-zA-Z])"),  # lfemur, LFoot
)


def other_side(name: str) -> Iterator[str]:
    """What `name` may be called on the other side, the likeliest first; nothing for no side."""
    for rule in _RULES:
        other = rule.sub(lambda found: _OTHER[found.group()], name)
        if other != name:
            yield other


def partners(names: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> list[int]:
    """Row of each name's partner: the other side's where there is one, else its own.

    A name that looks like one side but has no partner ("root" is no left "loot") is its own.

    Args:
        names: of joints or of bodies.
        pairs: names that are partners whatever their names tell; others than `names` do not count.
    """
    rows = {name: row for row, name in enumerate(names)}
    found = list(range(len(names)))
    for row, name in enumerate(names):
        other = next((rows[other] for other in other_side(name) if other in rows), None)
        back = other is not None and next((n for n in other_side(names[other]) if n in rows), None)
        if other is not None and back == name:
            found[row] = other
    for left, right in pairs:
        if left in rows and right in rows:
            found[rows[left]], found[rows[right]] = rows[right], rows[left]
    return found
