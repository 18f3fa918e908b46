"""The sections of the report: which tables and pictures stand where, and what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from vnl_mjx.report.document import Document, main_acting
from vnl_mjx.report.inlining import inline_picture
from vnl_mjx.report.page_tables import (
    GROUP_TITLES,
    action_tables,
    clips_table,
    latent_tables,
    metric_tables,
    prior_table,
)
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.table_cells import Table

# Key, title, and what a reader has to know. Pictures are put into sections by these keys.
_SECTIONS = {
    "data": (
        "Data",
        "What was followed. Clips that the student was trained on and clips held out stand apart.",
    ),
    "reward": (
        "Reward and survival",
        "Each clip from its first frame and from drawn ones; an episode counts up to its first failure.",
    ),
    "errors": (
        "Tracking errors",
        "The simulated body against the very frame of the clip that the reward of that step read.",
    ),
    "action": (
        "Action errors",
        "What the student does against what its teacher would do in the same states.",
    ),
    "latent": ("Latent space", "The student's intentions: what they carry and where they lie."),
    "prior": ("Prior rollouts", "No clip is followed here: the prior alone drives the decoder."),
    "training": ("Training", "From the run's metrics.jsonl."),
}
NOT_MEASURED = "This evaluation did not measure it."
# Groups of metrics that stand under reward; the others under errors.
_REWARD_GROUPS = ("reward", "success")


@dataclass(frozen=True)
class ShownPicture:
    """A picture in the page.

    Attributes:
        name: of its files.
        element: that shows it.
        caption: under it.
        files: addresses of its SVG and PNG, relative to the page.
    """

    name: str
    element: Markup
    caption: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: its anchor.
        title: its heading.
        intro: a sentence on how to read it.
        tables: in order.
        pictures: in order.
        missing: why it is empty, or what of it is missing; may be empty.
    """

    key: str
    title: str
    intro: str
    tables: Sequence[Table] = ()
    pictures: Sequence[ShownPicture] = field(default_factory=tuple)
    missing: str = ""


def sections(
    document: Document, pictures: Mapping[str, Picture], missing: Mapping[str, str]
) -> list[Section]:
    """All sections in order.

    Args:
        document: of the evaluation.
        pictures: by "SECTION/NAME".
        missing: by section, one sentence on what could not be made and why.

    Raises:
        ValueError: a picture names no section.
    """
    tables = _tables(document)
    shown: dict[str, list[ShownPicture]] = {}
    for name, picture in pictures.items():
        key = name.partition("/")[0]
        if key not in _SECTIONS or key == name:
            raise ValueError(f"{name=}: expected SECTION/NAME with one of {', '.join(_SECTIONS)}")
        shown.setdefault(key, []).append(_shown(name, picture))
    found = []
    for key, (title, intro) in _SECTIONS.items():
        reason = missing.get(key, "")
        if not (tables[key] or shown.get(key) or reason):
            reason = NOT_MEASURED
        found.append(Section(key, title, intro, tables[key], shown.get(key, ()), reason))
    return found


def picture_files(name: str) -> dict[str, str]:
    """Paths of a picture's files in the report's folder, by their kind."""
    return {kind: f"pictures/{name}.{kind}" for kind in ("svg", "png")}


def _shown(name: str, picture: Picture) -> ShownPicture:
    prefix = name.replace("/", "-").replace("_", "-")
    return ShownPicture(name, inline_picture(picture, prefix), picture.caption, picture_files(name))


def _tables(document: Document) -> dict[str, list[Table]]:
    acting = main_acting(document)
    grouped = metric_tables(document, acting)
    for other in _other_actings(document):
        for group, table in metric_tables(document, other, folded=True).items():
            title = f"{GROUP_TITLES[group]}: {other}"
            grouped[f"{group} {other}"] = Table(title, table.columns, table.rows, table.note, True)
    by_section: dict[str, list[Table]] = {key: [] for key in _SECTIONS}
    for group, table in grouped.items():
        under = "reward" if group.split()[0] in _REWARD_GROUPS else "errors"
        by_section[under].append(table)
    by_section["data"].append(clips_table(document))
    by_section["action"] += action_tables(document)
    by_section["latent"] += latent_tables(document)
    by_section["prior"] += filter(None, [prior_table(document)])
    return by_section


def _other_actings(document: Document) -> list[str]:
    played: Mapping[str, Any] = document["policies"]
    actings = dict.fromkeys(acting for policy in played.values() for acting in policy)
    return [acting for acting in actings if acting != main_acting(document)]
