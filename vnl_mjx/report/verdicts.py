"""The tiles at the top of the report: the figures that decide, each against its target."""

from collections.abc import Mapping
from dataclasses import dataclass

from vnl_mjx.evaluation.latent.alarms import PRIOR_SURVIVAL_ALARM
from vnl_mjx.report.document import (
    Document,
    main_acting,
    main_policy,
    metrics_of,
)
from vnl_mjx.report.table_cells import NOTHING, interval, number, percent
from vnl_mjx.training.alarms import ACTIVE_UNITS_ALARM

MET, MISSED, UNDECIDED, UNMEASURED = "met", "missed", "no target", "not measured"
TARGET_REWARD_RATIO = 0.97
TARGET_ACTION_R2 = 0.9
PRIOR_SECONDS = 10.0
# Of the prior rollouts the headline is the one that a controller would reuse.
PRIOR_MODE = "learned"
# A student is as good as its teacher within this much of a share of episodes, or of an error.
_SURVIVAL_MARGIN = 0.02
_ERROR_FACTOR = 1.25
_ROOT_ERROR = "root_error_mm"
START_WORDS = {"clips": "clip states", "neutral": "the neutral pose"}


@dataclass(frozen=True)
class Tile:
    """One deciding figure.

    Attributes:
        label: what it is.
        value: as it is read.
        detail: its interval, or another figure beside it.
        target: what it is held against; empty where there is none.
        verdict: `MET`, `MISSED`, `UNDECIDED` or `UNMEASURED`.
    """

    label: str
    value: str
    detail: str = ""
    target: str = ""
    verdict: str = UNDECIDED


def tiles(document: Document) -> list[Tile]:
    """The tiles of a report, in order."""
    return [
        _reward_ratio(document),
        _survival(document),
        _root_error(document),
        _action(document),
        _latent(document),
        _prior(document),
    ]


def verdict_line(shown: list[Tile]) -> str:
    """One sentence: how many targets are met, and which are missed."""
    judged = [tile for tile in shown if tile.verdict in (MET, MISSED)]
    if not judged:
        return "No target could be judged."
    missed = [tile.label for tile in judged if tile.verdict == MISSED]
    if not missed:
        return f"All {len(judged)} targets that were measured are met."
    return f"{len(judged) - len(missed)} of {len(judged)} targets are met; missed: {', '.join(missed)}."


def _reward_ratio(document: Document) -> Tile:
    label, target = "reward ratio, student / teacher", f"at least {TARGET_REWARD_RATIO:g}"
    differences = document["differences"].get(f"{main_policy(document)} vs teacher", {})
    found = differences.get(main_acting(document), {}).get("all", {}).get("reward_ratio") or {}
    ends = interval(found.get("low"), found.get("high"))
    detail = f"median of clips; 95 %: {ends}" if ends else "median of clips"
    return _tile(label, found.get("median"), detail, target, TARGET_REWARD_RATIO)


def _survival(document: Document) -> Tile:
    label = "episodes that reach the end of the clip"
    own = metrics_of(document, main_policy(document)).get("survival") or {}
    teacher = (metrics_of(document, "teacher").get("survival") or {}).get("mean")
    least = None if teacher is None else teacher - _SURVIVAL_MARGIN
    target = (
        ""
        if teacher is None
        else (f"teacher: {percent(teacher)}, at most {percent(_SURVIVAL_MARGIN)} less")
    )
    return _tile(label, own.get("mean"), _percent_interval(own), target, least, is_share=True)


def _root_error(document: Document) -> Tile:
    label = "root position error"
    own = metrics_of(document, main_policy(document)).get(_ROOT_ERROR) or {}
    teacher = (metrics_of(document, "teacher").get(_ROOT_ERROR) or {}).get("mean")
    if own.get("mean") is None:
        return Tile(label, NOTHING, verdict=UNMEASURED)
    verdict, target = UNDECIDED, ""
    if teacher is not None:
        verdict = MET if own["mean"] <= _ERROR_FACTOR * teacher else MISSED
        target = f"teacher: {number(teacher)} mm, at most {_ERROR_FACTOR:g} times that"
    ends = interval(own.get("low"), own.get("high"))
    detail = ends and f"95 %: {ends}"
    return Tile(label, f"{number(own['mean'])} mm", detail, target, verdict)


def _action(document: Document) -> Tile:
    errors = document["action"].get("on_student_states") or {}
    detail = f"MSE {number(errors['mse'])}" if errors.get("mse") is not None else ""
    label, target = "action R², on the student's states", f"at least {TARGET_ACTION_R2:g}"
    return _tile(label, errors.get("r2"), detail, target, TARGET_ACTION_R2)


def _latent(document: Document) -> Tile:
    label, latent = "active latent dimensions", document["latent"]
    active, dim, kl = (latent.get(key) for key in ("active_units", "latent_dim", "kl"))
    if active is None:
        return Tile(label, NOTHING, verdict=UNMEASURED)
    least = ACTIVE_UNITS_ALARM * (dim or 0)
    verdict = UNDECIDED if dim is None else MET if active >= least else MISSED
    target = "" if dim is None else f"at least {number(least, 2)}"
    detail = "" if kl is None else f"KL {number(kl)} nats in all"
    of_how_many = "" if dim is None else f" of {dim}"
    return Tile(label, f"{active}{of_how_many}", detail, target, verdict)


def _prior(document: Document) -> Tile:
    starts = document["prior"].get(PRIOR_MODE) or {}
    measured = [s for figures in starts.values() for s in figures["survival"]]
    measured = [s for s in measured if float(s) <= PRIOR_SECONDS]
    if not measured:
        label = f"prior rollouts up at {PRIOR_SECONDS:g} s"
        return Tile(label, NOTHING, verdict=UNMEASURED)
    second = max(measured, key=float)
    label = f"prior rollouts up at {second} s"
    found = {start: figures["survival"][second] for start, figures in starts.items()}
    start = next(iter(found))
    others = (
        f"from {START_WORDS.get(name, name)}: {percent(v)}"
        for name, v in found.items()
        if name != start
    )
    target = f"at least {percent(PRIOR_SURVIVAL_ALARM)}"
    tile = _tile(label, found[start], "", target, PRIOR_SURVIVAL_ALARM, is_share=True)
    ends = (starts[start].get("survival_interval") or {}).get(second) or {}
    parts = [f"from {START_WORDS.get(start, start)}", _percent_interval(ends), *others]
    return Tile(tile.label, tile.value, "; ".join(filter(None, parts)), tile.target, tile.verdict)


def _tile(
    label: str,
    value: float | None,
    detail: str,
    target: str,
    least: float | None,
    is_share: bool = False,
) -> Tile:
    if value is None:
        return Tile(label, NOTHING, "", target, UNMEASURED)
    verdict = UNDECIDED if least is None else MET if value >= least else MISSED
    shown = percent(value) if is_share else number(value)
    return Tile(label, shown, detail, target, verdict)


def _percent_interval(figure: Mapping[str, float | None]) -> str:
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f"95 %: {percent(low)} to {percent(high)}"
