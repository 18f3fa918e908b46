"""Embeds pictures and videos in a page, which then needs no other file."""

import base64
import re
import subprocess
from pathlib import Path

from markupsafe import Markup, escape

from vnl_mjx.errors import UserError
from vnl_mjx.report.colors import BLUE, GRID, INK, MUTED, PAPER
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.rendering.encoding import ffmpeg_exe

# The page's colours, which change with the reader's theme.
_THEMED = {
    INK.lower(): "var(--ink)",
    MUTED.lower(): "var(--muted)",
    GRID.lower(): "var(--grid)",
    PAPER.lower(): "var(--paper)",
    BLUE.lower(): "var(--blue)",
}
_POSTER_FRAMES = 50
_SVG = re.compile(r"<svg\b.*</svg>", re.DOTALL)
_UNUSED = re.compile(r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->", re.DOTALL)
_REFERENCE = re.compile(r'(?:href="#|url\(#)([^")]+)')
_ID = re.compile(r'\sid="([^"]+)"')
_SIZE = re.compile(r'<svg\b[^>]*?viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"[^>]*>')


def data_uri(content: bytes, kind: str) -> str:
    """Returns a `data:` address of bytes; `kind` is their MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def inline_picture(picture: Picture, prefix: str) -> Markup:
    """Returns the element of a picture: its SVG, with ids that start with `prefix`, or its smaller PNG."""
    svg = inline_svg(picture.svg, prefix, picture.alt)
    if len(svg) <= len(picture.png) * 4 // 3:
        return svg
    uri = data_uri(picture.png, "image/png")
    return Markup('<img class="plot paper" src="{}" alt="{}">').format(uri, picture.alt)


def inline_svg(svg: str, prefix: str, alt: str) -> Markup:
    """Returns an SVG element for a page with several, in the colours of the page's theme.

    `svg` is the text of a file that Matplotlib wrote in `pictures.style`; its ids get the prefix `prefix`.
    """
    found = _SVG.search(svg)
    if found is None:
        raise ValueError("this is no SVG file")
    body = _UNUSED.sub("", found.group())
    used = set(_REFERENCE.findall(body))
    body = _ID.sub(lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", body)
    for color, variable in _THEMED.items():
        body = body.replace(f": {color}", f": {variable}")
    size = _SIZE.search(body)
    if size is None:
        raise ValueError("the SVG has no viewBox")
    head = (
        f'<svg class="plot" role="img" aria-label="{escape(alt)}" '
        f'viewBox="0 0 {size[1]} {size[2]}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(head + re.sub(r"\n\s*", "\n", body[size.end() :]))


def poster(video: Path) -> bytes | None:
    """Returns a typical picture of a video's first seconds as JPEG; None if ffmpeg cannot read it."""
    try:
        command = [ffmpeg_exe(), "-loglevel", "error", "-i", str(video)]
        command += ["-vf", f"thumbnail=n={_POSTER_FRAMES}", "-frames:v", "1"]
        command += ["-f", "mjpeg", "-q:v", "5", "-"]
        done = subprocess.run(command, capture_output=True, timeout=30)
    except (OSError, UserError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 and done.stdout else None
