"""Makes small record files of made activity."""

import numpy as np
from scipy.signal import lfilter

from vnl_mjx.activity.file import Quantity, Rows, write_activity_file

RATE_HZ = 50.0


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


def slow(random, num, columns, memory=0.9):
    """Autocorrelated noise [row, column] of variance 1."""
    fresh = random.normal(size=(num + 100, columns))
    return lfilter([np.sqrt(1.0 - memory**2)], [1.0, -memory], fresh, axis=0)[100:]
