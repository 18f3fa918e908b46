"""Builds the tiles at the top of the report: the main metrics with their targets."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vnl_mjx.evaluation.metrics import METRICS
from vnl_mjx.evaluation.motion_statistics import worst_feature
from vnl_mjx.report.document import Document, main_acting, main_policy, metrics_of
from vnl_mjx.report.table_cells import NOTHING, interval, number, percent
from vnl_mjx.training.alarms import ACTIVE_UNITS_ALARM

MET, MISSED, UNDECIDED, UNMEASURED = "met", "missed", "no target", "not measured"
NOT_JUDGED = "not judged"
# Environment steps from which on a run can miss a target: the best recipe needs about as many.
JUDGED_STEPS = 50_000
TARGET_REWARD_RATIO = 0.97
TARGET_ACTION_R2 = 0.9
# A student that starts as its teacher meets the targets above untrained, with 5 nats per dimension between
# posterior and prior. Half a nat is one standard deviation between two equally wide Gaussians.
MOST_NATS_PER_DIMENSION = 0.5
# The prior must stay up and move like the clips: each motion feature is at most this many times the
# distance between two halves of the clips away. A policy that does nothing stays up but fails this.
TARGET_PRIOR_SURVIVAL = 0.95
MOTION_LIMIT = 2.0
PRIOR_SECONDS = 10.0
# The headline is the prior mode that a controller would reuse.
PRIOR_MODE = "learned"
# Margins within which a student is as good as its teacher: share of episodes, and factor of an error.
_SURVIVAL_MARGIN = 0.02
_ERROR_FACTOR = 1.25
# Baselines in the prior's tile; the report's table of prior rollouts has more.
_BESIDE_PRIOR = {"zero_action": "no action at all", "teacher": "the teacher on the clips"}
START_WORDS = {"clips": "clip states", "neutral": "the neutral pose"}


@dataclass(frozen=True)
class Tile:
    """Holds one main metric as text, with its target and one of the verdicts above."""

    label: str
    value: str
    detail: str = ""
    target: str = ""
    verdict: str = UNDECIDED


def tiles(document: Document) -> list[Tile]:
    """Returns the tiles of a report, in order."""
    makers = (_reward_ratio, _survival, _root_error, _action, _latent, _prior)
    made = document["made"]
    shown, steps = [make(document) for make in makers], made.get("env_steps")
    if made.get("is_own_teacher"):
        shown = [
            replace(tile, verdict=UNDECIDED, target="the checkpoint holds no teacher")
            if make in _BESIDE_TEACHER
            else tile
            for make, tile in zip(makers, shown, strict=True)
        ]
    if not isinstance(steps, int) or steps >= JUDGED_STEPS:
        return shown
    reason = f"{steps:,} steps, judged from {JUDGED_STEPS:,} on"
    return [
        replace(tile, verdict=NOT_JUDGED, target=f"{reason}: {tile.target}")
        if tile.verdict == MISSED
        else tile
        for tile in shown
    ]


def verdict_line(shown: list[Tile]) -> str:
    """Returns one sentence: how many targets are met, and which are not."""
    by = {v: [t for t in shown if t.verdict == v] for v in (MET, MISSED, NOT_JUDGED)}
    num_judged = len(by[MET]) + len(by[MISSED])
    said = "no target could be judged"
    if num_judged:
        said = f"{len(by[MET])} of {num_judged} targets that were judged are met"
    for verdict in (MISSED, NOT_JUDGED):
        if by[verdict]:
            said += f"; {verdict}: " + " and ".join(f"{t.label} ({t.value})" for t in by[verdict])
    return f"{said[0].upper()}{said[1:]}."


def _reward_ratio(document: Document) -> Tile:
    differences = document["differences"].get(f"{main_policy(document)} vs teacher", {})
    found = differences.get(main_acting(document), {}).get("all", {}).get("reward_ratio") or {}
    label, least = METRICS["reward_ratio"].label, TARGET_REWARD_RATIO
    target = f"at least {least:g}"
    return _tile(label, found.get("mean"), number, _interval(found, number), target, least)


def _survival(document: Document) -> Tile:
    own, teacher = _student_and_teacher(document, "survival")
    target, least = "", None
    if teacher is not None:
        target = f"teacher: {percent(teacher)}, at most {percent(_SURVIVAL_MARGIN)} less"
        least = teacher - _SURVIVAL_MARGIN
    label = METRICS["survival"].label
    return _tile(label, own.get("mean"), percent, _interval(own, percent), target, least)


def _root_error(document: Document) -> Tile:
    own, teacher = _student_and_teacher(document, "root_error_mm")
    label, target, most = METRICS["root_error_mm"].label, "", None
    if teacher == 0.0:
        target = "the root does not move"
    elif teacher is not None:
        target = f"teacher: {number(teacher)} mm, at most {_ERROR_FACTOR:g} times that"
        most = _ERROR_FACTOR * teacher
    detail = _interval(own, number)
    value = own.get("mean")
    return _tile(label, value, lambda error: f"{number(error)} mm", detail, target, most=most)


def _action(document: Document) -> Tile:
    errors = document["action"].get("on_student_states") or {}
    detail = f"MSE {number(errors['mse'])}" if errors.get("mse") is not None else ""
    label, target = METRICS["action_r2"].label, f"at least {TARGET_ACTION_R2:g}"
    return _tile(label, errors.get("r2"), number, detail, target, TARGET_ACTION_R2)


def _latent(document: Document) -> Tile:
    active, dim, kl = (document["latent"].get(k) for k in ("active_units", "latent_dim", "kl"))
    label = f"{METRICS['active_units'].label}, and {METRICS['kl'].label}"
    least, most = ACTIVE_UNITS_ALARM * (dim or 0), MOST_NATS_PER_DIMENSION * (dim or 0)
    target = f"at least {math.ceil(least)} of {dim or 0}; at most {number(most, 2)} nats"
    if active is None or kl is None:
        return Tile(label, NOTHING, "", target, UNMEASURED)
    verdict = MET if active >= least and kl <= most else MISSED
    return Tile(label, f"{active} of {dim}, {number(kl)} nats", "", target, verdict)


def _prior(document: Document) -> Tile:
    prior = document["prior"]
    starts = prior.get(PRIOR_MODE) or {}
    measured = [s for figures in starts.values() for s in figures["survival"]]
    second = max((s for s in measured if float(s) <= PRIOR_SECONDS), key=float, default=None)
    label = f"the prior alone for {second or f'{PRIOR_SECONDS:g}'} s: motion against the clips'"
    if second is None:
        return Tile(label, NOTHING, verdict=UNMEASURED)
    shares = {start: figures["survival"][second] for start, figures in starts.items()}
    (start, share), *others = shares.items()
    figures = starts[start]
    ends = (figures.get("survival_interval") or {}).get(second) or {}
    farthest = interval(figures.get("farthest") or {}, partial(number, digits=2))
    ends = [_interval(ends, percent), farthest and f"{farthest} times"]
    parts = [f"from {START_WORDS.get(start, start)}", ", ".join(filter(None, ends))]
    parts += [f"from {START_WORDS.get(s, s)}: {percent(value)} up" for s, value in others]
    for name, words in _BESIDE_PRIOR.items():
        other = (prior.get(name) or {}).get(start) or {}
        up = (other.get("survival") or {}).get(second)
        found = [f"{percent(up)} up" if up is not None else "", _farthest(other)]
        if any(found):
            parts.append(f"{words}: {', '.join(filter(None, found))}")
    target = (
        f"at least {percent(TARGET_PRIOR_SURVIVAL)} from each start; at most {MOTION_LIMIT:g} times"
    )
    worst = worst_feature(figures)
    is_met = min(shares.values()) >= TARGET_PRIOR_SURVIVAL and (
        not worst or worst[1] <= MOTION_LIMIT
    )
    value = ", ".join(filter(None, [f"{percent(share)} up", _farthest(figures)]))
    return Tile(label, value, "; ".join(filter(None, parts)), target, MET if is_met else MISSED)


_BESIDE_TEACHER = (_reward_ratio, _survival, _root_error, _action)


def _farthest(figures: Mapping[str, Any]) -> str:
    """Returns the motion feature farthest from the clips, in words; empty if none was measured."""
    worst = worst_feature(figures)
    return f"{worst[0].replace('_', ' ')} {number(worst[1], 2)} times off" if worst else ""


def _tile(
    label: str,
    value: Any,
    shown: Callable[[Any], str],
    detail: str,
    target: str,
    least: float | None = None,
    most: float | None = None,
) -> Tile:
    """Returns the tile of a `value`, shown as `shown`, with a lower or an upper bound."""
    if value is None:
        return Tile(label, NOTHING, "", target, UNMEASURED)
    if least is None and most is None:
        return Tile(label, shown(value), detail, target)
    is_met = (least is None or value >= least) and (most is None or value <= most)
    return Tile(label, shown(value), detail, target, MET if is_met else MISSED)


def _student_and_teacher(
    document: Document, metric: str
) -> tuple[Mapping[str, float | None], float | None]:
    """Returns the student's results and the teacher's mean."""
    own = metrics_of(document, main_policy(document)).get(metric) or {}
    return own, (metrics_of(document, "teacher").get(metric) or {}).get("mean")


def _interval(figure: Mapping[str, float | None], shown: Callable[[float], str]) -> str:
    ends = interval(figure, shown)
    return ends and f"95 %: {ends}"
