"""Keeps a body's MJCF, and the files that it reads, in the folder of a run, which may then be moved."""

import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

BODY_FOLDER = "body"
_FILE_KEYS = ("file", "fileright", "fileleft", "fileup", "filedown", "filefront", "fileback")
_FOLDER_KEYS = ("assetdir", "meshdir", "texturedir")


def kept_path(mjcf: str | Path, folder: Path) -> Path:
    """Returns where `keep_body` puts the MJCF in a folder."""
    path = Path(mjcf).expanduser().resolve()
    return folder / BODY_FOLDER / path.relative_to(_top(_files(path)))


def keep_body(mjcf: str | Path, folder: Path) -> None:
    """Copies an MJCF and what it reads into `BODY_FOLDER` of a folder, where all of it is not yet there.

    Files keep their places relative to each other.
    """
    found = _files(Path(mjcf).expanduser().resolve())
    top = _top(found)
    for path in found:
        copy = folder / BODY_FOLDER / path.relative_to(top)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _files(mjcf: Path) -> list[Path]:
    """The MJCF and every file that it or an included one names, absolute.

    MuJoCo looks for files in the folder of the MJCF, or in those that its `compiler` names.
    """
    found, trees = [mjcf], [ElementTree.parse(mjcf).getroot()]
    for tree in trees:  # which grows by what is included
        for include in (*tree.iter("include"), *tree.iter("model")):
            path = _resolved(mjcf.parent, include.get("file", ""))
            if path.is_file() and path not in found:
                found.append(path)
                trees.append(ElementTree.parse(path).getroot())
    named = [
        compiler.get(key, "")
        for tree in trees
        for compiler in tree.iter("compiler")
        for key in _FOLDER_KEYS
    ]
    folders = dict.fromkeys(_resolved(mjcf.parent, name) for name in ("", *named))
    for tree in trees:
        for element in tree.iter():
            for file in filter(None, map(element.get, _FILE_KEYS)):
                found += (path for folder in folders if (path := _resolved(folder, file)).is_file())
    return list(dict.fromkeys(found))


def _resolved(folder: Path, name: str) -> Path:
    """Like `Path.resolve`, but that links stay: a file has its place where it is named."""
    return Path(os.path.normpath(folder / name))


def _top(files: list[Path]) -> Path:
    """The folder that holds all files."""
    return Path(os.path.commonpath([path.parent for path in files]))
