"""Writes the page of the neural commands, from the tables in a folder, whichever are there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vnl_mjx.errors import UserError
from vnl_mjx.neurons.encoding_tables import SUMMARY
from vnl_mjx.neurons.tables import read_settings
from vnl_mjx.report.encoding_sections import encoding, partition
from vnl_mjx.report.html import REPORT_FILE, environment, write_together
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.sections import picture_files, shown_picture
from vnl_mjx.report.similarity_sections import cka, distances, geometry, latent_variability
from vnl_mjx.report.table_cells import Table

SIMILARITY_FILE = "similarity.json"
_TITLE = "Neural activity and network activity"
_LEAD = (
    "Encoding models of units, similarity of representations, and latent variability. Intervals are 95 %; "
    "all numbers stand in the tables beside this page."
)


class _Section(NamedTuple):
    title: str
    intro: str
    fill: Callable[[Path], tuple[dict[str, Picture], list[Table]]]
    kind: str = ""  # "wide" for pictures over the whole page


_SECTIONS = {
    "encoding": _Section(
        "Encoding models",
        "How well each group of features predicts each unit, in blocks of time that the model has not seen.",
        encoding,
    ),
    "partition": _Section(
        "Variance partition", "What only one group of features explains.", partition
    ),
    "cka": _Section(
        "Similarity of layers (CKA)",
        "How alike quantities are over time, up to rotation and scale, beside what time-shifted ones give.",
        cka,
        "wide",
    ),
    "geometry": _Section(
        "Similarity of behaviours' geometry (RSA)",
        "Whether quantities tell the same behaviours apart. Intervals count behaviours.",
        geometry,
        "wide",
    ),
    "distances": _Section(
        "Distances between behaviours",
        "Cross-validated, so that 0 is no difference; noise may make them negative.",
        distances,
        "wide",
    ),
    "variability": _Section(
        "Latent variability and minimal intervention",
        "Where the latent is variable, and how much that changes the action.",
        latent_variability,
    ),
}


def write_neural_report(folder: Path) -> Path:
    """Writes `report.html` and pictures of all tables in `folder`, and returns the page's path.

    The neural commands call this after they wrote their tables, so they may run in any order into one
    folder. Sections without a table are left out.

    Raises:
        UserError: there is no table, or one cannot be read, or the folder cannot be written.
    """
    filled = {key: section.fill(folder) for key, section in _SECTIONS.items()}
    filled = {key: found for key, found in filled.items() if any(found)}
    settings = {name: read_settings(folder / name) for name in (SUMMARY, SIMILARITY_FILE)}
    if not filled and not any(settings.values()):
        raise UserError(
            f"{folder}: expected tables of the neural commands, found none; run `vnl-mjx similarity` or "
            "`vnl-mjx encode`"
        )
    files: dict[str, bytes] = {}
    for key, (pictures, _) in filled.items():
        for name, picture in pictures.items():
            paths = picture_files(f"{key}/{name}")
            files |= {paths["svg"]: picture.svg.encode()}
            files |= {paths["png"]: picture.png, paths["pdf"]: picture.pdf}
    context: dict[str, Any] = {
        "title": _TITLE,
        "lead": _LEAD,
        "notes": [note for about in settings.values() for note in about.get("notes", ())],
        "sections": [_shown(key, *found) for key, found in filled.items()],
        "made": {name: about for name, about in settings.items() if about},
        "files": sorted(path.name for path in folder.glob("*.csv")),
    }
    page = environment().get_template("neural.html.j2").render(**context)
    write_together(folder, {**files, REPORT_FILE: page.encode()})
    return folder / REPORT_FILE


def _shown(key: str, pictures: dict[str, Picture], tables: list[Table]) -> dict[str, Any]:
    section = _SECTIONS[key]
    drawn = [
        shown_picture(f"{key}/{name}", picture, picture_files(f"{key}/{name}"))
        for name, picture in pictures.items()
    ]
    texts = {"key": key, "title": section.title, "intro": section.intro, "kind": section.kind}
    return texts | {"pictures": drawn, "tables": tables}
