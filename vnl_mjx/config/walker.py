"""Defines the configuration of a walker, and reads the files that describe bodies.

A body is a YAML file with the keys of `WalkerConfig`. `walkers/bodies` has the files of this package; users
keep theirs anywhere.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from vnl_mjx.config.conversion import from_dict
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.parsing import check_yaml

RODENT_SOURCE = "rodent"
PACKAGE_PREFIX = "package:"
_BODIES = files("vnl_mjx") / "walkers" / "bodies"
_SUFFIXES = (".yaml", ".yml")
_REQUIRED = ("source", "root_body", "joint_names", "body_names")
# Keys that a body's file may omit; `WalkerConfig` without a file defaults to the rodent.
_DEFAULTS: dict[str, Any] = {
    "end_effector_names": (),
    "torque_actuators": False,
    "rescale_factor": 1.0,
}


def _rodents(key: str, **bounds: float) -> Any:
    return field(default_factory=lambda: getattr(rodent_body(), key), metadata={"bounds": bounds})


@dataclass(frozen=True)
class WalkerConfig:
    """A walker: where its MJCF comes from, what is tracked on it, and how it is edited.

    Attributes:
        source: "rodent" for the one built from dm_control's XML, the name of another body of this package
            (`shipped_bodies`), the path of an MJCF file, the path of a body's YAML file (see `resolved`), or
            "package:" and a path inside an installed Python package.
        root_body: body whose height, orientation and frame the task reads.
        joint_names: joints whose angles the reference observation compares.
        body_names: bodies whose positions the reference observation compares.
        end_effector_names: bodies in the end-effector reward and in proprioception.
        torque_actuators: replace the actuators' affine bias by a pure gain (upper force limit).
        rescale_factor: uniform scale of the body tree (1 leaves the source as it is).
        appendage_names: bodies of the feature `appendages`; empty: the rodent's if the model has them, else
            the end effectors.
        foot_names: bodies that touch the floor, with their descendants; empty: as above.
        rescaling: what `rescale_factor` scales: "track_mjx" leaves joint positions as they are,
            "dm_control" scales those that the rodent's MJCF gives joint by joint, and no actuator,
            as track-mjx did before 2025-05-20 and the models of older STAC files do.
        actuator_groups: groups for tables, each a name and words that occur in its actuators' names; a
            mapping in a YAML file. Empty: the rodent's.
        mirror_pairs: pairs of joints or bodies that are left and right partners, if their names do not
            tell.
        tail: body that the tail hangs on, and the tail's last body; empty: the rodent's if the model has
            them.
        floor_height: z of the floor in the world, metres; null: that of the model's floor plane.
        angles: "radians" reads the file's angles as radians, whatever its `compiler` element says or leaves
            out, as dm_control's walkers need it.
        root_joint: "free" gives the root's topmost body a free joint, "fixed" takes it away.
        add_floor: add a plane at `floor_height` (null: 0), which touches every geom that can collide.
        contact_time_s: time constant of all contacts, s (MuJoCo's `solref`), with critical damping and an
            impedance of 0.99; null keeps the file's, which may be too stiff for the time step.
        servo_hz: null keeps the file's actuators. A number replaces them by position servos on the tracked
            joints, with this natural frequency (`walkers/servos.py`).
        servo_sag: angle, rad, by which a foot's share of the weight bends a servo of its leg. Below 1, joints
            get the armature that gives their servos the frequency `servo_hz`, and critical damping.
        servo_ranges: angles, rad or m, that controls of -1 and 1 ask for, by joint; of other joints, the ends
            of their ranges.
        normalize_controls: let every control run from -1 to 1 over the range that the file gives it.
        touch_sensors: keep those of the rodent's palms and soles, which track-mjx deletes and
            vnl-playground does not.
        markers: places of key points on the body, for `vnl-mjx fit`: by body, then by the point's name, x, y
            and z in its frame, metres after `rescale_factor`; empty: the rodent's if the model has them.
        task: settings of the imitation task (`ImitationConfig`) that suit the body, from its YAML file. They
            replace defaults when a teacher is trained.
    """

    source: str = RODENT_SOURCE
    root_body: str = _rodents("root_body")
    joint_names: tuple[str, ...] = _rodents("joint_names")
    body_names: tuple[str, ...] = _rodents("body_names")
    end_effector_names: tuple[str, ...] = _rodents("end_effector_names")
    torque_actuators: bool = _rodents("torque_actuators")
    rescale_factor: float = _rodents("rescale_factor", gt=0)
    appendage_names: tuple[str, ...] = ()
    foot_names: tuple[str, ...] = ()
    rescaling: Literal["track_mjx", "dm_control"] = "track_mjx"
    actuator_groups: tuple[tuple[str, ...], ...] = ()
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    tail: tuple[str, ...] = ()
    floor_height: float | None = None
    angles: Literal["as_in_file", "radians"] = "as_in_file"
    root_joint: Literal["as_in_file", "free", "fixed"] = "as_in_file"
    add_floor: bool = False
    contact_time_s: float | None = field(default=None, metadata={"bounds": {"gt": 0}})
    servo_hz: float | None = field(default=None, metadata={"bounds": {"gt": 0}})
    servo_sag: float = field(default=1.0, metadata={"bounds": {"gt": 0, "le": 1}})
    servo_ranges: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    normalize_controls: bool = False
    touch_sensors: bool = False
    markers: dict[str, dict[str, tuple[float, float, float]]] = field(
        default_factory=dict, hash=False
    )
    task: dict[str, Any] = field(default_factory=dict, hash=False)


@cache
def rodent_body() -> WalkerConfig:
    """Returns the rodent as its file in this package describes it."""
    return read_body(str(_BODIES / "rodent.yaml"))


def shipped_bodies() -> tuple[str, ...]:
    """Returns the names of the bodies of this package."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _BODIES.iterdir()))


def read_body(path: str | Path) -> WalkerConfig:
    """Reads a body's YAML file.

    Args:
        path: of the file; paths in it are relative to its folder.

    Raises:
        UserError: the file is missing or no YAML, has an unknown key or lacks a required one.
    """
    return body_of_keys(_read(Path(path)), path)


def body_of_keys(given: Mapping[str, Any], path: str | Path) -> WalkerConfig:
    """Returns the body of a YAML file's keys; its MJCF is relative to the folder of `path`."""
    keys, source = _DEFAULTS | dict(given), str(given["source"])
    if source != RODENT_SOURCE:
        keys["source"] = str(Path(path).resolve().parent / package_path(source))
    return from_dict(WalkerConfig, keys, f"{path}: ")


def is_body_file(source: str) -> bool:
    """Returns whether `source` is the path of a body's YAML file, and not of an MJCF file."""
    return source.endswith(_SUFFIXES)


def package_path(source: str) -> str:
    """Returns the path of what a user names: a body of this package, "package:NAME/PATH", or a path as it is.

    Raises:
        UserError: the package is not installed, or has no such file.
    """
    if source != RODENT_SOURCE and source in shipped_bodies():
        return str(_BODIES / f"{source}.yaml")
    if not source.startswith(PACKAGE_PREFIX):
        return source
    name, _, place = source.removeprefix(PACKAGE_PREFIX).partition("/")
    package = importlib.util.find_spec(name) if name.isidentifier() else None
    folders = [Path(folder) for folder in (package and package.submodule_search_locations) or ()]
    found = next((folder / place for folder in folders if (folder / place).is_file()), None)
    if found is None:
        what = f"no file {place!r} in it" if folders else "no such package"
        raise UserError(
            f"walker.source: expected {PACKAGE_PREFIX}NAME/PATH of an installed package, found {source!r}, "
            f"{what}; " + (f"check the path under {folders[0]}" if folders else f"install {name}")
        )
    return str(found)


def resolved(config: WalkerConfig) -> WalkerConfig:
    """Returns `config` completed from its body's YAML file, if `source` is such a file.

    `source` is then the file's MJCF. A key that differs from the default of `WalkerConfig` was given
    on purpose and stays; so does `torque_actuators` where the file does not mention it.

    Raises:
        UserError: as `read_body`.
    """
    source = package_path(config.source)
    if not is_body_file(source):
        return replace(config, source=source)
    body, default = read_body(source), WalkerConfig()
    kept = {
        key.name
        for key in fields(config)
        if getattr(config, key.name) != getattr(default, key.name)
    }
    if "torque_actuators" not in _read(Path(source)):
        kept.add("torque_actuators")
    return replace(body, **{name: getattr(config, name) for name in kept - {"source"}})


def _read(path: Path) -> dict[str, Any]:
    """Reads the keys of a body's file as in YAML; actuator groups become lists."""
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        if "${" in text:  # OmegaConf would fill in variables of the environment
            raise UserError(
                f"{path}: expected plain values, found the placeholder ${{; write the value"
            )
        given = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a body's YAML file ({first_line(error)})") from error
    except (yaml.YAMLError, ValueError) as error:  # of numbers and dates, too
        raise UserError(f"{path}: expected YAML, found a mistake: {first_line(error)}") from error
    if not isinstance(given, Mapping):
        raise UserError(f"{path}: expected keys of a body, found {type(given).__name__}")
    missing = [key for key in _REQUIRED if key not in given]
    if missing:
        raise UserError(f"{path}: expected the key {missing[0]}; a body's file needs it")
    groups = given.get("actuator_groups")
    if isinstance(groups, Mapping):
        given = {
            **given,
            "actuator_groups": [
                [name, *words] if isinstance(words, list) else words
                for name, words in groups.items()
            ],
        }
    return dict(given)
