"""`metrics.json`: what an evaluation found, in a form that stays; and its tables as CSV."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.errors import UserError, first_line

SCHEMA = "vnl-mjx evaluation, version 1"
METRICS_FILE = "metrics.json"
# Sections in the order of the file, each with the type it has.
_SECTIONS: dict[str, type] = {
    "schema": str,
    "made": dict,
    "settings": dict,
    "clips": list,
    "policies": dict,
    "differences": dict,
    "metrics": dict,
    "action": dict,
    "latent": dict,
    "prior": dict,
    "alarms": list,
}
_BETTER = ("higher", "lower", None)

Document = Mapping[str, Any]


def assemble(
    *,
    made: Mapping[str, Any],
    settings: Mapping[str, Any],
    clips: Sequence[Mapping[str, Any]],
    policies: Mapping[str, Any],
    differences: Mapping[str, Any],
    metrics: Mapping[str, Any],
    action: Mapping[str, Any] | None = None,
    latent: Mapping[str, Any] | None = None,
    prior: Mapping[str, Any] | None = None,
    alarms: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The document of one evaluation: plain JSON values, None for NaN, checked by `validate`.

    Args:
        made: how it was made: command, versions, seed, env_steps, checkpoint, hashes ...
        settings: of the evaluation.
        clips: each with "name", "set" ("train", "held_out" or "other"), "label", "seconds".
        policies: name to "deterministic" or "sampled" to "sets" and "clips".
        differences: "NAME vs teacher" to the same to a set to paired differences.
        metrics: name to "label", "unit", "better".
        action: "on_student_states", "on_teacher_states".
        latent: figures of the latent space.
        prior: mode to start to figures of prior rollouts.
        alarms: each with "what", "found", "change".
    """
    document = jsonable(
        {
            "schema": SCHEMA,
            "made": made,
            "settings": settings,
            "clips": clips,
            "policies": policies,
            "differences": differences,
            "metrics": metrics,
            "action": action or {},
            "latent": latent or {},
            "prior": prior or {},
            "alarms": alarms,
        }
    )
    validate(document)
    return document


def jsonable(value: Any) -> Any:
    """Plain JSON values of nested mappings, sequences, NumPy values and paths; None for NaN."""
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
    """Checks that a document is one of an evaluation, of this version of the schema.

    Args:
        document: what was read.
        source: of the document, for messages.

    Raises:
        UserError: it is not; names the first field that is wrong.
    """

    def refuse(field: str, expected: str, found: Any) -> UserError:
        shown = f"{found!r}"[:60]
        return UserError(
            f"{source}: {field}: expected {expected}, found {shown}; make it again with "
            "`vnl-mjx eval`"
        )

    if not isinstance(document, dict) or "schema" not in document:
        raise refuse("schema", f"{SCHEMA!r}", "no such field")
    if document["schema"] != SCHEMA:
        raise refuse("schema", f"{SCHEMA!r}", document["schema"])
    for name, kind in _SECTIONS.items():
        if not isinstance(document.get(name), kind):
            raise refuse(name, f"a {kind.__name__}", document.get(name))
    for index, clip in enumerate(document["clips"]):
        if not isinstance(clip, dict) or not isinstance(clip.get("name"), str):
            raise refuse(f"clips[{index}]", "an object with a name", clip)
    for name, metric in document["metrics"].items():
        if not isinstance(metric, dict) or metric.get("better") not in _BETTER:
            raise refuse(f"metrics.{name}", "label, unit and better", metric)
    for index, alarm in enumerate(document["alarms"]):
        if not isinstance(alarm, dict) or not {"what", "found", "change"} <= alarm.keys():
            raise refuse(f"alarms[{index}]", "what, found and change", alarm)
    for field, played in _played(document, refuse):
        _validate_played(field, played, document, refuse)


def _played(document: dict[str, Any], refuse: Any) -> Iterator[tuple[str, Any]]:
    for policy, actings in document["policies"].items():
        if not isinstance(actings, dict):
            raise refuse(f"policies.{policy}", "an object", actings)
        for acting, played in actings.items():
            yield f"policies.{policy}.{acting}", played


def _validate_played(field: str, played: Any, document: dict[str, Any], refuse: Any) -> None:
    if not isinstance(played, dict) or not isinstance(played.get("sets"), dict):
        raise refuse(field, "an object with sets", played)
    for name, part in played["sets"].items():
        figures = part.get("figures") if isinstance(part, dict) else None
        if not isinstance(figures, dict):
            raise refuse(f"{field}.sets.{name}", "an object with figures", part)
        for metric, figure in figures.items():
            where = f"{field}.sets.{name}.figures.{metric}"
            if metric not in document["metrics"]:
                raise refuse(where, "a metric that `metrics` describes", metric)
            if not isinstance(figure, dict) or not {"mean", "low", "high"} <= figure.keys():
                raise refuse(where, "mean, low and high", figure)
            ends = figure["low"], figure["high"]
            if None not in ends and ends[0] > ends[1]:
                raise refuse(where, "low <= high", figure)
    known = {clip["name"] for clip in document["clips"]}
    for name in played.get("clips", {}):
        if name not in known:
            raise refuse(f"{field}.clips", "names that `clips` lists", name)


def read_document(path: Path) -> dict[str, Any]:
    """Reads `metrics.json`, or that of a report's folder.

    Raises:
        UserError: it is missing, no JSON, or not of this schema.
    """
    path = path / METRICS_FILE if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the folder of a report"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: expected the JSON of an evaluation ({first_line(error)}); make it again "
            "with `vnl-mjx eval`"
        ) from error
    validate(document, str(path))
    return document


def document_files(document: Mapping[str, Any]) -> dict[str, bytes]:
    """The document and its tables: contents by the name of the file."""
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
    for policy, actings in document["policies"].items():
        for acting, played in actings.items():
            for set_name, part in played["sets"].items():
                for name, figure in part["figures"].items():
                    metric = document["metrics"][name]
                    described = [name, metric.get("label"), metric.get("unit")]
                    values = [figure["mean"], figure["low"], figure["high"]]
                    yield [policy, acting, set_name, *described, *values]


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
    """Who is judged: the student, else the first that is not the teacher."""
    policies = list(document["policies"])
    others = [name for name in policies if name != "teacher"] or policies
    return "student" if "student" in policies else (others or ["student"])[0]


def main_acting(document: Document) -> str:
    """How those act whose figures stand first: deterministically where that was evaluated."""
    actings = [acting for played in document["policies"].values() for acting in played]
    return "deterministic" if "deterministic" in actings or not actings else actings[0]


def metrics_of(document: Document, policy: str, which: str = "all") -> Mapping[str, Any]:
    """Figures of a policy on a set of clips; empty where it was not evaluated."""
    played = document["policies"].get(policy, {}).get(main_acting(document), {})
    return played.get("sets", {}).get(which, {}).get("figures", {})


def metric_label(document: Document, name: str) -> str:
    """A metric's name with its unit, for a heading or an axis."""
    metric = document["metrics"].get(name, {})
    label, unit = metric.get("label") or name.replace("_", " "), metric.get("unit")
    return label if unit in (None, "", "share") else f"{label}, {unit}"
