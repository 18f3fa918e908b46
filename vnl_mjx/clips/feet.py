"""Computes the height of each foot's lowest point over the floor, and lifts recordings to the floor."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from vnl_mjx.quaternions import rotate
from vnl_mjx.walkers.walker import Walker

_GEOM = mujoco.mjtGeom
_BIN_M = 5e-5
_LIMIT_M = 10.0


@dataclass(frozen=True)
class FootGeom:
    """Describes one geom that a foot stands on."""

    foot: int  # row among `Walker.feet`
    body: int  # id of the body that it is fixed to
    position: np.ndarray  # [3] in the body's frame, metres
    axes: np.ndarray  # [3, 3] its axes as columns in the body's frame
    half_axes: np.ndarray  # [3] metres, of the box, ellipsoid or core segment
    radius: float  # metres, around the core
    rounded: bool  # the half axes are those of an ellipsoid


def foot_geoms(walker: Walker, feet: Sequence[int] | None = None) -> tuple[FootGeom, ...]:
    """Returns the geoms that can touch the floor, of each foot and of the bodies below it.

    `feet` are body ids; default: the walker's. If none of a foot's geoms collides, all of them count; without
    geoms, its body's origin counts.
    """
    model = walker.model
    collides = (model.geom_contype | model.geom_conaffinity) != 0
    found = []
    for row, foot in enumerate(walker.feet if feet is None else feet):
        own = [g for g in range(model.ngeom) if _below(model, model.geom_bodyid[g], foot)]
        used = [g for g in own if collides[g]] or own
        found += [_foot_geom(model, g, row) for g in used] or [_point(row, int(foot))]
    return tuple(found)


def _point(row: int, body: int) -> FootGeom:
    return FootGeom(row, body, np.zeros(3), np.eye(3), np.zeros(3), 0.0, False)


def _below(model: mujoco.MjModel, body: int, ancestor: int) -> bool:
    while body > ancestor:  # parents have smaller ids
        body = model.body_parentid[body]
    return body == ancestor


def _foot_geom(model: mujoco.MjModel, geom: int, row: int) -> FootGeom:
    kind, size = _GEOM(int(model.geom_type[geom])), model.geom_size[geom]
    position, axes = model.geom_pos[geom].copy(), np.empty(9)
    mujoco.mju_quat2Mat(axes, model.geom_quat[geom])
    axes = axes.reshape(3, 3)
    half, radius = np.zeros(3), 0.0
    if kind in (_GEOM.mjGEOM_SPHERE, _GEOM.mjGEOM_CAPSULE):
        radius = float(size[0])
        half[2] = size[1] if kind == _GEOM.mjGEOM_CAPSULE else 0.0
    elif kind in (_GEOM.mjGEOM_ELLIPSOID, _GEOM.mjGEOM_BOX):
        half = size.copy()
    else:  # cylinders and meshes: the box around them
        position += axes @ model.geom_aabb[geom, :3]
        half = model.geom_aabb[geom, 3:].copy()
    return FootGeom(
        foot=row,
        body=int(model.geom_bodyid[geom]),
        position=position,
        axes=axes,
        half_axes=half,
        radius=radius,
        rounded=bool(kind == _GEOM.mjGEOM_ELLIPSOID),
    )


class FootHeights:
    """Computes the height of each foot's lowest point over the floor plane; built once per walker.

    Attributes:
        feet: body ids.
    """

    def __init__(self, walker: Walker, feet: Sequence[int] | np.ndarray | None = None):
        """Finds the geoms of the feet, body ids; default: the walker's."""
        self.feet = np.asarray(walker.feet if feet is None else feet, int).tolist()
        geoms = foot_geoms(walker, self.feet)
        self._floor_height = walker.floor_height
        bodies = np.array([geom.body for geom in geoms], int)
        # each body once, and the place of each geom's body among them
        self._bodies, self._place = np.unique(bodies, return_inverse=True)
        shapes = [geom.axes * geom.half_axes for geom in geoms]
        self._shapes = np.array(shapes, np.float32).reshape(-1, 3, 3, 1)
        offsets = np.array([geom.position for geom in geoms], np.float32).reshape(-1, 3)
        self._offsets = offsets.T[..., None]
        self._radii = np.array([geom.radius for geom in geoms], np.float32)[:, None]
        self._rounded = np.array([geom.rounded for geom in geoms], bool)[:, None]
        feet = np.array([geom.foot for geom in geoms], int)
        self._geoms_of_feet = [np.flatnonzero(feet == f) for f in range(len(self.feet))]

    def __call__(self, body_positions: np.ndarray, body_quaternions: np.ndarray) -> np.ndarray:
        """Returns heights, float32 [frame, feet] in metres, from poses of all bodies [frame, nbody, ...]."""
        lowest = self.of_geoms(body_positions, body_quaternions)
        heights = np.empty((lowest.shape[1], len(self._geoms_of_feet)), np.float32)
        for foot, own in enumerate(self._geoms_of_feet):
            heights[:, foot] = lowest[own].min(axis=0)
        return heights

    def of_geoms(self, body_positions: np.ndarray, body_quaternions: np.ndarray) -> np.ndarray:
        """Returns heights of the feet's geoms, float32 [geom, frame]; arguments as for the feet."""
        height = np.asarray(body_positions[:, self._bodies, 2], np.float32).T[self._place]
        orientation = np.asarray(body_quaternions[:, self._bodies], np.float32).T
        # component by component, [geom, frame]: many small matrix products would take longer
        x, y, z = (part[self._place] for part in _up_in_body(*orientation))
        rows = self._shapes
        reach = [x * rows[:, 0, j] + y * rows[:, 1, j] + z * rows[:, 2, j] for j in range(3)]
        box = np.abs(reach[0]) + np.abs(reach[1]) + np.abs(reach[2])
        ellipsoid = np.sqrt(reach[0] ** 2 + reach[1] ** 2 + reach[2] ** 2)
        center = height + x * self._offsets[0] + y * self._offsets[1] + z * self._offsets[2]
        lowest = center - np.where(self._rounded, ellipsoid, box) - self._radii
        return lowest - np.float32(self._floor_height)

    def middles(self, body_positions: np.ndarray, body_quaternions: np.ndarray) -> np.ndarray:
        """Returns middles of the feet's geoms, float32 [frame, geom, 3], world; arguments as for the feet."""
        bodies = self._bodies[self._place]
        offsets = self._offsets[None, ..., 0].swapaxes(1, 2)
        return body_positions[:, bodies] + rotate(offsets, body_quaternions[:, bodies])


def floor_heights(walker: Walker) -> FootHeights:
    """Returns what measures a walker's height over the floor: of its feet, else of its whole body.

    A body that is fixed to the world, without feet and without a plane in its model, has no floor.
    """
    model = walker.model
    has_plane = (model.geom_type == _GEOM.mjGEOM_PLANE).any()
    if not (walker.config.foot_names or walker.layout.free_root or has_plane):
        return FootHeights(walker, [])
    if len(walker.feet):
        return FootHeights(walker)
    roots = np.flatnonzero((model.body_weldid != 0) & (model.body_weldid[model.body_parentid] == 0))
    return FootHeights(walker, roots)


class FloorHistogram:
    """Estimates how far to lift a recording so that the feet stand on the floor.

    The shift brings a low percentile over time of the *lowest* foot to the floor, so rearing, stepping,
    jumps and single bad frames do not matter. An animal that never touches the floor (climbing, hanging)
    looks like a recording with another origin, so the shift is reported. The histogram takes blocks of
    frames in any order, with bins of 0.05 mm from -10 to 10 m.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * round(_LIMIT_M / _BIN_M), np.int64)

    def add(self, foot_heights: np.ndarray) -> None:
        """Counts a block, [frame, feet] metres over the floor; frames with NaN do not count."""
        lowest = np.min(foot_heights, axis=1)
        place = (lowest[np.isfinite(lowest)] + _LIMIT_M) / _BIN_M
        bins = np.clip(place, 0, len(self._counts) - 1).astype(np.int64)
        if bins.size:
            first = int(bins.min())  # a block spans few bins
            counts = np.bincount(bins - first)
            self._counts[first : first + len(counts)] += counts

    def shift(self, percentile: float) -> float:
        """Returns the metres to add to z; 0 before the first frame."""
        cumulative = np.cumsum(self._counts)
        if not cumulative[-1]:
            return 0.0
        # the rank that NumPy's percentile interpolates at, between frames in neighbouring bins
        rank = percentile / 100.0 * (int(cumulative[-1]) - 1)
        ranks = np.array([np.floor(rank), np.ceil(rank)])
        heights = (np.searchsorted(cumulative, ranks, side="right") + 0.5) * _BIN_M - _LIMIT_M
        return -float(heights[0] + (rank - ranks[0]) * (heights[1] - heights[0]))


def _up_in_body(
    w: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the world's z axis in the frames of orientations [...]: the third row of the matrix."""
    return 2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z
