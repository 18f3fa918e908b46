"""Finds presets: settings that the user's own override, one YAML file each, by command."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def presets(command: str) -> dict[str, Path]:
    """Returns the files of the presets of `vnl-mjx` `command`, by name."""
    return {file.stem: file for file in sorted((_FOLDER / command).glob("*.yaml"))}


def summary(file: Path) -> str:
    """Returns the description of a preset: the first line of its file."""
    with file.open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("# ").strip()
