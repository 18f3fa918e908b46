"""`vnl-mjx doctor`: checks what this machine can run, and says what to change.

Checks that may crash or hang (JAX finding its devices, OpenGL opening a display) run in separate processes.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from vnl_mjx.commands import compile_cache
from vnl_mjx.commands.compile_cache import CACHE_OFF, CACHE_VARIABLE
from vnl_mjx.commands.console import Console
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering.gl import (
    GL_BACKENDS,
    INSTALL_HINT,
    probe,
    probe_gl,
    requested_backends,
)

MIN_FREE_DISK_GB = 2.0
# The default run fits in 2 GB; the rest is for the system.
MIN_MEMORY_GB = 3.0
PACKAGES = ("mujoco", "mujoco-mjx", "jax", "flax", "optax", "orbax-checkpoint")
PACKAGES += ("dm-control", "hydra-core", "h5py", "matplotlib", "numpy")
# Each extra and the distribution that it adds.
EXTRAS = {
    "cuda12": "jax-cuda12-plugin",
    "cuda13": "jax-cuda13-plugin",
    "warp": "warp-lang",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "nwb": "pynwb",
    "viewer": "mjviser",
    "onnx": "onnxruntime",
    "gymnasium": "gymnasium",
    "umap": "umap-learn",
}

_JAX_PROBE = """
import json, jax
from vnl_mjx.physics.backends import resolve_backend
devices = [f"{d.platform}: {d.device_kind}" for d in jax.devices()]
print(json.dumps({"devices": devices, "backend": resolve_backend("auto")}))
"""


@dataclass(frozen=True)
class Finding:
    """Holds one row of the table.

    Its status is "ok", "note" (something optional is not there) or "problem" (runs will fail).
    """

    name: str
    found: str
    status: str = "ok"
    advice: str = ""


def run(args: argparse.Namespace) -> int:
    """Prints what this machine can run; returns 1 if a run would fail, else 0."""
    findings = examine()
    healthy = all(finding.status != "problem" for finding in findings)
    if args.json:
        print(json.dumps({"ok": healthy, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        _print_table(findings, healthy)
    return 0 if healthy else 1


def examine() -> list[Finding]:
    """Runs all checks; takes a few seconds."""
    with ThreadPoolExecutor() as pool:
        devices = pool.submit(probe, _JAX_PROBE, MUJOCO_GL="")
        gl = {name: pool.submit(probe_gl, name) for name in GL_BACKENDS}
        findings = [*_machine(), *_packages()]
        findings += [*jax_findings(*devices.result()), compiled_programs()]
        return [*findings, *_rendering({k: v.result() for k, v in gl.items()}), *_extras(), _demo()]


def _machine() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", str(usable))
    memory = total_memory_gb()
    if memory is not None:
        advice = "lower training_config.num_envs"
        yield _space("memory", memory, MIN_MEMORY_GB, advice)
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    advice = "free some space or give a run_dir elsewhere"
    yield _space("free disk here", free, MIN_FREE_DISK_GB, advice)


def _space(name: str, found_gb: float, least_gb: float, advice: str) -> Finding:
    status, advice = ("note", advice) if found_gb < least_gb else ("ok", "")
    return Finding(name, f"{found_gb:.1f} GB", status, advice)


def total_memory_gb() -> float | None:
    """Returns the memory of the machine or, if less, of the container; None if unknown."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        sizes.append(int(text))
    return min(sizes) / 1e9 if sizes else None


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    advice = f"install {', '.join(missing)}" if missing else ""
    yield Finding("packages", found, "problem" if missing else "ok", advice)
    pair = versions["mujoco"], versions["mujoco-mjx"]
    if pair[0] != pair[1] and None not in pair:
        advice = "install the same version of mujoco and mujoco-mjx"
        yield Finding("MuJoCo and MJX", f"{pair[0]} and {pair[1]}", "problem", advice)


def jax_findings(works: bool, output: str) -> Iterator[Finding]:
    """Yields findings on JAX's devices, from the `output` of a process that listed them."""
    if not works:
        given = ", ".join(f"{k}={v}" for k, v in os.environ.items() if k.startswith("JAX_"))
        advice = f"unset {given} in the environment" if given else "reinstall jax and jaxlib"
        yield Finding("JAX devices", output, "problem", advice)
        return
    found = json.loads(output)
    devices = ", ".join(found["devices"])
    unused = shutil.which("nvidia-smi") and all(name[:3] == "cpu" for name in found["devices"])
    advice = "for the NVIDIA GPU: uv run --extra cuda12 vnl-mjx ... (or cuda13)" if unused else ""
    yield Finding("JAX devices", devices, "note" if unused else "ok", advice)
    warp = _version(EXTRAS["warp"])
    backends = "mujoco, mjx, " + (f"warp {warp}" if warp else "no warp (extra)")
    yield Finding("simulation", f"{backends}; backend=auto is {found['backend']} here")


def compiled_programs() -> Finding:
    """Returns where compiled programs are kept, and their size."""
    folder = compile_cache.cache_folder()
    if folder is None:
        return Finding("compiled programs", f"not kept ({CACHE_VARIABLE}={CACHE_OFF})")
    try:
        compile_cache.make_folder(folder)
    except OSError as error:
        advice = f"set {CACHE_VARIABLE} to another folder, or to {CACHE_OFF}"
        return Finding("compiled programs", f"{folder}: {error.strerror}", "note", advice)
    size = compile_cache.cached_bytes(folder) / 1e6
    return Finding("compiled programs", f"{size:.1f} MB in {folder}")


def _rendering(results: dict[str, tuple[bool, str]]) -> Iterator[Finding]:
    for name, (works, output) in results.items():
        shown, status = ("works", "ok") if works else (output, "note")
        yield Finding(f"rendering with {name}", shown, status)
    try:
        allowed = requested_backends()
    except UserError as error:
        yield Finding("video", str(error), "note")
        return
    working = next((name for name in allowed if results[name][0]), None)
    if working is not None:
        yield Finding("video", f"drawn with {working}")
    else:
        found = "no way to render; training and evaluation need none"
        advice = INSTALL_HINT if len(allowed) > 1 else "unset MUJOCO_GL"
        yield Finding("video", found, "note", advice)


def _extras() -> Iterator[Finding]:
    for extra, distribution in EXTRAS.items():
        version = _version(distribution)
        if version:
            yield Finding(f"extra {extra}", f"{distribution} {version}")
        else:
            # the row of JAX's devices says if a GPU lacks its extra
            advice = "" if extra.startswith("cuda") else f"uv sync --inexact --extra {extra}"
            yield Finding(f"extra {extra}", "not installed", "note", advice)


def _demo() -> Finding:
    missing = [path.name for path in (DEMO_TEACHER, DEMO_CLIPS) if not path.exists()]
    if not missing:
        return Finding("demonstration data", "teacher and clips are there")
    advice = "reinstall vnl-mjx, or give your own: vnl-mjx distill TEACHER CLIPS"
    return Finding("demonstration data", f"without {' and '.join(missing)}", "problem", advice)


def _version(distribution: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)


def _print_table(findings: list[Finding], healthy: bool) -> None:
    table = Table(title="This machine", title_justify="left", box=box.SIMPLE_HEAD)
    for head, options in {"": {"no_wrap": True}, " ": {}, "found": {}, "advice": {}}.items():
        table.add_column(head.strip(), overflow="fold", **options)
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    for finding in findings:
        status = Text(finding.status, styles[finding.status])
        table.add_row(finding.name, status, finding.found, finding.advice)
    console = Console()
    console.print(table)
    console.print("Ready." if healthy else "Not ready: see the rows marked as problems.")
