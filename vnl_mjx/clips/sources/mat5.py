"""Reads MATLAB files of version 5 to 7.2: arrays of numbers, text, and cells of text."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_TIMEOUT_S = 300
_MEMORY = 4 * 2**30  # bytes, and so many times the file's size:
_MEMORY_FACTOR = 16

_READ = """
import resource, sys, warnings
path, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def limit(kind, most):
    hard = resource.getrlimit(kind)[1]  # which a cluster may have set lower
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))
limit(resource.RLIMIT_CORE, 0)
limit(resource.RLIMIT_CPU, seconds)
if sys.platform == "linux":
    limit(resource.RLIMIT_AS, memory)
import numpy as np
import scipy.io
warnings.simplefilter("ignore")
kinds = {name: kind for name, _, kind in scipy.io.whosmat(path)}
plain = {}
for name, value in scipy.io.loadmat(path).items():
    kind = kinds.get(name)
    if kind in ("double", "single") and value.dtype.kind != "c":
        value = value.astype(kind)  # MATLAB stores whole numbers in the smallest type that holds them
    if isinstance(value, np.ndarray) and value.dtype == object:  # cells, of text if they are plain
        cells = ["".join(c) for c in value.ravel() if getattr(c, "dtype", value.dtype).kind == "U"]
        value = np.array(cells, str) if len(cells) == value.size else None
    if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biufcU":
        plain[name] = value
np.savez(sys.stdout.buffer, **plain)
"""


def read_mat5(path: Path) -> dict[str, np.ndarray]:
    """Returns numbers in MATLAB's shape, and text [row] or [cell], by name; leaves out other variables.

    SciPy reads the file in a separate process with limited time and memory, because some damaged files
    crash it.

    Raises:
        ValueError: the file is damaged or too large.
    """
    memory = _MEMORY + _MEMORY_FACTOR * path.stat().st_size
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READ, str(path), str(memory), str(_TIMEOUT_S)],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"not read within {_TIMEOUT_S} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(lines[-1] if lines else f"the reader ended with {done.returncode}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as archive:
        return dict(archive)
