"""Sets JAX's device, precision and compilation cache before its first use."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from vnl_mjx.commands.compile_cache import (
    CACHE_OFF,
    CACHE_VARIABLE,
    JAX_CACHE_VARIABLE,
    cache_folder,
    forget_oldest,
    make_folder,
)
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.physics.backends import resolve_backend
from vnl_mjx.versions import how_to_install

_PRECISION_VARIABLE = "JAX_DEFAULT_MATMUL_PRECISION"
_SAFE_PRECISION = "float32"
_BACKEND_NAMES = {"mujoco": "MuJoCo C on threads", "mjx": "MJX-JAX", "warp": "MuJoCo Warp"}


def prepare_jax(device: str = "auto", matmul_precision: str = "auto") -> None:
    """Tells JAX where and how to compute; each command calls it once, before anything uses JAX.

    Args:
        device: "cpu", "gpu" or "auto" (what JAX prefers).
        matmul_precision: see `config.schema.DistillationConfig`.

    Raises:
        UserError: a GPU is asked for and JAX sees none.
        ValueError: "cpu" is asked for and JAX has settled on another device already.
    """
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if jax.config.jax_enable_x64:
        print("warning: JAX_ENABLE_X64 is set; this program computes in float32", file=sys.stderr)
        jax.config.update("jax_enable_x64", False)
    found = _default_backend()
    if device == "cpu" and found != "cpu":
        raise ValueError(f"JAX was used before it was prepared: {device=}, {found=}")
    if device == "gpu" and found != "gpu":
        raise UserError(
            f"device: expected gpu, found that JAX sees {_devices()} only; for an NVIDIA GPU run "
            f"{how_to_install('cuda12')}, or likewise cuda13; or give device=auto"
        )
    if matmul_precision == "auto":
        matmul_precision = os.environ.get(_PRECISION_VARIABLE) or _SAFE_PRECISION
    jax.config.update("jax_default_matmul_precision", matmul_precision)
    _keep_compiled()


def _default_backend() -> str:
    try:
        return jax.default_backend()
    except (AssertionError, RuntimeError) as error:  # JAX says it either way
        wanted = os.environ.get("JAX_PLATFORMS")
        raise UserError(
            f"JAX_PLATFORMS={wanted}: JAX finds no such device here ({first_line(error)}); unset it in the "
            "environment, or run vnl-mjx doctor"
        ) from error


def simulation(section: PhysicsSection) -> dict[str, Any]:
    """Returns the arguments of `tasks.building.build_task` that say where the simulation runs."""
    return asdict(section) | {"backend": resolve_backend(section.backend)}


def describe_runtime(section: PhysicsSection, num_devices: int | None = None) -> dict[str, str]:
    """Returns devices, precision and back end, for tables and for a run's record."""
    return {
        "device": _devices(num_devices),
        "backend": resolve_backend(section.backend),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
    }


def runtime_rows(runtime: Mapping[str, str]) -> dict[str, str]:
    """Returns the result of `describe_runtime` as rows of a table."""
    return {
        "device": runtime["device"],
        "simulation": _BACKEND_NAMES[runtime["backend"]],
        "matrix products": runtime["matmul_precision"],
    }


def _devices(num_devices: int | None = None) -> str:
    devices = jax.devices()[:num_devices]  # those of `environment_mesh`
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    return kinds if len(devices) == 1 else f"{len(devices)} x {kinds}"


def _keep_compiled() -> None:
    """Switches JAX's persistent compilation cache on.

    JAX never keeps programs with host callbacks, which the C back end needs. It keeps programs that call
    Warp: they refer to functions by name and number, and the running process looks these up.
    """
    folder = cache_folder()
    if folder is None or os.environ.get(JAX_CACHE_VARIABLE):
        return  # JAX reads its own variable
    try:
        make_folder(folder)
    except OSError as error:
        print(
            f"warning: compiled programs are not kept: cannot write to {folder} ({error.strerror}); "
            f"set {CACHE_VARIABLE} to another folder, or to {CACHE_OFF}",
            file=sys.stderr,
        )
        return
    if jax.default_backend() == "cpu" and not loads_what_it_compiles():
        return
    forget_oldest(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))


def loads_what_it_compiles() -> bool:
    """Returns whether XLA accepts its own cached programs on this CPU.

    On some CPUs with AVX-512 it does not, and prints a long warning for each program (jax-ml/jax issue
    38445).
    """
    shape = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    compiled = jax.jit(lambda x: jnp.tanh(x) @ x).lower(shape).compile()
    with tempfile.TemporaryFile() as said, _stderr_to(said.fileno()):
        try:
            deserialize_and_load(*serialize(compiled))
        except Exception:  # any failure here would also hit the cache
            return False
        said.seek(0)
        return b"machine" not in said.read().lower()


@contextlib.contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    """Redirects standard error of this process, compiled code included, to a file descriptor."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
