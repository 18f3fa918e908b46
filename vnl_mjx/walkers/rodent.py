"""Builds the rodent of track-mjx from the rodent.xml that dm_control ships.

The numbers below are the differences between track-mjx's `environment/walker/assets/rodent/rodent.xml` and
dm_control's `locomotion/walkers/assets/rodent.xml`.
"""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco

from vnl_mjx.errors import UserError

_XML_IN_DM_CONTROL = "locomotion/walkers/assets/rodent.xml"
_PAW_PREFIXES = ("foot_", "toe_", "hand_", "finger_")
_TOUCH_SENSORS = ("palm_L", "palm_R", "sole_L", "sole_R")
_FLOOR_POS = (0.0, 0.0, -0.005)
_BODY_GROUP, _BODY_RGBA = 2, (0.0, 0.6, 0.7, 1.0)
_SITE_RGBA = (0.5, 0.5, 0.5, 1.0)


def rodent_xml_path() -> Path:
    """Returns the rodent.xml of the installed dm_control, without importing dm_control.

    Raises:
        UserError: dm_control is not installed or has no such file.
    """
    package = importlib.util.find_spec("dm_control")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / _XML_IN_DM_CONTROL
        if path.is_file():
            return path
    raise UserError(
        f"walker.source: 'rodent' needs {_XML_IN_DM_CONTROL} of the package dm_control, found "
        f"none; install dm_control or give the path of an MJCF file"
    )


def rodent_spec(touch_sensors: bool = False) -> mujoco.MjSpec:
    """Returns track-mjx's rodent at full size, with the position actuators of its XML."""
    spec = mujoco.MjSpec.from_string(_rodent_xml())
    _set_options(spec)
    _add_floor(spec)
    for joint in spec.body("torso").find_all(mujoco.mjtObj.mjOBJ_JOINT):
        joint.solimp_limit[:3] = (0.9, 0.99, 0.003)
    for geom in spec.body("torso").find_all(mujoco.mjtObj.mjOBJ_GEOM):
        _edit_geom(geom)
    for site in spec.sites:
        site.rgba = _SITE_RGBA
        site.group = 0 if site.group == 3 else site.group
    deleted = () if touch_sensors else _TOUCH_SENSORS
    for unused in [*spec.skins, *(s for s in spec.sensors if s.name in deleted)]:
        spec.delete(unused)
    return spec


def placed_joints() -> frozenset[str]:
    """Returns the joints whose position is given in their own element, not in a default class.

    dm_control's `locomotion/walkers/rescale.py` moves only these, because it reads elements only.
    """
    joints = ElementTree.parse(rodent_xml_path()).getroot().iterfind("worldbody//joint[@pos]")
    return frozenset(joint.attrib["name"] for joint in joints)


def _rodent_xml() -> str:
    """Returns dm_control's XML with the torso inside a body "walker" and one more camera.

    This edits XML because a spec cannot move a body under another one: attaching copies it, and with an
    empty prefix MuJoCo warns in its log file. A spec also appends cameras, and this one must come first.
    """
    root = ElementTree.parse(rodent_xml_path()).getroot()
    world, torso = root.find("worldbody"), root.find("worldbody/body[@name='torso']")
    if world is None or torso is None:
        raise UserError(
            f"walker.source: expected a body 'torso' in dm_control's {_XML_IN_DM_CONTROL}, found "
            f"none; install dm_control 1.0.50 or later"
        )
    world.remove(torso)
    ElementTree.SubElement(world, "body", name="floor")
    walker = ElementTree.SubElement(world, "body", name="walker")
    ElementTree.SubElement(walker, "freejoint", name="root")
    walker.append(torso)
    camera = {"mode": "trackcom", "pos": "0.5 -0.5 0.5", "xyaxes": "1 1 0 -1 1 2"}
    torso.insert(0, ElementTree.Element("camera", {"name": "close_profile", **camera}))
    return ElementTree.tostring(root, encoding="unicode")


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.option.timestep = 0.002
    spec.option.solver = mujoco.mjtSolver.mjSOL_CG
    spec.option.iterations = 6
    spec.option.ls_iterations = 6
    spec.njmax = spec.nconmax = -1  # dm_control's fixed sizes only cost memory
    spec.visual.global_.offwidth = 3840
    spec.visual.global_.offheight = 2160
    spec.visual.global_.elevation = -20.0
    spec.visual.global_.azimuth = 120.0


def _add_floor(spec: mujoco.MjSpec) -> None:
    """Puts a plane on the body "floor", which touches the paws and nothing else."""
    texture = spec.add_texture(
        name="grid",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        width=512,
        height=512,
        rgb1=(0.1, 0.2, 0.3),
        rgb2=(0.2, 0.3, 0.4),
    )
    material = spec.add_material(
        name="grid", texrepeat=(1.0, 1.0), texuniform=True, reflectance=0.2
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture.name
    floor = spec.body("floor")
    floor.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=_FLOOR_POS,
        size=(10.0, 10.0, 0.005),
        contype=0,
        conaffinity=1,
        condim=3,
        friction=(0.7, 0.005, 0.0001),
        solref=(0.005, 1.0),
        material=material.name,
    )
    # MuJoCo 3.3 put the inertial frame of a body of planes at the planes; later ones at the body.
    floor.explicitinertial = True
    floor.ipos = _FLOOR_POS


def _edit_geom(geom: mujoco.MjsGeom) -> None:
    """Lets only paws collide, with the floor, and gives the lighter bodies their density."""
    is_paw = geom.name.startswith(_PAW_PREFIXES)
    geom.contype = int(is_paw)
    geom.conaffinity = 0
    geom.condim = 3
    if not is_paw and geom.density == 500.0:
        geom.density = 1000.0
    if geom.group == _BODY_GROUP:
        geom.rgba = _BODY_RGBA
