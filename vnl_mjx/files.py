"""Writes files that appear complete or not at all."""

import contextlib
import getpass
import glob
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vnl_mjx.errors import UserError, first_line

_KILLED_AFTER_S = 60.0


def matching(paths: Sequence[str | Path], kind: str = "*.h5") -> list[Path]:
    """Returns the files that paths name.

    `~` is the user's folder. A folder stands for its files of a kind. `*`, `?` and `[...]` match names
    unless a file has that exact name.

    Raises:
        UserError: a folder or a pattern matches no file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        path = path.expanduser()
        files = [path]
        if path.is_dir():
            files = sorted(path.glob(kind))
        elif glob.has_magic(str(path)) and not path.exists():
            files = sorted(map(Path, glob.glob(str(path), recursive=True)))
        if not files:
            wanted = f"files {kind} in this folder" if path.is_dir() else "a file that this matches"
            raise UserError(f"{path}: expected {wanted}, found none")
        found += files
    return found


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; that file replaces `path` when the block ends.

    An error in the block, or an interrupt, leaves `path` unchanged. An OSError in the block counts as an
    error of this file, so code that reads other files in the block should raise its own UserError.

    Raises:
        UserError: the folder is missing, or the file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: cannot be written (there is no folder {str(path.parent)!r}; make it first)"
        )
    if path.is_dir():
        raise UserError(f"{path}: cannot be written (it is a folder; give the path of a file)")
    _forget_killed(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({first_line(error)})") from error
    finally:
        with contextlib.suppress(OSError):  # already moved, or never created
            partial.unlink()


def _forget_killed(path: Path) -> None:
    """Removes what a killed process of this machine left of an earlier write of `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        process = left.name.split(".")[-2]
        # a process of another machine may write to a shared folder, and would have written just now
        is_old = left.is_file() and time.time() - left.stat().st_mtime > _KILLED_AFTER_S
        if is_old and process.isdigit() and not Path(f"/proc/{process}").exists():
            with contextlib.suppress(OSError):
                left.unlink()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Writes `document` completely or not at all, creating the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(document, indent=2))


def make_writable(folder: Path, key: str) -> None:
    """Creates a folder and tries to write in it; `key` is the user's key or option for it.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{key}: cannot write to {folder} ({error.strerror}); choose another {key}"
        ) from error


def check_writable(folder: Path, key: str) -> None:
    """Checks as `make_writable`, but leaves no new folder, as the work may end in a refusal."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    make_writable(folder, key)
    for place in new:
        place.rmdir()


def without_user(path: str) -> str:
    """Returns a path in which `$USER` stands for a folder of the user's name; see `with_user`."""
    names = _names_of_user()
    return os.sep.join("$USER" if part in names else part for part in path.split(os.sep))


def with_user(path: str) -> str:
    """Returns a path of `without_user` with this user's name."""
    names = [*_names_of_user(), ""]
    return os.sep.join(names[0] if part == "$USER" else part for part in path.split(os.sep))


def _names_of_user() -> list[str]:
    try:
        names = [getpass.getuser()]
    except (KeyError, OSError):  # a container's user without a name
        names = []
    return [
        name
        for name in (os.path.basename(os.path.expanduser("~")), *names)
        if name not in ("", "~")
    ]


def file_name(text: str) -> str:
    """Turns a text, such as a clip's name, into a file name."""
    return re.sub(r"[^\w.-]+", "_", text)


def file_sha256(path: Path) -> str:
    """Returns the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unused(path: Path) -> Path:
    """Returns `path`, or the first of `path`-2, `path`-3, ... that does not exist."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
