"""Builds a scene for drawing a walker: its skin, a floor with squares, light and a sky.

The walker's own model does not change: a scene is compiled from a separate specification with the same
bodies and joints, in which nothing collides.
"""

import math
from dataclasses import dataclass
from functools import partial

import mujoco
import numpy as np

from vnl_mjx.config.imitation import RODENT_SOURCE, WalkerConfig
from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.walkers import rodent, spec_edits
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker, body_spec

FOV_DEG = 30.0  # vertical
FLOOR_NAME = "scene_floor"
HIDDEN_GROUP = 4  # group of hidden geoms; MuJoCo shows 0, 1 and 2
GHOST_GROUP = 3  # group of the ghost's visible geoms, so that a pane can hide it

GHOST_PREFIX = "ghost/"  # of the names of its bodies, geoms and skin
GHOST_RGBA = (0.11, 0.12, 0.14, 0.35)  # of the reference's colour

MARK_RGBA = (0.89, 0.38, 0.13, 1.0)  # colour of a goal's marks
MARK_SHARE = 0.08  # radius of such a sphere over the walker's reach
# MuJoCo's own: a geom shows another one in place of its material.
MATERIAL_RGBA = (0.5, 0.5, 0.5, 1.0)
_FUR_RGBA = (0.60, 0.54, 0.48, 1.0)
_FLOOR_RGB = ((0.86, 0.87, 0.88), (0.80, 0.82, 0.84))
_SKY_RGB = ((0.90, 0.94, 0.97), (0.80, 0.82, 0.83))
_HAZE_RGBA = (0.80, 0.82, 0.83, 1.0)
_SQUARES_PER_REACH = 4  # approximate floor squares from the walker's middle to its farthest tip


@dataclass(frozen=True, eq=False)
class Scene:
    """Holds a scene.

    Attributes:
        model: the walker, then its ghost; nothing collides. Its qpos concatenates theirs.
        layout: layout of one walker's qpos.
        has_ghost: whether there is a second walker, translucent.
        reach: from the walker's centre of mass to its farthest tip in its resting pose, metres.
        square: edge of a floor square, metres.
        floor_height: z of the floor, metres.
        is_flat: whether it has an infinite floor; otherwise it has an arena.
    """

    model: mujoco.MjModel
    layout: Layout
    has_ghost: bool
    reach: float
    square: float
    floor_height: float
    is_flat: bool = True


def build_scene(
    walker: Walker,
    arena: Arena | None = None,
    *,
    with_ghost: bool = False,
    max_width: int = 3840,
    max_height: int = 2160,
    quick: bool = False,
) -> Scene:
    """Compiles the scene of one walker, on request with a translucent copy.

    An arena replaces the floor. Pictures cannot be larger than the given sizes, pixels. `quick`, with
    jagged edges and coarse shadows, is about three times as fast on a CPU.
    """
    at_rest = mujoco.MjData(walker.model)
    _, reach = center_and_reach(walker.model, at_rest, walker.model.qpos0)
    square = round_length(reach / _SQUARES_PER_REACH)
    spec = _bare_spec(walker.config)
    if with_ghost:
        _add_ghost(spec, walker.config)
    if walker.config.source == RODENT_SOURCE:
        fur = spec.add_material(name="fur", rgba=_FUR_RGBA, specular=0.15, shininess=0.2)
        _add_rodent_skins(spec, walker.config.rescale_factor, with_ghost, fur.name)
    _add_ground(spec, walker.floor_height, square, arena)
    _add_light(spec)
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = max_width, max_height
    visual.global_.fovy = FOV_DEG
    visual.quality.offsamples = 0 if quick else 4
    visual.quality.shadowsize = 1024 if quick else 4096
    visual.map.znear, visual.map.zfar, visual.map.shadowclip = 0.02, 50.0, 1.6
    spec.stat.extent, spec.stat.center = 2.0 * reach, (0.0, 0.0, 0.0)
    model = spec.compile()
    nq = walker.nq
    if model.nq != nq * (1 + with_ghost):
        raise ValueError(f"{model.nq=} of the scene, expected {nq} for each of {1 + with_ghost}")
    height, is_flat = walker.floor_height, arena is None
    return Scene(model, walker.layout, with_ghost, reach, square, height, is_flat)


def center_and_reach(
    model: mujoco.MjModel, data: mujoco.MjData, qpos: np.ndarray
) -> tuple[np.ndarray, float]:
    """Puts the first walker into a pose [nq]; returns its centre of mass [3] and its reach, m."""
    data.qpos[: len(qpos)] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    # one body, or limbs that hang on the world one by one
    joints = model.jnt_qposadr < len(qpos)
    roots = np.unique(model.body_rootid[model.jnt_bodyid[joints]])
    own = np.isin(model.body_rootid[model.geom_bodyid], roots)
    center = np.average(data.subtree_com[roots], axis=0, weights=model.body_subtreemass[roots])
    away = np.linalg.norm(data.geom_xpos[own] - center, axis=-1)
    return center, float(np.max(away + model.geom_rbound[own], initial=1e-3))


def top_body(model: mujoco.MjModel) -> int:
    """Returns the child of the world whose subtree holds the first joint."""
    return int(model.body_rootid[model.jnt_bodyid[0]])


def round_length(length: float) -> float:
    """Rounds a length to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(length))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda x: abs(x - length))


def _bare_spec(config: WalkerConfig) -> mujoco.MjSpec:
    """Returns the walker's specification without floor, lights, cameras and collisions."""
    is_rodent = config.source == RODENT_SOURCE
    spec = body_spec(config)
    spec_edits.scale_walker(spec, config.rescale_factor)
    planes = [geom for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]
    sky = [t for t in spec.textures if t.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX]
    for unused in [*planes, *sky, *spec.lights, *spec.cameras, *spec.keys]:
        spec.delete(unused)
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
        if is_rodent:  # the skin replaces them
            geom.group = HIDDEN_GROUP
    return spec


def _add_ghost(spec: mujoco.MjSpec, config: WalkerConfig) -> None:
    ghost = _bare_spec(config)
    for coloured in [*ghost.geoms, *ghost.skins]:
        coloured.material, coloured.rgba = "", GHOST_RGBA
        if coloured.group < GHOST_GROUP:
            coloured.group = GHOST_GROUP
    spec.attach(ghost, prefix=GHOST_PREFIX, frame=spec.worldbody.add_frame())


def _add_rodent_skins(spec: mujoco.MjSpec, scale: float, with_ghost: bool, material: str) -> None:
    """Gives the rodent and its ghost dm_control's skin, at the scale of their bodies."""
    source = mujoco.MjSpec.from_file(str(rodent.rodent_xml_path())).compile()
    first, count = source.skin_bonevertadr, source.skin_bonevertnum
    bones = [slice(a, a + n) for a, n in zip(first, count, strict=True)]
    bodies = [source.body(body).name for body in source.skin_bonebodyid]
    for prefix in ("", GHOST_PREFIX) if with_ghost else ("",):
        skin = spec.add_skin(name=f"{prefix}skin")
        skin.vert = (source.skin_vert * scale).ravel().tolist()
        skin.face = source.skin_face.ravel().tolist()
        skin.bodyname = [prefix + body for body in bodies]
        skin.bindpos = (source.skin_bonebindpos * scale).ravel().tolist()
        skin.bindquat = source.skin_bonebindquat.ravel().tolist()
        skin.vertid = [source.skin_bonevertid[bone].tolist() for bone in bones]
        skin.vertweight = [source.skin_bonevertweight[bone].tolist() for bone in bones]
        if prefix:
            skin.rgba, skin.group = GHOST_RGBA, GHOST_GROUP
        else:
            skin.material = material


def _add_ground(spec: mujoco.MjSpec, height: float, square: float, arena: Arena | None) -> None:
    texture = spec.add_texture(
        name="scene_squares",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=_FLOOR_RGB[0],
        rgb2=_FLOOR_RGB[1],
        width=256,
        height=256,
    )
    # The texture has 2 x 2 squares, and MuJoCo repeats it `texrepeat` times over two units.
    material = spec.add_material(
        name=FLOOR_NAME, texuniform=True, texrepeat=(1 / square, 1 / square), specular=0.0
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture.name
    look = {"material": material.name, "rgba": MATERIAL_RGBA, "group": 0}
    add_geom = partial(spec.worldbody.add_geom, **look, contype=0, conaffinity=0)
    if arena is not None:
        arena.build(spec, add_geom, height)
        return
    endless, plane = (0.0, 0.0, 1.0), mujoco.mjtGeom.mjGEOM_PLANE
    add_geom(name=FLOOR_NAME, type=plane, size=endless, pos=(0.0, 0.0, height))


def _add_light(spec: mujoco.MjSpec) -> None:
    """Adds a sun with a shadow, a weak light from the other side, and a pale sky with haze."""
    black = (0.0, 0.0, 0.0)
    for name, direction, has_shadow, diffuse, specular in (
        ("scene_sun", (-0.3, 0.35, -1.0), True, (0.36, 0.36, 0.34), (0.1, 0.1, 0.1)),
        ("scene_fill", (0.4, 0.6, -0.35), False, (0.22, 0.23, 0.24), black),
    ):
        spec.worldbody.add_light(
            name=name,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            dir=direction,
            castshadow=has_shadow,
            diffuse=diffuse,
            ambient=black,
            specular=specular,
        )
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = (0.48,) * 3, (0.14,) * 3, black
    spec.visual.map.haze = 0.5
    spec.visual.rgba.haze = _HAZE_RGBA
    spec.add_texture(
        name="scene_sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=_SKY_RGB[0],
        rgb2=_SKY_RGB[1],
        width=128,
        height=768,
    )
