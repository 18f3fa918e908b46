"""Names the points of a file that has no names: by a scheme, a file or a list."""

import functools
import json
from pathlib import Path

import yaml

from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.clips.sources.mat5 import read_mat5
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.parsing import check_yaml

_FILES = (".mat", ".txt", ".yaml", ".yml", ".json")
_NAMES = ("joint_names", "keypoint_names", "names", "KP_NAMES")  # the last is stac-mjx's


@functools.cache
def schemes() -> dict[str, tuple[str, ...]]:
    """Returns the names [point] of the schemes of the package, by scheme."""
    text = Path(__file__).with_name("schemes.yaml").read_text(encoding="utf-8")
    return {scheme: tuple(names) for scheme, names in yaml.safe_load(text).items()}


def given_names(points: str) -> tuple[str, ...]:
    """Returns the names [point] that the option `points` stands for.

    Args:
        points: a scheme, a file of names or names with commas between them.

    Raises:
        UserError: it is none of these, or the file holds no names.
    """
    if points in schemes():
        return schemes()[points]
    if Path(points).suffix.lower() in _FILES or Path(points).is_file():
        return _of_file(Path(points).expanduser())
    if "," not in points:
        raise UserError(
            f"points: expected a scheme ({', '.join(schemes())}), a file of names "
            f"({', '.join(_FILES)}) or names with commas between them, found {points!r}"
        )
    return tuple(name.strip() for name in points.split(","))


def checked_names(place: str, names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Returns the names; raises UserError unless there is one of its own for each of `count` points."""
    if len(names) != count:
        raise UserError(
            f"{place}: {len(names)} names for {count} points, expected one per point, in the file's "
            f"order; found {listing(names, 4)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        raise UserError(
            f"{place}: expected a name of its own for every point, found {twice or ''!r}"
        )
    return names


def no_names(path: str, count: int) -> UserError:
    """Returns the refusal of a file without names of its points."""
    fitting = [scheme for scheme, names in schemes().items() if len(names) == count]
    hint = f"points={fitting[0]} if they are in that scheme's order, or " if fitting else ""
    return UserError(
        f"{path}: has no names for its {count} points, which are matched by name; give {hint}"
        "points=FILE (.mat with joint_names, or a list as .txt, .yaml or .json), or points=NAME,NAME,..."
    )


def _of_file(path: Path) -> tuple[str, ...]:
    try:
        if path.suffix.lower() == ".mat":
            found = read_mat5(path)
            values = next((found[name] for name in _NAMES if name in found), None)
            values = None if values is None else values.ravel().tolist()
        else:
            values = _of_text(path.read_text(encoding="utf-8"), path.suffix.lower())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(
            f"points: {path} cannot be read ({first_line(error)}); give a list of names"
        ) from error
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise UserError(
            f"points: {path} holds no list of names, expected a list (or {', '.join(_NAMES)})"
        )
    return tuple(name.strip() for name in values)


def _of_text(text: str, suffix: str) -> object:
    if suffix == ".json":
        values = json.loads(text)
    elif suffix in (".yaml", ".yml"):
        check_yaml(text)
        values = yaml.safe_load(text)
    else:
        return [name for line in text.splitlines() for name in line.split(",") if name.strip()]
    if isinstance(values, dict):
        values = next((values[name] for name in _NAMES if name in values), None)
    return values
