"""The walker that a command's configuration describes."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from vnl_mjx.clips.hdf5 import stored_metadata
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import RODENT_SOURCE, WalkerConfig
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.config.walker import is_body_file, read_body
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker, build_walker


def walker_config(section: BodySection) -> WalkerConfig:
    """As the section says; what is tracked is the rodent's, or of another body nothing.

    Where `mjcf_path` is a body's YAML file, that says what the section leaves at its default.
    """
    if section.mjcf_path and is_body_file(section.mjcf_path):
        default = BodySection()
        names = [f.name for f in fields(section) if f.name != "mjcf_path"]
        given = {n: getattr(section, n) for n in names}
        given = {n: value for n, value in given.items() if value != getattr(default, n)}
        return replace(read_body(section.mjcf_path), **given, torque_actuators=False)
    rodent = WalkerConfig(torque_actuators=False)
    own_body = section.mjcf_path is not None
    default_scale = 1.0 if own_body else rodent.rescale_factor
    return WalkerConfig(
        source=section.mjcf_path or RODENT_SOURCE,
        root_body=section.root_body,
        joint_names=() if own_body else rodent.joint_names,
        body_names=() if own_body else rodent.body_names,
        end_effector_names=section.end_effector_names
        or (() if own_body else rodent.end_effector_names),
        torque_actuators=False,
        rescale_factor=section.rescale_factor or default_scale,
        appendage_names=section.appendage_names,
        foot_names=section.foot_names,
        rescaling=section.rescaling,
    )


def build_body(section: BodySection) -> Walker:
    """The walker; raises UserError where it cannot be built."""
    return build_walker(walker_config(section))


def body_of_file(
    path: Path, mjcf: str | None = None, scale: float | None = None, root_body: str | None = None
) -> Walker:
    """The walker that a clip file was made for, with what the user gives instead.

    Args:
        path: of any clip file; one that does not tell is of the rodent at 0.9.
        mjcf: MJCF file of another body.
        scale: uniform scale of the body.
        root_body: body of the egocentric frame.

    Raises:
        UserError: the body's MJCF is needed, or it cannot be built.
    """
    section = BodySection()
    if path.is_file() and (stored := _stored_section(stored_metadata(path))):
        section = from_dict(BodySection, stored, f"{path}: ")
        if section.mjcf_path and mjcf is None:
            raise UserError(
                f"{path}: its body was built from {section.mjcf_path!r}; give that file with --mjcf"
            )
    given = {"mjcf_path": mjcf, "rescale_factor": scale, "root_body": root_body}
    return build_body(replace(section, **{k: v for k, v in given.items() if v is not None}))


def _stored_section(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """The body's section of the configuration that a file, or the first it came from, records."""
    while metadata:
        if "options" in metadata:
            return metadata["options"].get("walker_config")
        metadata = next(iter(metadata.get("history", ())), {})
    return None
