"""Finds a user's functions and classes by the path in a configuration.

Importing a path runs its code, and a path may come from a file that somebody else made: a checkpoint, a body
or clips. So only code runs that the user of this process named: in a setting, in a file given with --config,
with --allow-code, or by `allow`.
"""

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vnl_mjx.errors import UserError

# What the user named: modules or absolute files, each with its names, or "" for all of them.
_allowed: dict[str, set[str]] = {}
_used: dict[str, None] = {}  # modules and files that ran, in their order, as the user named them


def allow(*paths: str) -> None:
    """Lets the code of modules, files or single objects run where a stored file names it.

    Args:
        paths: "package.module", "folder/file.py", or the same with ":name". A file stands for all files of
            its name, wherever the stored file has it.
    """
    for path in paths:
        module, is_one, name = path.rpartition(":")
        _allowed.setdefault(_place(module if is_one else path), set()).add(name if is_one else "")


def allow_in(settings: Any) -> None:
    """Allows every path among the user's own settings, in mappings and lists of any depth."""
    allow(*(text for text in _texts(settings) if is_path(text) and _names_object(text)))


def allowing_options() -> str:
    """Returns the options for a command that needs the code which ran here; empty if none ran."""
    return "".join(f" --allow-code {shlex.quote(module)}" for module in _used)


def without_folders(document: Any) -> Any:
    """Returns a document in which paths of a user's files have no folder, so that it can be shared."""
    if isinstance(document, Mapping):
        return {key: without_folders(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return type(document)(map(without_folders, document))
    if isinstance(document, str) and ".py:" in document and _names_object(document):
        return Path(document).name
    return document


def is_path(name: str) -> bool:
    """Returns whether `name` is a path to a user's object, and not the name of a built-in one."""
    return ":" in name


def check_own_name(name: str, key: str, built_in: Collection[str]) -> None:
    """Raises UserError if a user's term, configured at `key`, has the name of a `built_in` one."""
    if name in built_in:
        raise UserError(
            f"{key}: {name!r} is the name of a built-in term in use; give yours another name"
        )


def load_object(path: str, key: str) -> Any:
    """Imports the object that `path` names.

    Args:
        path: "package.module:name" (importable, or found in the working folder) or "folder/file.py:name".
        key: key of the configuration, for the message.

    Raises:
        UserError: there is no such module, file or name, importing it fails, or the user did not name it
            (see `allow`).
    """
    module_name, _, name = path.rpartition(":")
    found = _named(module_name, name)
    if found is None:
        raise UserError(
            f"{key}: {path!r} is code that a stored file names, which runs only if you name it too; if you "
            f"trust it, add --allow-code {shlex.quote(module_name)} (in Python "
            f"vnl_mjx.extensions.allow({module_name!r}))"
        )
    module_name = found
    _used[module_name] = None
    try:
        module = _module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise UserError(
            f"{key}: cannot import {module_name!r} of {path!r}: {type(error).__name__}: {error}; expected "
            "package.module:name or folder/file.py:name"
        ) from error
    if not hasattr(module, name):
        raise UserError(f"{key}: {module_name!r} has no {name!r}, found in {path!r}")
    return getattr(module, name)


def _named(module: str, name: str) -> str | None:
    """Returns the module or file that the user named for an object; None if the user named none.

    The package's own modules need no name.
    """
    if module.startswith("vnl_mjx."):
        return module
    place = _place(module)
    same = [place, *(own for own in reversed(_allowed) if _is_same_file(own, place))]
    found = next((own for own in same if _allowed.get(own, set()) & {name, ""}), None)
    return module if found == place else found


def _is_same_file(own: str, place: str) -> bool:
    return own.endswith(".py") and Path(own).name == Path(place).name


def _place(module: str) -> str:
    return str(Path(module).expanduser().resolve()) if module.endswith(".py") else module


def _names_object(text: str) -> bool:
    return text.rpartition(":")[2].isidentifier()


def _texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        yield from _texts([*settings.values()])
    elif isinstance(settings, list | tuple):
        for item in settings:
            yield from _texts(item)


@cache
def _module(name: str) -> Any:
    if name.endswith(".py"):
        file = Path(name).expanduser().resolve()
        if not file.is_file():
            raise FileNotFoundError(f"no file {file}")
        loaded = next((m for m in sys.modules.values() if _is_from(m, file)), None)
        if loaded is not None:
            # already imported by name: reuse it, so that its classes are the same
            return loaded
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(file.stem, module)  # pickling and dataclasses look modules up there
        try:
            spec.loader.exec_module(module)
        except BaseException:  # so that the next attempt does not find half a module
            if sys.modules.get(file.stem) is module:
                del sys.modules[file.stem]
            raise
        return module
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        # Python does not search the working folder for console scripts.
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.pop(0)


def _is_from(module: Any, file: Path) -> bool:
    found = getattr(module, "__file__", None)
    return isinstance(found, str) and found.endswith(file.name) and Path(found).resolve() == file
