"""Returns versions of installed software for records, and instructions for missing extras."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions of Python and each package by name; "not installed" for missing ones."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def how_to_install(extra: str) -> str:
    """Returns the commands that install an extra of this package, in a clone and elsewhere."""
    wanted = re.compile(rf"""(.+?)\s*;\s*extra\s*==\s*['"]{extra}['"]""")
    try:
        known = map(wanted.fullmatch, importlib.metadata.requires("vnl-mjx") or ())
        packages = " ".join(f"'{match[1]}'" for match in known if match)
        elsewhere = f", else `pip install {packages}`"
    except importlib.metadata.PackageNotFoundError:  # run from its folder, not installed
        elsewhere = ""
    return f"`uv sync --inexact --extra {extra}` in a clone{elsewhere}"
