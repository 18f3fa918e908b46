"""Writes files as MATLAB 7.3 does."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_mat73(path: Path, **variables: Any) -> None:
    """As MATLAB writes it: HDF5 behind a header, arrays transposed, cells of references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, tuple):
                cells = file.create_dataset(name, (len(value), 1), h5py.ref_dtype)
                for row, text in enumerate(value):
                    codes = np.array([[ord(letter)] for letter in text], np.uint16)
                    cells[row, 0] = file.create_dataset(f"#refs#/{name}_{row}", data=codes).ref
            else:
                file[name] = np.atleast_2d(value).T
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    path.write_bytes(header + path.read_bytes()[128:])
