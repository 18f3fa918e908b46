"""Finds a user's functions and classes by the path in a configuration."""

import importlib
import importlib.util
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from vnl_mjx.errors import UserError


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
        UserError: there is no such module, file or name, or importing it fails.
    """
    module_name, _, name = path.rpartition(":")
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
