"""Draws a body's skeleton with names, from the front and from the side, without a renderer."""

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from vnl_mjx.report.colors import BLUE, GREEN, INK, MUTED
from vnl_mjx.report.pictures.style import Picture, sheet, short
from vnl_mjx.walkers.walker import Walker

_VIEWS = {"from the side": (0, 2), "from the front": (1, 2)}
_HEIGHT_INCHES = 3.0


def skeleton(walker: Walker, qpos: np.ndarray) -> Picture:
    """Draws bodies as points, joined to their parents, in one pose [nq]; names root, ends and feet."""
    model, data = walker.model, mujoco.MjData(walker.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    moving = np.flatnonzero(model.body_weldid)
    named = _named(walker)
    caption = "The body's skeleton in one pose: root, end effectors and feet by name."
    alt = "; ".join(f"{what}: {walker.body_names[body]}" for body, (what, _) in named.items())
    with sheet(_HEIGHT_INCHES, caption, alt, columns=2) as drawn:
        for axis, (view, (across, up)) in zip(drawn.axes, _VIEWS.items(), strict=True):
            for body in moving:
                parent = model.body_parentid[body]
                if parent:
                    line = data.xpos[[parent, body]]
                    axis.plot(line[:, across], line[:, up], color=MUTED, linewidth=1.0)
            points = data.xpos[moving]
            axis.plot(points[:, across], points[:, up], ".", color=INK, markersize=2)
            for body, (_, color) in named.items():
                place = data.xpos[body][[across, up]]
                axis.plot(*place, "o", color=color, markersize=4)
                axis.annotate(
                    short(walker.body_names[body]),
                    place,
                    (3, 2),
                    textcoords="offset points",
                    fontsize=6,
                    color=color,
                )
            if len(walker.feet):
                axis.axhline(walker.floor_height, color=MUTED, linewidth=0.8, linestyle=":")
            axis.set_aspect("equal")
            axis.set_title(view, loc="left")
            axis.set_xlabel("x" if across == 0 else "y")
        drawn.axis.set_ylabel("z")
    return drawn.picture


def _named(walker: Walker) -> Mapping[int, tuple[str, str]]:
    """Returns what each named body is, and its colour."""
    groups: Sequence[tuple[str, str, Sequence[int]]] = (
        ("end", BLUE, walker.end_effectors.tolist()),
        ("foot", GREEN, walker.feet.tolist()),
        ("root", INK, [walker.root_body]),
    )
    return {body: (what, color) for what, color, bodies in groups for body in bodies}
