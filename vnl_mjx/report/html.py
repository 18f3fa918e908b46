"""Writes the report: one page that needs no network and no other file, and the files beside it."""

import contextlib
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing
from vnl_mjx.report.document import Document, document_files, main_policy
from vnl_mjx.report.inlining import data_uri, poster
from vnl_mjx.report.page_tables import main_table
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.sections import picture_files, sections
from vnl_mjx.report.verdicts import tiles, verdict_line

REPORT_FILE = "report.html"
# Mail and code hosts accept files of this size; base64 counts in full.
MOST_BYTES = 24_000_000
NO_VIDEOS = "No videos were made."


def write_report(
    folder: Path,
    document: Document,
    pictures: Mapping[str, Picture],
    videos: Mapping[str, Path] | None = None,
    **more: Any,
) -> Path:
    """Writes `report.html`, `metrics.json`, CSVs and pictures, all or none; returns the page's path.

    Keys of pictures and videos are "SECTION/NAME", with sections of `report.sections`. Videos are mp4
    files, best in `folder`, which is created if missing. See also `report_html`.

    Raises:
        UserError: the folder cannot be written.
    """
    page = report_html(document, pictures, videos, folder=folder, **more)
    files = {REPORT_FILE: page.encode(), **document_files(document)}
    for name, picture in pictures.items():
        paths = picture_files(name)
        files |= {paths["svg"]: picture.svg.encode()}
        files |= {paths["png"]: picture.png, paths["pdf"]: picture.pdf}
    write_together(folder, files)
    return folder / REPORT_FILE


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by their path inside a folder; replaces old files only after all are written.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    try:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); choose another output_dir"
        ) from error
    with contextlib.ExitStack() as stack:
        for name, content in files.items():
            stack.enter_context(replacing(folder / name)).write_bytes(content)


def report_html(
    document: Document,
    pictures: Mapping[str, Picture],
    videos: Mapping[str, Path] | None = None,
    *,
    missing: Mapping[str, str] | None = None,
    config: str = "",
    folder: Path = Path(),
    most_bytes: int = MOST_BYTES,
) -> str:
    """Returns the text of the page; see `write_report`.

    `missing` says, by section ("videos", "latent", "prior" ...), what could not be made and what to do;
    `config` is the text of the run's configuration. Videos that would make the page exceed `most_bytes` are
    linked, relative to `folder`.
    """
    videos, missing, deciding = videos or {}, missing or {}, tiles(document)
    shown = {name: _linked_video(name, path, folder) for name, path in videos.items()}
    summary, *others = sections(document, pictures, missing, shown)
    steps = document["made"].get("env_steps")
    after = f" after {steps:,} environment steps" if isinstance(steps, int) else ""
    context: dict[str, Any] = {
        "title": f"Evaluation: {main_policy(document)}{after}",
        "document": document,
        "tiles": deciding,
        "main": main_table({"": document}),
        "verdict": verdict_line(deciding),
        "summary": summary,
        "sections": others,
        "no_videos": missing.get("videos", "" if videos else NO_VIDEOS),
        "config": config,
    }
    template = environment().get_template("report.html.j2")
    room = most_bytes - len(template.render(**context).encode())
    for name, path in videos.items():
        size = 4 * (path.stat().st_size // 3 + 1) + 32  # in base64
        if size <= room:
            room -= size
            source = data_uri(path.read_bytes(), "video/mp4")
            shown[name] |= {"source": source, "linked": False}
    return template.render(**context)


def environment() -> jinja2.Environment:
    """Returns the templates of the report, which escape all their inputs."""
    loaded = jinja2.Environment(
        loader=jinja2.PackageLoader("vnl_mjx.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters["words"] = lambda name: str(name).replace("_", " ")
    return loaded


def _linked_video(name: str, path: Path, folder: Path) -> dict[str, Any]:
    still = poster(path)
    return {
        "name": name.partition("/")[2],
        "source": urllib.parse.quote(Path(os.path.relpath(path, folder)).as_posix()),
        "poster": data_uri(still, "image/jpeg") if still else "",
        "linked": True,
    }
