"""What a teacher has to reach on the clips that it was trained on, and whether it does."""

from collections.abc import Mapping
from typing import Any

_TARGETS = (
    ("survival to the clip's end >= 99 %", "survival", "{:.1%}", lambda share: share >= 0.99),
    (
        "imitation reward >= 0.9 of its maximum",
        "reward_fraction",
        "{:.3f}",
        lambda share: share >= 0.9,
    ),
    ("root position error <= 5 mm", "root_error_mm", "{:.1f} mm", lambda error: error <= 5.0),
)
_MAX_SPEED_DEVIATION = 0.05


def judge(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was found.

    Args:
        summary: of `teacher_evaluation.TeacherEvaluation`.

    Returns:
        JSON-able rows: `target` and `found` for a person, `value`, and `met`: None where no clip
        moves.
    """
    pooled = summary["all"]
    rows = []
    for target, name, text, reached in _TARGETS:
        value = pooled[name]  # None: every simulation diverged at once
        found = "not measured" if value is None else text.format(value)
        met = value is not None and reached(value)
        rows.append({"target": target, "found": found, "value": value, "met": bool(met)})
    return [*rows, _speed(summary["clips"])]


def _speed(clips: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    target = "each moving clip at its speed within 5 %"
    off = {n: f["speed_ratio"] - 1.0 for n, f in clips.items() if f["speed_ratio"] is not None}
    if not off:
        return {"target": target, "found": "", "value": None, "met": None}
    worst = max(off, key=lambda name: abs(off[name]))
    return {
        "target": target,
        "found": f"{off[worst]:+.1%} ({worst})",
        "value": off[worst],
        "met": abs(off[worst]) <= _MAX_SPEED_DEVIATION,
    }
