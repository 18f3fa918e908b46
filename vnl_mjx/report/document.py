"""Defines `metrics.json`, the stable record of an evaluation, and its tables as CSV."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.errors import UserError, first_line
from vnl_mjx.evaluation.metrics import Metric
from vnl_mjx.parsing import parse_json

SCHEMA = "vnl-mjx evaluation, version 3"
_OLDER = "vnl-mjx evaluation, version 2"  # the same, without baselines
METRICS_FILE = "metrics.json"
# Sections in the order of the file, each with the type it has.
_SECTIONS: dict[str, type] = {
    "schema": str,
    "made": dict,  # how: command, versions, seed, env_steps, checkpoint, hashes ...
    "settings": dict,
    "clips": list,  # each with "name", "set" ("train", "held_out" or "other"), "label", "seconds"
    "policies": dict,  # name to "deterministic" or "sampled" to "sets" and "clips"
    "baselines": dict,  # name to what a set of "policies" has
    "differences": dict,  # "NAME vs teacher" to the same to a set to paired differences
    "metrics": dict,  # name to "label", "unit", "better"
    "action": dict,  # "on_student_states", "on_teacher_states"
    "latent": dict,
    "prior": dict,  # mode to start to figures of prior rollouts; of "teacher" and "student" their motion
    "alarms": list,  # each with "what", "found", "change"
}
_BETTER = ("higher", "lower", None)

Document = Mapping[str, Any]


def assemble(**sections: Any) -> dict[str, Any]:
    """Returns the document of one evaluation, checked by `validate`: all of `_SECTIONS` but the schema."""
    document = jsonable({"schema": SCHEMA, **sections})
    validate(document)
    return document


def jsonable(value: Any) -> Any:
    """Converts nested mappings, sequences, NumPy values and paths to plain JSON values; NaN to None."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def validate(document: Any, source: str = METRICS_FILE) -> None:
    """Checks that a document, read from `source`, is an evaluation of this schema.

    Raises:
        UserError: the document is not; names the first wrong field.
    """

    def check(holds: bool, field: str, expected: str, found: Any) -> None:
        if not holds:
            raise UserError(
                f"{source}: {field}: expected {expected}, found {f'{found!r}'[:60]}; make it again "
                "with `vnl-mjx eval`"
            )

    schema = document.get("schema") if isinstance(document, dict) else None
    check(schema == SCHEMA, "schema", repr(SCHEMA), schema)
    for name, kind in _SECTIONS.items():
        found = document.get(name)
        check(isinstance(found, kind), name, f"a {kind.__name__}", found)
    for index, clip in enumerate(document["clips"]):
        named = isinstance(clip, dict) and isinstance(clip.get("name"), str)
        check(named, f"clips[{index}]", "an object with a name", clip)
    for name, metric in document["metrics"].items():
        known = isinstance(metric, dict) and metric.get("better") in _BETTER
        check(known, f"metrics.{name}", "label, unit and better", metric)
    for index, alarm in enumerate(document["alarms"]):
        whole = isinstance(alarm, dict) and {"what", "found", "change"} <= alarm.keys()
        check(whole, f"alarms[{index}]", "what, found and change", alarm)
    for policy, actings in document["policies"].items():
        check(isinstance(actings, dict), f"policies.{policy}", "an object", actings)
        for acting, played in actings.items():
            _validate_played(f"policies.{policy}.{acting}", played, document, check)
    for name, part in document["baselines"].items():
        _validate_set(f"baselines.{name}", part, document, check)


def _validate_played(
    field: str, played: Any, document: Document, check: Callable[[bool, str, str, Any], None]
) -> None:
    has_sets = isinstance(played, dict) and isinstance(played.get("sets"), dict)
    check(has_sets, field, "an object with sets", played)
    for name, part in played["sets"].items():
        _validate_set(f"{field}.sets.{name}", part, document, check)
    known_clips = {clip["name"] for clip in document["clips"]}
    clips = played.get("clips", {})
    check(isinstance(clips, dict), f"{field}.clips", "an object by clip", clips)
    for name in clips:
        check(name in known_clips, f"{field}.clips", "names that `clips` lists", name)


def _validate_set(
    field: str, part: Any, document: Document, check: Callable[[bool, str, str, Any], None]
) -> None:
    has_figures = isinstance(part, dict) and isinstance(part.get("figures"), dict)
    check(has_figures, field, "an object with figures", part)
    for metric, figure in part["figures"].items():
        where = f"{field}.figures.{metric}"
        known = metric in document["metrics"]
        check(known, where, "a metric that `metrics` describes", metric)
        whole = isinstance(figure, dict) and {"mean", "low", "high"} <= figure.keys()
        check(whole, where, "mean, low and high", figure)
        low, high = figure["low"], figure["high"]
        for bound in (low, high):
            check(bound is None or isinstance(bound, int | float), where, "numbers", bound)
        check(low is None or high is None or low <= high, where, "low <= high", figure)


def read_document(path: Path) -> dict[str, Any]:
    """Reads a `metrics.json`, given by its path or its report folder.

    Raises:
        UserError: the file is missing, no JSON, or not of this schema.
    """
    path = path / METRICS_FILE if path.is_dir() else path
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the folder of a report"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: expected the JSON of an evaluation ({first_line(error)}); make it again "
            "with `vnl-mjx eval`"
        ) from error
    if isinstance(document, dict) and document.get("schema") == _OLDER:
        document |= {"schema": SCHEMA, "baselines": {}}
    validate(document, str(path))
    return document


def document_files(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns the document and its tables: contents by file name."""
    return {
        METRICS_FILE: (json.dumps(document, indent=1, allow_nan=False) + "\n").encode(),
        "figures.csv": _csv(_figure_rows(document)),
        "per_clip.csv": _csv(_clip_rows(document)),
        "per_actuator.csv": _csv(_actuator_rows(document)),
    }


def _csv(rows: Iterator[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _figure_rows(document: Mapping[str, Any]) -> Iterator[list[Any]]:
    yield ["policy", "acting", "set", "metric", "label", "unit", "mean", "low", "high"]
    parts = [
        ([policy, acting, which], part)
        for policy, actings in document["policies"].items()
        for acting, played in actings.items()
        for which, part in played["sets"].items()
    ]
    acting = main_acting(document)
    parts += [([name, acting, "all"], part) for name, part in document["baselines"].items()]
    for whose, part in parts:
        for name, figure in part["figures"].items():
            metric = document["metrics"][name]
            described = [name, metric.get("label"), metric.get("unit")]
            yield [*whose, *described, figure["mean"], figure["low"], figure["high"]]


def _clip_rows(document: Mapping[str, Any]) -> Iterator[list[Any]]:
    names = list(document["metrics"])
    yield ["policy", "acting", "clip", "set", "label", "seconds", *names]
    clips = {clip["name"]: clip for clip in document["clips"]}
    for policy, actings in document["policies"].items():
        for acting, played in actings.items():
            for clip_name, values in played.get("clips", {}).items():
                about = [clips[clip_name].get(key) for key in ("set", "label", "seconds")]
                yield [policy, acting, clip_name, *about, *map(values.get, names)]


def _actuator_rows(document: Mapping[str, Any]) -> Iterator[list[Any]]:
    yield ["states", "actuator", "mse", "mae", "r2"]
    for states, errors in document["action"].items():
        for actuator, values in (errors.get("per_actuator") or {}).items():
            yield [states, actuator, *map(values.get, ("mse", "mae", "r2"))]


def main_policy(document: Document) -> str:
    """Returns the policy under evaluation: the student, else the first that is not the teacher."""
    policies = list(document["policies"])
    others = [name for name in policies if name != "teacher"] or policies
    return "student" if "student" in policies else (others or ["student"])[0]


def main_acting(document: Document) -> str:
    """Returns the main way of acting: deterministic, if that was evaluated."""
    actings = [acting for played in document["policies"].values() for acting in played]
    return "deterministic" if "deterministic" in actings or not actings else actings[0]


def metrics_of(
    document: Document, policy: str, which: str = "all", acting: str | None = None
) -> Mapping[str, Any]:
    """Returns the metrics of a policy on a set of clips; empty if not evaluated."""
    return set_of(document, policy, which, acting).get("figures", {})


def set_of(
    document: Document, policy: str, which: str = "all", acting: str | None = None
) -> Mapping[str, Any]:
    """Returns numbers of clips and episodes, and metrics, of a policy on a set of clips; or nothing."""
    played = document["policies"].get(policy, {}).get(acting or main_acting(document), {})
    return played.get("sets", {}).get(which, {})


def metric_label(document: Document, name: str) -> str:
    """Returns a metric's name with its unit, for a heading or an axis."""
    known = document["metrics"].get(name, {})
    label, unit = known.get("label") or name.replace("_", " "), known.get("unit") or ""
    return Metric(label, unit, None, "").heading
