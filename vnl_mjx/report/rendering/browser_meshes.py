"""Converts a scene's geoms, skins and floor to viser's meshes, for a page of the browser."""

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.report.rendering.ground_lines import ground_lines
from vnl_mjx.report.rendering.scene import (
    FLOOR_NAME,
    GHOST_RGBA,
    MARK_RGBA,
    MARK_SHARE,
    MATERIAL_RGBA,
    Scene,
)

_SHOWN_GROUPS = 3  # geom groups 0, 1 and 2, as MuJoCo's own viewer
_BONES_PER_VERTEX = 4  # number that the page's renderer uses


class WalkerMesh:
    """Shows one walker on a page; `data` holds the shown pose and its kinematics."""

    def __init__(
        self, server: Any, model: mujoco.MjModel, name: str = "walker", is_ghost: bool = False
    ):
        """Sends the constant parts; names of walkers must differ, and a ghost is translucent."""
        self._server, self._model, self.data = server, model, mujoco.MjData(model)
        look = {"color": _rgb(GHOST_RGBA), "opacity": GHOST_RGBA[3]} if is_ghost else {}
        self._bodies = _add_bodies(server, model, name, look)
        skins = range(model.nskin)
        self._skins = [_add_skin(server, model, skin, name, look) for skin in skins]

    def pose(self, qpos: np.ndarray) -> None:
        """Stores a pose [nq] for `show`."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self.data)

    def show(self, middle: np.ndarray) -> None:
        """Sends the pose; `middle` [3], world, lies at the page's origin."""
        data = self.data
        with self._server.atomic():
            for body, handle in self._bodies:
                handle.position, handle.wxyz = data.xpos[body] - middle, data.xquat[body]
            for bodies, handle in self._skins:
                for body, bone in zip(bodies, handle.bones, strict=True):
                    bone.position, bone.wxyz = data.xpos[body] - middle, data.xquat[body]

    def set_visible(self, visible: bool) -> None:
        """Shows or hides the walker."""
        for _, handle in (*self._bodies, *self._skins):
            handle.visible = visible


def _add_bodies(
    server: Any, model: mujoco.MjModel, name: str, look: Mapping[str, Any]
) -> list[tuple[int, Any]]:
    """Adds meshes of the shown geoms, one for each body and colour; returns them with body ids."""
    from mjviser.conversions import merge_geoms

    groups: dict[tuple[int, tuple[float, ...]], list[int]] = {}
    for geom in np.flatnonzero(model.geom_group < _SHOWN_GROUPS):
        rgba, material = model.geom_rgba[geom], model.geom_matid[geom]
        if material >= 0 and np.allclose(rgba, MATERIAL_RGBA):
            rgba = model.mat_rgba[material]
        is_ground = model.geom_bodyid[geom] == 0  # the arena, which ghosts do not draw
        if rgba[3] > 0 and model.geom(geom).name != FLOOR_NAME and not (look and is_ground):
            groups.setdefault((int(model.geom_bodyid[geom]), tuple(rgba)), []).append(int(geom))
    handles = []
    for rank, ((body, rgba), geoms) in enumerate(groups.items()):
        mesh = merge_geoms(model, geoms)
        handle = server.scene.add_mesh_simple(
            f"/{name}/geoms_{rank}", mesh.vertices, mesh.faces, **{"color": _rgb(rgba), **look}
        )
        handles.append((body, handle))
    return handles


def _add_skin(
    server: Any, model: mujoco.MjModel, skin: int, name: str, look: Mapping[str, Any]
) -> tuple[np.ndarray, Any]:
    """Adds one skin; returns it with the bodies [bone] that move it."""
    first, count = model.skin_vertadr[skin], model.skin_vertnum[skin]
    bones = model.skin_boneadr[skin] + np.arange(model.skin_bonenum[skin])
    weights = np.zeros((count, len(bones)))
    for column, bone in enumerate(bones):
        start = model.skin_bonevertadr[bone]
        part = slice(start, start + model.skin_bonevertnum[bone])
        weights[model.skin_bonevertid[part], column] = model.skin_bonevertweight[part]
    weak = np.argsort(weights, axis=1)[:, : max(0, len(bones) - _BONES_PER_VERTEX)]
    np.put_along_axis(weights, weak, 0.0, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    faces = slice(model.skin_faceadr[skin], model.skin_faceadr[skin] + model.skin_facenum[skin])
    material = model.skin_matid[skin]
    rgba = model.mat_rgba[material] if material >= 0 else model.skin_rgba[skin]
    handle = server.scene.add_mesh_skinned(
        f"/{name}/skin_{skin}",
        model.skin_vert[first : first + count],
        model.skin_face[faces],
        bone_wxyzs=model.skin_bonebindquat[bones],
        bone_positions=model.skin_bonebindpos[bones],
        skin_weights=weights,
        side="double",
        **{"color": _rgb(rgba), **look},
    )
    return model.skin_bonebodyid[bones], handle


def _rgb(rgba: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(255 * part) for part in rgba[:3])


class Marks:
    """Shows spheres at places of the world."""

    def __init__(self, server: Any, reach: float):
        """Takes the walker's reach, m."""
        self._server, self._radius = server, MARK_SHARE * reach
        self._spheres: list[Any] = []

    def show(self, places: np.ndarray, middle: np.ndarray) -> None:
        """Shows spheres at places [mark, 3], NaN for none; `middle` [3] lies at the page's origin."""
        while len(self._spheres) < len(places):
            name, look = f"/mark_{len(self._spheres)}", {"color": _rgb(MARK_RGBA)}
            self._spheres.append(self._server.scene.add_icosphere(name, self._radius, **look))
        for rank, sphere in enumerate(self._spheres):
            sphere.visible = rank < len(places) and bool(np.isfinite(places[rank]).all())
            if sphere.visible:
                sphere.position = places[rank] - middle


def add_floor(server: Any, scene: Scene) -> Any:
    """Adds a grid of squares, or lines on the arena, and the light; its origin is on the floor."""
    server.scene.configure_environment_map(None)  # otherwise viser would fetch it from the network
    server.scene.configure_default_lights()
    server.scene.add_light_ambient("/ambient", intensity=1.5)
    if not scene.is_flat:
        lines = ground_lines(scene) - np.array([0.0, 0.0, scene.floor_height])
        look = {"colors": (170, 174, 178), "thickness": 1.5, "thickness_units": "screen"}
        return server.scene.add_line_segments("/floor", lines.astype(np.float32), **look)
    return server.scene.add_grid(
        "/floor",
        infinite_grid=True,
        cell_size=scene.square,
        section_size=5 * scene.square,
        fade_distance=20 * scene.reach,
        plane_opacity=0.5,
    )
