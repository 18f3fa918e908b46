"""Reads the first bytes of a file, which tell its kind."""

from pathlib import Path

from vnl_mjx.errors import UserError, first_line

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"ZF": "joblib's zlib",
    **dict.fromkeys((b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"), "zlib (joblib)"),
}


def file_head(path: Path, readable: str) -> bytes:
    """Returns the first bytes of a recording; `readable` says in words what can be read.

    Raises:
        UserError: the file is missing, empty, compressed, or no more than a pointer to the file.
    """
    head = _read(path, readable)
    for magic, method in _COMPRESSED.items():
        if head.startswith(magic):
            raise UserError(
                f"{path}: is compressed with {method}; unpack it, or store the arrays as .npz or "
                "HDF5"
            )
    if head.startswith(b"version https://"):
        raise UserError(
            f"{path}: is a pointer of Git LFS, not the file itself; run `git lfs pull` in its "
            "repository"
        )
    return head


def _read(path: Path, readable: str) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a directory; give the files in it")
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a recording: {readable}")
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if not head:
        raise UserError(f"{path}: is empty; copy it again")
    return head
