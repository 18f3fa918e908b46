"""Finds a GL back end that works on this machine, and makes OpenGL contexts with it.

MuJoCo chooses its GL back end from `MUJOCO_GL` during import. This module chooses when something is to be
drawn, without effect on the rest of the process.
"""

import contextlib
import functools
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from vnl_mjx.errors import UserError

PROBE_TIMEOUT_S = 60
if sys.platform == "linux":
    GL_BACKENDS = ("egl", "osmesa", "glfw")
else:
    GL_BACKENDS = ("cgl", "glfw") if sys.platform == "darwin" else ("glfw",)

# Values of `MUJOCO_GL` that are no back end (MuJoCo's `rendering/classic/gl_context.py`).
_OFF = ("disable", "disabled", "off", "false", "0")
_ANY = ("", "enable", "enabled", "on", "true", "1", "glx", "wgl")

INSTALL_HINT = "install OSMesa or EGL (Debian and Ubuntu: apt-get install libosmesa6 libegl1)"

GL_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.5'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any(), "the frame is black"
"""


def probe(code: str, **environment: str) -> tuple[bool, str]:
    """Runs Python source, which may crash or hang, in a separate process with added variables.

    Returns:
        Whether it succeeded, and its last line of output or the failure.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer in {PROBE_TIMEOUT_S} s"
    if done.returncode < 0:
        return False, f"crashed with signal {-done.returncode}"
    if done.returncode > 0:
        raised = re.search(r"^[\w.]*(?:Error|Exception): .*", done.stderr, flags=re.MULTILINE)
        return False, raised[0] if raised else f"exit status {done.returncode}"
    return True, done.stdout.strip().rpartition("\n")[2]


def probe_gl(backend: str) -> tuple[bool, str]:
    """Draws one small frame with a GL back end in a separate process; see `probe`."""
    return probe(GL_PROBE, MUJOCO_GL=backend)


def requested_backends() -> tuple[str, ...]:
    """Returns the GL back ends that `MUJOCO_GL` allows, in order of preference.

    Raises:
        UserError: `MUJOCO_GL` is not a back end of this system, or turns drawing off.
    """
    value = os.environ.get("MUJOCO_GL", "").lower().strip()
    if value in GL_BACKENDS:
        return (value,)
    if value in _ANY:
        return GL_BACKENDS
    found = "which turns drawing off" if value in _OFF else "which is not known here"
    raise UserError(
        f"MUJOCO_GL: expected one of {', '.join(GL_BACKENDS)}, found {value!r}, {found}; unset it"
    )


def choose_backend() -> str:
    """Returns the first allowed GL back end that works; tries once per process.

    Raises:
        UserError: none works, or `MUJOCO_GL` names a missing back end.
    """
    return first_that_works(requested_backends())


@functools.cache
def first_that_works(backends: tuple[str, ...]) -> str:
    """Returns the first of `backends` that works here; raises UserError if none does."""
    failures = []
    for backend in backends:
        works, output = probe_gl(backend)
        if works:
            return backend
        failures.append(f"{backend} ({output})")
    asked = " with MUJOCO_GL set" if os.environ.get("MUJOCO_GL") else ""
    raise UserError(f"no way to render here{asked}: {', '.join(failures)}; {INSTALL_HINT}")


@contextlib.contextmanager
def gl_context(backend: str, width: int, height: int) -> Iterator[None]:
    """Makes an off-screen GL context of `choose_backend` current in the block; sizes in pixels."""
    context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
    try:
        context.make_current()
        yield
    finally:
        # at interpreter exit its libraries may be unloaded already
        context.free()
