"""Finding figures in the document of an evaluation."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


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
