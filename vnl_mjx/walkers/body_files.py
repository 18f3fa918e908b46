"""Finds and copies the files of a body: its MJCF, and the files that it reads.

Runs and clip files keep copies, so they can be moved.
"""

import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from vnl_mjx.config.imitation import RODENT_SOURCE
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import replacing

BODY_FOLDER = "body"
_FILE_KEYS = ("file", "fileright", "fileleft", "fileup", "filedown", "filefront", "fileback")
_FOLDER_KEYS = ("assetdir", "meshdir", "texturedir")


def body_files(mjcf: str | Path) -> dict[str, Path]:
    """Finds the MJCF and every file that it, or one that it includes, names.

    MuJoCo looks for files in the folder of the MJCF, in that of the included file which names them, or in
    those that its `compiler` names, relative to either.

    Returns:
        Absolute paths by place relative to the folder that holds all of them; the MJCF is the first. None of
        the rodent, which dm_control brings.

    Raises:
        UserError: a file cannot be read as XML, as strictly as Python reads it; MuJoCo is more lenient.
    """
    if mjcf == RODENT_SOURCE:
        return {}
    main = Path(os.path.abspath(Path(mjcf).expanduser()))
    found, trees = [main], {main: _root(main)}
    for mjcf_file in found:  # grows by included files
        for include in (*trees[mjcf_file].iter("include"), *trees[mjcf_file].iter("model")):
            for folder in (main.parent, mjcf_file.parent):
                path = _joined(folder, include.get("file", ""))
                if path.is_file() and path not in found:
                    found.append(path)
                    trees[path] = _root(path)
    compilers = [compiler for tree in trees.values() for compiler in tree.iter("compiler")]
    named = ["", *(compiler.get(key, "") for compiler in compilers for key in _FOLDER_KEYS)]
    for mjcf_file, tree in trees.items():
        bases = (main.parent, mjcf_file.parent)
        folders = dict.fromkeys(_joined(base, name) for base in bases for name in named)
        for element in tree.iter():
            for file in filter(None, map(element.get, _FILE_KEYS)):
                found += (path for folder in folders if (path := _joined(folder, file)).is_file())
    top = os.path.commonpath([path.parent for path in found])
    return {path.relative_to(top).as_posix(): path for path in found}


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise UserError(
            f"{path}: expected XML in UTF-8, found a mistake ({first_line(error)}); save it as UTF-8"
        ) from error


def kept_path(mjcf: str | Path, folder: Path) -> Path | None:
    """Returns where `keep_body` puts the MJCF in a folder; None for the rodent."""
    places = list(body_files(mjcf))
    return folder / BODY_FOLDER / places[0] if places else None


def keep_body(mjcf: str | Path, folder: Path) -> None:
    """Copies a body's files into `BODY_FOLDER` of a folder; keeps existing files.

    Raises:
        UserError: a file cannot be read or written, for example on a full disk.
    """
    for place, path in body_files(mjcf).items():
        copy = folder / BODY_FOLDER / place
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replacing(copy) as partial:
                shutil.copyfile(path, partial)


def _joined(folder: Path, name: str) -> Path:
    """Joins paths without following links: a file has its place where it is named."""
    return Path(os.path.normpath(folder / name))
