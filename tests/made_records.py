"""Makes small record files of autocorrelated random activity, which no network made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from vnl_mjx.activity.file import Quantity, Rows, write_activity_file

RATE_HZ = 50.0
GROUPS = {"kinematics/angles": 6, "reference/input": 6, "layers/decoder.hidden_0": 12}


def made_rows(labels, seconds=4.0, sessions=1, valid=None):
    """Rows of one clip per label and session, with a second between clips."""
    num = round(seconds * RATE_HZ)
    count = len(labels) * sessions
    clip = np.tile(np.repeat(np.arange(len(labels)), num), sessions)
    frame = np.tile(np.arange(num), count)
    time = (np.arange(count * num) + np.repeat(np.arange(count), num) * RATE_HZ) / RATE_HZ
    return Rows(
        time=time,
        session=np.repeat(np.arange(sessions), len(labels) * num),
        clip=clip,
        frame=frame,
        start=frame == 0,
        valid=np.ones(len(frame), bool) if valid is None else valid,
        sessions=tuple(f"session {k}" for k in range(sessions)),
        clip_names=tuple(f"clip {k}" for k in range(len(labels))),
        clip_labels=tuple(labels),
    )


def write_record(path, rows, values, **metadata):
    """Writes values [row, column] by quantity."""
    quantities = {
        name: Quantity([str(k) for k in range(value.shape[1])]) for name, value in values.items()
    }
    with write_activity_file(path, rows, RATE_HZ, quantities, metadata) as writer:
        writer.write(0, values)
    return path


def slow(random, num, columns, memory=0.9, warm_up=100) -> np.ndarray:
    """Autocorrelated noise [row, column] of variance 1, which it reaches within the warm-up."""
    fresh = random.normal(size=(num + warm_up, columns))
    return np.asarray(lfilter([np.sqrt(1.0 - memory**2)], [1.0, -memory], fresh, axis=0))[warm_up:]


def write_made_record(
    path: Path,
    num_rows: int = 4000,
    seed: int = 0,
    *,
    first_s: float = 0.0,
    valid: np.ndarray | None = None,
    values: dict[str, np.ndarray] | None = None,
) -> Path:
    """Writes independent slow quantities, one session and one clip; returns `path`."""
    random = np.random.default_rng(seed)
    values = values or {
        name: slow(random, num_rows, width, warm_up=0) for name, width in GROUPS.items()
    }
    rows = made_rows(("",), num_rows / RATE_HZ, valid=valid)
    rows = replace(rows, time=first_s + rows.time, sessions=("made",))
    return write_record(path, rows, values)
