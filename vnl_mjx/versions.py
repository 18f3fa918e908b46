"""Versions of installed software, for what a file records about itself; how to install what is missing."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of Python and of each package by its name; "not installed" where it is not."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def how_to_install(extra: str) -> str:
    """Returns what installs an extra of this package, in a clone and elsewhere; other extras stay."""
    wanted = re.compile(rf"""(.+?)\s*;\s*extra\s*==\s*['"]{extra}['"]""")
    try:
        known = map(wanted.fullmatch, importlib.metadata.requires("vnl-mjx") or ())
        packages = " ".join(f"'{match[1]}'" for match in known if match)
        elsewhere = f", else `pip install {packages}`"
    except importlib.metadata.PackageNotFoundError:  # run from its folder, not installed
        elsewhere = ""
    return f"`uv sync --inexact --extra {extra}` in a clone{elsewhere}"
