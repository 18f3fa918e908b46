"""Which way of drawing works on this machine, and an OpenGL context made that way.

MuJoCo chooses its GL back end from `MUJOCO_GL` while it is imported. Here the choice is made when
something is to be drawn, and nothing is changed for the rest of the process.
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

# What MuJoCo takes `MUJOCO_GL` for, besides a back end (its `rendering/classic/gl_context.py`).
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
    """Runs Python source, which may crash or hang, in a process of its own, with variables added.

    Returns:
        Whether it worked, and its last line of output or what went wrong.
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
    """Draws one small frame with a GL back end in a process of its own; see `probe`."""
    return probe(GL_PROBE, MUJOCO_GL=backend)


def requested_backends() -> tuple[str, ...]:
    """The GL back ends that may be used, in order of preference, as `MUJOCO_GL` allows.

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
    """The GL back end to draw with: the first one allowed that works, tried once per process.

    Raises:
        UserError: none works, or `MUJOCO_GL` asks for what is not there.
    """
    return first_that_works(requested_backends())


@functools.cache
def first_that_works(backends: tuple[str, ...]) -> str:
    """Returns the first of `backends` that can draw here; raises UserError if none can."""
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
    """Makes an off-screen GL context of a `choose_backend` current until the block ends; sizes in pixels."""
    context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
    try:
        context.make_current()
        yield
    finally:
        # at interpreter exit the libraries that free it may be gone already
        context.free()
