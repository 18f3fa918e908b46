"""What a benchmark ran on, without any name that is this machine's own."""

import datetime
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax

from vnl_mjx.versions import installed_versions

_PACKAGES = ("vnl-mjx", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "mujoco")
_PACKAGES += ("mujoco-mjx", "warp-lang", "flax", "optax", "brax", "numpy")
_QUERY = "--query-gpu=name,driver_version,memory.total"


def describe_machine() -> dict[str, Any]:
    """Devices, driver, processor, versions and the day (UTC), JSON-able."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "platform": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "gpu": _gpu(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "versions": installed_versions(_PACKAGES),
    }


def _gpu() -> str | None:
    """Name, driver and memory of the first GPU, as NVIDIA's tool says; None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", _QUERY, "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip().partition("\n")[0] or None


def _cpu() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
