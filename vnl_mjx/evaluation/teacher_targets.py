"""What a teacher has to reach on the clips that it was trained on, and whether it does."""

from collections.abc import Mapping
from typing import Any

MIN_SURVIVAL = 0.99
MIN_REWARD_FRACTION = 0.9
MAX_ROOT_ERROR_MM = 5.0
MAX_SPEED_DEVIATION = 0.05


def judge(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was found.

    Args:
        summary: of `teacher_evaluation.TeacherEvaluation`.

    Returns:
        JSON-able rows: `target` and `found` for a person, `value`, and `met`: None where no clip
        moves.
    """
    pooled = summary["all"]
    survival, fraction = pooled["survival"], pooled["reward_fraction"]
    error = pooled["root_error_mm"]
    rows = [
        _row("survival to the clip's end >= 99 %", survival, survival >= MIN_SURVIVAL, "{:.1%}"),
        _row(
            "imitation reward >= 0.9 of its maximum",
            fraction,
            fraction >= MIN_REWARD_FRACTION,
            "{:.3f}",
        ),
        # no error was measured where every simulation diverged at once
        _row(
            "root position error <= 5 mm",
            error,
            error is not None and error <= MAX_ROOT_ERROR_MM,
            "{:.1f} mm",
        ),
    ]
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
        "met": abs(off[worst]) <= MAX_SPEED_DEVIATION,
    }


def _row(target: str, value: float | None, met: bool, text: str) -> dict[str, Any]:
    found = "not measured" if value is None else text.format(value)
    return {"target": target, "found": found, "value": value, "met": bool(met)}
