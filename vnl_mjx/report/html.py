"""The report: one page that needs no network and no other file, and the files beside it."""

import contextlib
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing
from vnl_mjx.report.document import Document, document_files, main_policy, validate
from vnl_mjx.report.inlining import data_uri, poster
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.sections import picture_files, sections
from vnl_mjx.report.verdicts import tiles, verdict_line

if TYPE_CHECKING:
    from vnl_mjx.report.rendering.video_queue import VideoFile

REPORT_FILE = "report.html"
# Mail and code hosts take files of this size; base64 in the page counts in full.
MOST_BYTES = 24_000_000
NO_VIDEOS = "No videos were made."


@dataclass(frozen=True)
class Extras:
    """What the page says beside the document.

    Attributes:
        missing: by section ("videos", "latent", "prior" ...) one sentence on what could not be made
            and what to do.
        config: text of the configuration of the run, may be empty.
    """

    missing: Mapping[str, str] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True)
class ShownVideo:
    """A video in the page: inside it, or linked where the page would become too large."""

    name: str
    source: str
    poster: str
    linked: bool


def write_report(
    folder: Path,
    document: Document,
    pictures: Mapping[str, Picture],
    videos: Sequence["VideoFile"] = (),
    extras: Extras | None = None,
    most_bytes: int = MOST_BYTES,
) -> Path:
    """Writes `report.html`, `metrics.json`, the CSVs and the pictures: all of them or none.

    Args:
        folder: of the report, made where it is missing.
        document: of `document.assemble`.
        pictures: by "SECTION/NAME", sections being those of `report.sections`.
        videos: written already, best in `folder`; what does not fit into the page is linked.
        extras: what the page says beside the document.
        most_bytes: of the page.

    Returns:
        The path of the page.

    Raises:
        UserError: the folder cannot be written.
    """
    validate(document)
    page = report_html(document, pictures, videos, extras, folder=folder, most_bytes=most_bytes)
    files = {REPORT_FILE: page.encode(), **document_files(document)}
    for name, picture in pictures.items():
        paths = picture_files(name)
        files |= {paths["svg"]: picture.svg.encode(), paths["png"]: picture.png}
    write_together(folder, files)
    return folder / REPORT_FILE


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by their path inside a folder; none replaces an old one until all are written.

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
    videos: Sequence["VideoFile"] = (),
    extras: Extras | None = None,
    *,
    folder: Path | None = None,
    most_bytes: int = MOST_BYTES,
) -> str:
    """Text of the page; see `write_report`."""
    extras = extras or Extras()
    deciding = tiles(document)
    context: dict[str, Any] = {
        "title": _title(document),
        "document": document,
        "tiles": deciding,
        "verdict": verdict_line(deciding),
        "sections": sections(document, pictures, extras.missing),
        "no_videos": extras.missing.get("videos", "" if videos else NO_VIDEOS),
        "config": extras.config,
    }
    template = environment().get_template("report.html.j2")
    shown = [_show(video, folder or Path()) for video in videos]
    bare = template.render(**context, videos=shown)
    room = most_bytes - len(bare.encode())
    embedded = []
    for video, linked in zip(videos, shown, strict=True):
        size = _base64_size(video.path)
        if size <= room:
            room -= size
            source = data_uri(video.path.read_bytes(), "video/mp4")
            linked = ShownVideo(linked.name, source, linked.poster, linked=False)
        embedded.append(linked)
    return template.render(**context, videos=embedded)


def environment() -> jinja2.Environment:
    """The templates of the report; everything that they are given is escaped."""
    loaded = jinja2.Environment(
        loader=jinja2.PackageLoader("vnl_mjx.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters["words"] = lambda name: str(name).replace("_", " ")
    return loaded


def _title(document: Document) -> str:
    steps = document["made"].get("env_steps")
    after = f" after {steps:,} environment steps" if isinstance(steps, int) else ""
    return f"Evaluation: {main_policy(document)}{after}"


def _show(video: "VideoFile", folder: Path) -> ShownVideo:
    still = poster(video.path)
    relative = Path(os.path.relpath(video.path, folder)).as_posix()
    return ShownVideo(
        name=video.name,
        source=urllib.parse.quote(relative),
        poster=data_uri(still, "image/jpeg") if still else "",
        linked=True,
    )


def _base64_size(path: Path) -> int:
    return 4 * (path.stat().st_size // 3 + 1) + 32
