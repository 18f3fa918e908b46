"""Defines the colours of the report: one per policy in all pictures and videos."""

from collections.abc import Sequence

# The report's page replaces these four by its theme's colours, so pictures use no other greys.
INK, MUTED, GRID, PAPER = "#1b1f23", "#6b7480", "#d5d9de", "#fffffe"
# Okabe and Ito's palette for the colour-blind (Color Universal Design, 2008).
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, YELLOW)

_POLICIES = {
    "student": (BLUE, "o"),
    "teacher": (VERMILLION, "D"),
    "reference": (INK, "s"),
    "data": (MUTED, "s"),
    "prior": (GREEN, "^"),
}
_OTHERS = ((ORANGE, "v"), (PURPLE, "P"), (SKY, "X"), (YELLOW, "<"))


def policy_style(name: str, names: Sequence[str] = ()) -> dict[str, str]:
    """Returns colour and marker of a policy, the same in every picture of a report.

    `names` lists all policies of the report; it decides the colours of those not in `_POLICIES`.
    """
    others = [other for other in names if other not in _POLICIES]
    rank = others.index(name) if name in others else 0
    color, marker = _POLICIES.get(name) or _OTHERS[rank % len(_OTHERS)]
    return {"color": color, "marker": marker}


def policy_color(name: str, names: Sequence[str] = ()) -> str:
    """See `policy_style`."""
    return policy_style(name, names)["color"]
