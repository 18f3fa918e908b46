"""Draws the body's motion along a clip: path from above, joints, and stance of the feet."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from vnl_mjx.report.colors import GRID, policy_color
from vnl_mjx.report.pictures.style import Picture, legend_above, sheet, short

_PATH_INCHES = 0.7
_JOINT_INCHES = 0.62
_FOOT_INCHES = 0.36
_ROOM_INCHES = 0.8  # for legend and axis

Walked = Mapping[str, np.ndarray]  # by policy, or "reference"


def paths_from_above(clips: Mapping[str, Walked]) -> Picture:
    """Draws paths [frame, 2] of the root on the floor, m, a row for each clip, at one scale.

    Each row is turned so that the reference goes to the right.
    """
    turned = {clip: {who: _turned(paths, who) for who in paths} for clip, paths in clips.items()}
    caption = "Paths of the root from above, one episode of each; the reference goes to the right."
    ends = (
        f"{clip}: {who} ends {np.linalg.norm(path[-1] - paths['reference'][-1]):.2g} cm off"
        for clip, paths in turned.items()
        for who, path in paths.items()
        if who != "reference"
    )
    height = _ROOM_INCHES + _PATH_INCHES * len(turned)
    with sheet(height, caption, "; ".join(ends) + ".", rows=len(turned)) as drawn:
        for axis, (clip, paths) in zip(drawn.axes, turned.items(), strict=True):
            for who, path in paths.items():
                look = {"color": policy_color(who, tuple(paths)), "linewidth": 1.1}
                axis.plot(*path.T, **look, label=who)
                axis.plot(*path[-1], "o", markersize=3, color=look["color"])
            axis.set_aspect("equal", adjustable="datalim")
            axis.set_title(short(clip), loc="left")
            axis.grid()
        for axis in drawn.axes[1:]:
            axis.sharex(drawn.axis)
        drawn.axes[-1].set_xlabel("cm")
        drawn.figure.legend(
            *drawn.axis.get_legend_handles_labels(), loc="outside upper left", ncols=4
        )
    return drawn.picture


def joint_traces(clip: str, angles: Walked, names: Sequence[str], control_hz: float) -> Picture:
    """Draws angles [frame, joint] of some joints along one clip; input in rad, axis in degrees."""
    caption = (
        f"Joint angles along {clip}, one episode of each: the joints that move most, of a pair one."
    )
    off = (
        f"{who} {np.degrees(np.abs(own - angles['reference'][: len(own)]).mean()):.2g} degrees off"
        for who, own in angles.items()
        if who != "reference"
    )
    height = _ROOM_INCHES + _JOINT_INCHES * len(names)
    with sheet(
        height, caption, f"Of {', '.join(names)}: {', '.join(off)}.", rows=len(names)
    ) as drawn:
        for row, (axis, name) in enumerate(zip(drawn.axes, names, strict=True)):
            for who, own in angles.items():
                seconds, color = np.arange(len(own)) / control_hz, policy_color(who, tuple(angles))
                axis.plot(seconds, np.degrees(own[:, row]), color=color, linewidth=1.0, label=who)
            axis.set_title(f"{name}, degrees", loc="left")
            axis.grid()
        _share_time(drawn.axes)
        drawn.figure.legend(
            *drawn.axis.get_legend_handles_labels(), loc="outside upper left", ncols=4
        )
    return drawn.picture


def gait_diagram(clip: str, contacts: Walked, feet: Sequence[str], control_hz: float) -> Picture:
    """Draws when feet [frame, foot] stand along one clip: a bar from touch-down to lift-off."""
    caption = f"Gait along {clip}, one episode of each: bars while a foot stands on the floor."
    stands = (f"{who} {100 * own.mean():.0f} %" for who, own in contacts.items())
    height = _ROOM_INCHES + _FOOT_INCHES * len(feet)
    with sheet(height, caption, f"Feet stand: {', '.join(stands)} of the time.") as drawn:
        axis, lane = drawn.axis, 0.8 / len(contacts)
        for rank, (who, own) in enumerate(contacts.items()):
            color = policy_color(who, tuple(contacts))
            for foot in range(len(feet)):
                bars = np.divide(_spans(own[:, foot]), control_hz)
                axis.broken_barh(bars, (foot - 0.4 + rank * lane, 0.85 * lane), color=color)
            axis.plot([], [], color=color, linewidth=4, label=who)
        axis.set_yticks(range(len(feet)), [short(foot) for foot in feet])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_color(GRID)
        axis.set(ylim=(len(feet) - 0.5, -0.5), xlabel="time in the clip, s")
        axis.set_xlim(0.0, max(len(own) for own in contacts.values()) / control_hz)
        axis.grid(axis="x")
        legend_above(axis)
    return drawn.picture


def _turned(paths: Walked, who: str) -> np.ndarray:
    """Returns a path [frame, 2] relative to the reference's start and direction, cm."""
    reference = paths["reference"]
    x, y = reference[-1] - reference[0]
    length = np.hypot(x, y)
    cosine, sine = (x / length, y / length) if length > 0 else (1.0, 0.0)
    return 100.0 * (paths[who] - reference[0]) @ np.array([[cosine, -sine], [sine, cosine]])


def _spans(stands: np.ndarray) -> np.ndarray:
    """Returns first frame and number of frames [bar, 2] of each stance, from bool [frame]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], stands, [False]]).astype(np.int8)))
    return np.stack([edges[::2], edges[1::2] - edges[::2]], axis=1)


def _share_time(axes: Sequence[Axes]) -> None:
    for axis in axes[:-1]:
        axis.sharex(axes[-1])
        axis.tick_params(axis="x", labelbottom=False)
    axes[-1].set_xlim(left=0.0)
    axes[-1].set_xlabel("time in the clip, s")
