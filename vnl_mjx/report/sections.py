"""Arranges the sections of the report: their tables, pictures and texts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vnl_mjx.report.document import Document, main_acting
from vnl_mjx.report.inlining import inline_picture
from vnl_mjx.report.page_tables import (
    action_tables,
    behaviour_table,
    clips_table,
    latent_tables,
    metric_tables,
    prior_table,
)
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.table_cells import Table

# Key, title and introduction. Pictures go into sections by these keys.
_SECTIONS = {
    "data": (
        "Data",
        "The clips of this evaluation; training clips and held-out clips are marked.",
    ),
    "reward": (
        "Reward and survival",
        "Episodes start at the first frame of each clip and at random frames; they count up to a failure.",
    ),
    "errors": (
        "Tracking errors",
        "Errors compare the simulated body with the reference frame that the reward of that step read.",
    ),
    "action": (
        "Action errors",
        "The student's action compared with its teacher's action in the same states.",
    ),
    "latent": ("Latent space", "What the student's latents encode, and where they lie."),
    "prior": ("Prior rollouts", "The prior alone drives the decoder, without a clip."),
    "training": ("Training", "Curves from the run's metrics.jsonl."),
}
SUMMARY = "summary"  # comes before all sections; pictures and videos may go there, too
NOT_MEASURED = "This evaluation did not measure this."
# Groups of metrics in the section on reward; the others go to errors.
_REWARD_GROUPS = ("reward", "success")


def sections(
    document: Document,
    pictures: Mapping[str, Picture],
    missing: Mapping[str, str],
    videos: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Returns all sections in order, for the template; the summary comes first.

    Tables beside pictures are folded.

    Names of pictures and videos are "SECTION/NAME"; `missing` says, by section, what could not be made and
    why.

    Raises:
        ValueError: a picture or a video names no section.
    """
    tables = _tables(document)
    shown = _by_section(
        {
            name: shown_picture(name, picture, picture_files(name))
            for name, picture in pictures.items()
        }
    )
    moving = _by_section(videos)
    found = [
        {"key": SUMMARY, "pictures": shown.get(SUMMARY, ()), "videos": moving.get(SUMMARY, ())}
    ]
    for key, (title, intro) in _SECTIONS.items():
        reason = missing.get(key, "")
        if not (tables[key] or shown.get(key) or reason):
            reason = NOT_MEASURED
        section = {"key": key, "title": title, "intro": intro, "missing": reason}
        drawn = {"pictures": shown.get(key, ()), "videos": moving.get(key, ())}
        folded = [
            replace(table, folded=table.folded or bool(shown.get(key))) for table in tables[key]
        ]
        found.append(section | drawn | {"tables": folded})
    return found


def _by_section(items: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Groups items named "SECTION/NAME" by section."""
    found: dict[str, list[Any]] = {}
    for name, item in items.items():
        key = name.partition("/")[0]
        if key not in (SUMMARY, *_SECTIONS) or key == name:
            raise ValueError(f"{name=}: expected SECTION/NAME with one of {', '.join(_SECTIONS)}")
        found.setdefault(key, []).append(item)
    return found


def picture_files(name: str) -> dict[str, str]:
    """Returns the paths of a picture's files in the report's folder, by kind."""
    return {kind: f"pictures/{name}.{kind}" for kind in ("svg", "png", "pdf")}


def shown_picture(
    name: str, picture: Picture, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns a picture for the template; `files` are the addresses of its files by kind."""
    prefix = name.replace("/", "-").replace("_", "-")
    element = inline_picture(picture, prefix)
    return {"element": element, "caption": picture.caption, "files": files}


def _tables(document: Document) -> dict[str, list[Table]]:
    main = main_acting(document)
    grouped = metric_tables(document, main)
    actings = dict.fromkeys(acting for ways in document["policies"].values() for acting in ways)
    for other in (acting for acting in actings if acting != main):
        for group, table in metric_tables(document, other).items():
            title = f"{table.title}: {other}"
            grouped[f"{group} {other}"] = replace(table, title=title, folded=True)
    by_section: dict[str, list[Table]] = {key: [] for key in _SECTIONS}
    for group, table in grouped.items():
        under = "reward" if group.split()[0] in _REWARD_GROUPS else "errors"
        by_section[under].append(table)
    by_section["data"].append(clips_table(document))
    by_section["action"] += action_tables(document)
    by_section["latent"] += latent_tables(document)
    by_section["prior"] += filter(None, [prior_table(document), behaviour_table(document)])
    return by_section
