"""What all benchmarks need: times of repetitions, memory, machine, one-line errors, tables."""

import datetime
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco.batch
import numpy as np
from rich.table import Table

from vnl_mjx.errors import UserError
from vnl_mjx.versions import installed_versions

PACKAGES = ("vnl-mjx", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "mujoco")
PACKAGES += ("mujoco-mjx", "warp-lang", "flax", "optax", "brax", "numpy")


def exit_status(main: Callable[[], Any]) -> int:
    """Runs a script; what its user got wrong is one line and status 2."""
    try:
        main()
    except UserError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    return 0


def timed(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds until all that `function` returns has been computed."""
    started = time.perf_counter()
    try:
        jax.block_until_ready(function(*arguments))
    except mujoco.batch.SimulationError:
        pass  # a diverged simulation was stepped all the same
    return time.perf_counter() - started


def copied(tree: Any) -> Any:
    """The same arrays in buffers of their own, for a program that donates its arguments."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, tree))


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Median, smallest and largest."""
    functions = {"median": np.median, "min": np.min, "max": np.max}
    return {name: float(function(values)) for name, function in functions.items()}


def table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    result = Table(title=title, title_justify="left")
    for i, column in enumerate(("", *columns)):
        result.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
    return result


def cpu_seconds() -> float:
    """Processor time of this process, all cores."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory_mb() -> dict[str, float]:
    """The most that this process has held, 10^6 bytes: "host" and, if JAX counts it, "device"."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: its rusage begins with the size of the process that forked
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        found = {"host": int(lines["VmHWM"].split()[0]) * 1024 / 1e6}
    else:  # bytes on macOS
        found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        found["device"] = statistics["peak_bytes_in_use"] / 1e6
    return found


def machine() -> dict[str, Any]:
    """Devices, processor, versions and day (UTC); no name that is this machine's own."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "devices": [device.device_kind for device in jax.devices()],
        "gpu": _gpu(),
        "cpu": _cpu(),
        "cores": num_cores(),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "versions": installed_versions(PACKAGES),
    }


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpu() -> str | None:
    """Name, driver and memory of the first GPU; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, timeout=30)
    return done.stdout.strip().partition("\n")[0] or None


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
