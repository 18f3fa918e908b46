"""Records of smooth random activity, which no network made."""

from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from vnl_mjx.activity.file import Quantity, Rows, write_activity_file

RATE_HZ = 50.0
GROUPS = {"kinematics/angles": 6, "reference/input": 6, "layers/decoder.hidden_0": 12}


def smooth(rng: np.random.Generator, num_rows: int, width: int) -> np.ndarray:
    """Activity that forgets itself within some 0.2 s, [row, column]."""
    return lfilter([1.0], [1.0, -0.9], rng.normal(size=(num_rows, width)), axis=0)


def write_made_record(
    path: Path,
    num_rows: int = 4000,
    seed: int = 0,
    *,
    first_s: float = 0.0,
    valid: np.ndarray | None = None,
    values: dict[str, np.ndarray] | None = None,
) -> Path:
    """Writes independent smooth quantities, one session and one clip; returns `path`."""
    rng = np.random.default_rng(seed)
    values = values or {name: smooth(rng, num_rows, width) for name, width in GROUPS.items()}
    zeros, start = np.zeros(num_rows), np.zeros(num_rows, bool)
    start[0] = True
    rows = Rows(
        time=first_s + np.arange(num_rows) / RATE_HZ,
        session=zeros,
        clip=zeros,
        frame=np.arange(num_rows),
        start=start,
        valid=np.ones(num_rows, bool) if valid is None else valid,
        sessions=("made",),
        clip_names=("clip",),
        clip_labels=("",),
    )
    quantities = {name: Quantity([str(i) for i in range(v.shape[1])]) for name, v in values.items()}
    with write_activity_file(path, rows, RATE_HZ, quantities, {}) as writer:
        writer.write(0, values)
    return path
