"""Builds the walker that a command's configuration describes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vnl_mjx.clips.file import is_own_file
from vnl_mjx.clips.hdf5 import stored_body, stored_metadata
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import RODENT_SOURCE, WalkerConfig
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.config.walker import is_body_file, package_path, read_body
from vnl_mjx.errors import UserError
from vnl_mjx.files import matching
from vnl_mjx.walkers.walker import Walker, build_walker


def walker_config(section: BodySection) -> WalkerConfig:
    """Returns the walker's configuration; tracked joints and bodies are the rodent's, none for others.

    If `mjcf_path` is a body's YAML file, it gives what the section leaves at its default.
    """
    source = section.mjcf_path and package_path(section.mjcf_path)
    default = BodySection()
    given = {name: value for name, value in vars(section).items() if name != "mjcf_path"}
    if source and is_body_file(source):
        given = {name: v for name, v in given.items() if v != getattr(default, name)}
        return replace(read_body(source), **given)
    body = WalkerConfig(torque_actuators=False)
    if source is not None:
        nothing = {"joint_names": (), "body_names": (), "end_effector_names": ()}
        body = replace(body, source=source or RODENT_SOURCE, rescale_factor=1.0, **nothing)
    return replace(body, **{name: value for name, value in given.items() if value})


def build_body(section: BodySection) -> Walker:
    """Builds the walker; raises UserError if that fails."""
    return build_walker(walker_config(section))


def body_of_file(
    path: Path, mjcf: str | None = None, scale: float | None = None, root_body: str | None = None
) -> Walker:
    """Builds the walker that a clip file was made for, with the user's changes.

    A file without a record is of the rodent at scale 0.9. `scale` is uniform; `root_body` gives the
    egocentric frame.
    """
    section = BodySection()
    if path.is_file() and (stored := _stored_section(stored_metadata(path))):
        section = from_dict(BodySection, stored, f"{path}: ")
        if section.mjcf_path and mjcf is None:
            if (kept := stored_body(path)) is None:
                raise UserError(
                    f"{path}: its body was built from {section.mjcf_path!r}; give that file with --mjcf"
                )
            section = replace(section, mjcf_path=str(kept))
    given = {"mjcf_path": mjcf, "rescale_factor": scale, "root_body": root_body}
    return build_body(replace(section, **{k: v for k, v in given.items() if v is not None}))


def body_of_clips(paths: Sequence[str | Path]) -> str | None:
    """Returns the YAML file of the body that the first of some clip files holds; None if it holds none."""
    first = next(iter(matching(paths)), None)
    if first is None or not is_own_file(first):
        return None
    kept = stored_body(first)
    return str(kept) if kept and is_body_file(str(kept)) else None


def _stored_section(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the body's section of the configuration that a file, or its first source, records."""
    while metadata:
        if "options" in metadata:
            return metadata["options"].get("walker_config")
        metadata = next(iter(metadata.get("history", ())), {})
    return None
