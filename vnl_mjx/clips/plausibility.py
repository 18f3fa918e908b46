"""Recognises poses that were read in other conventions than they were written in.

A body that lies on its side, a root that is 1000 body lengths high, joints far beyond their ranges: the
likely cause is found by reading a sample of the frames in the other conventions too.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args, get_type_hints

import mujoco
import numpy as np

from vnl_mjx.clips.body_size import body_length
from vnl_mjx.clips.columns import is_usable
from vnl_mjx.clips.feet import floor_heights
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.recording import ROOT_COLUMNS, Recording, reorder
from vnl_mjx.clips.sources.conventions import METRES, Conventions
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import conjugate, rotate, unit_quaternions
from vnl_mjx.walkers.walker import Walker

_SAMPLES = 200  # frames
_UPRIGHT = 0.5  # cosine: 60 degrees from the pose at qpos0; a rearing rat is beyond for a while
_MOSTLY = 0.8  # share of the frames in which a body is upright at least
_CLEARLY = 0.25  # difference of such shares that tells two conventions apart
_AS_GOOD = 0.02  # difference of such shares that does not
# the root's height over the floor, as a multiple of its height over the body's lowest point
_HEIGHTS = 0.2, 5.0  # of a body on its floor
_TOO_HIGH = 20.0
_BEYOND_RAD = 0.5  # beyond a joint's range; MuJoCo's soft limits yield by less
_MOST_BEYOND = 0.05  # share of the angles
_CHOICES = {name: get_args(kind) for name, kind in get_type_hints(Conventions).items()}


def check_conventions(
    recording: Recording, walker: Walker, order: np.ndarray | None, kinematics: Kinematics
) -> tuple[str, ...]:
    """Returns notes on what the poses confirm; does nothing for conventions that the user gave.

    Args:
        recording: as opened, in the conventions that were given or assumed.
        walker: its body.
        order: columns of the file's joints in the walker's order; None if they are in it already.
        kinematics: of the walker's model.

    Raises:
        UserError: the poses look wrong or fit two conventions; the message names the option.
    """
    step = max(recording.num_frames // _SAMPLES, 1)
    rows = np.arange(0, recording.num_frames, step)
    applied = Conventions(**dict(recording.conventions))
    qpos = np.array([recording.qpos[int(row)] for row in rows], np.float64)
    reorder(qpos, walker.layout.joint_qpos, order)
    good = is_usable(qpos).all(axis=1)
    joints = qpos[good][:, walker.layout.joint_qpos]
    problems = [*_angle_problems(recording, walker, joints, applied)]
    notes: list[str] = []
    stored = recording.as_stored
    if good.any() and walker.layout.root and recording.has_root and stored is not None:
        root = qpos[good, :ROOT_COLUMNS]
        if stored is not recording.qpos:
            root = np.array([stored[int(row)][:ROOT_COLUMNS] for row in rows[good]], np.float64)
        sample = _Sample(walker, kinematics, root, np.deg2rad(joints) if problems else joints)
        found, notes = _root_problems(recording, sample, applied)
        problems += found
    if problems and not _has_options(recording):
        return (*notes, *problems)
    if problems:
        raise UserError(f"{recording.path}: {'; '.join(problems)}")
    return tuple(notes)


def _has_options(recording: Recording) -> bool:
    """Returns whether the conventions of this kind of file can be chosen."""
    return recording.usual_rate_hz is None


@dataclass(frozen=True)
class _Sample:
    """Reads sampled poses in any conventions."""

    walker: Walker
    kinematics: Kinematics
    stored: np.ndarray  # [frame, 7], root poses as the file has them
    joints: np.ndarray  # [frame, joint], the walker's

    def upright(self, conventions: Conventions) -> float:
        """Returns the share of frames in which the body is as upright as at qpos0, within 60 degrees."""
        unit, _ = unit_quaternions(conventions.quaternions(self.stored[:, 3:]))
        up = np.array([0.0, 0.0, 1.0])
        rest = self.walker.model.qpos0[3:ROOT_COLUMNS]
        up_b = rotate(up, conjugate(rest / np.linalg.norm(rest)))
        cosines = rotate(np.broadcast_to(up_b, (len(unit), 3)), unit)[:, 2]
        cosines = cosines[np.isfinite(cosines)]
        return float(np.mean(cosines > _UPRIGHT)) if cosines.size else 1.0

    def height(self, conventions: Conventions) -> float:
        """Returns the root's median height over the floor, in multiples of that over the lowest point."""
        root = conventions.converted(self.stored, has_root=True)
        root[:, 3:] = unit_quaternions(root[:, 3:])[0]
        root = np.nan_to_num(root)
        poses = self.kinematics(np.concatenate([root, self.joints], axis=1))
        lowest = floor_heights(self.walker)(poses.positions, poses.quaternions).min(axis=1)
        height = root[:, 2] - self.walker.floor_height
        own = np.maximum(height - lowest, 0.02 * body_length(self.walker))
        return float(np.median(height / np.maximum(own, 1e-6)))


def _root_problems(
    recording: Recording, sample: _Sample, applied: Conventions
) -> tuple[list[str], list[str]]:
    """Returns problems of the root's orientation and height, and notes."""
    problems, notes = [], []
    open_names = {"quaternion_order", "up_axis"} - recording.settled
    share = sample.upright(applied)
    supposed = "quaternion_order" in open_names and "quaternion_order" in recording.supposed
    best = _better(sample, applied, open_names) if supposed or share < _MOSTLY else {}
    if best:
        options = " or ".join(_difference(applied, one) for one in best)
        given = (option for one in best for option in _difference(one, applied).split())
        kept = " ".join(dict.fromkeys(given))
        problems.append(
            f"the body lies on its side or upside down in {_percent(1 - share)} of the frames as "
            f"read; with {options} it is upright in {_percent(min(best.values()))}; give that, or "
            f"{kept} to keep it"
        )
    elif supposed:
        turned = replace(applied, quaternion_order=_other("quaternion_order", applied))
        other = sample.upright(turned)
        if share >= max(_MOSTLY, other + _CLEARLY):
            notes.append(
                f"quaternion_order={applied.quaternion_order} agrees with the poses: upright in "
                f"{_percent(share)} of the frames ({_percent(other)} with {turned.quaternion_order})"
            )
        else:
            problems.append(
                f"the order of the root's quaternions is not clear: the body is upright in {_percent(share)} "
                f"of the frames with source_config.quaternion_order={applied.quaternion_order} and in "
                f"{_percent(other)} with {turned.quaternion_order}; give one of them"
            )
    elif "quaternion_order" in open_names and _is_ambiguous(sample, applied):
        notes.append(
            f"the body is as upright with quaternion_order={_other('quaternion_order', applied)}, facing "
            "backwards"
        )
    elif share < 1.0 - _MOSTLY and _has_options(recording):
        notes.append(f"the body is upright in {_percent(share)} of the frames only")
    if not best and "length_unit" not in recording.settled:
        problems += _height_problems(sample, applied)
    return problems, notes


def _is_ambiguous(sample: _Sample, applied: Conventions) -> bool:
    """Returns whether the body is upright in either order of quaternions."""
    turned = replace(applied, quaternion_order=_other("quaternion_order", applied))
    return min(sample.upright(applied), sample.upright(turned)) >= _MOSTLY


def _better(sample: _Sample, applied: Conventions, names: set[str]) -> dict[Conventions, float]:
    """Returns conventions in which the body is upright clearly more often, with the share of frames."""
    least = max(_MOSTLY, sample.upright(applied) + _CLEARLY)
    shares = {one: sample.upright(one) for one in _variants(applied, names)}
    found = {one: share for one, share in shares.items() if share >= least}
    same_axis = {one: share for one, share in found.items() if one.up_axis == applied.up_axis}
    if any(_is_height(sample.height(one)) for one in same_axis):
        found = same_axis
    found = {
        one: s for one, s in found.items() if one in same_axis or _is_height(sample.height(one))
    }
    return {one: s for one, s in found.items() if s >= max(found.values()) - _AS_GOOD}


def _is_height(height: float) -> bool:
    """Returns whether a root may be so high, in any unit of length."""
    return any(_HEIGHTS[0] <= height * factor <= _HEIGHTS[1] for factor in METRES.values())


def _variants(applied: Conventions, names: set[str]) -> Iterator[Conventions]:
    """Yields all other conventions that differ in `names` only, those with fewer changes first."""
    usual = asdict(applied)
    choices = [_CHOICES[name] if name in names else (usual[name],) for name in usual]
    every = [Conventions(*values) for values in itertools.product(*choices)]
    yield from sorted((one for one in every if one != applied), key=lambda one: one.up_axis != "z")


def _height_problems(sample: _Sample, applied: Conventions) -> Iterator[str]:
    height = sample.height(applied)
    if height <= _TOO_HIGH:  # a body below its floor is cut by its quality
        return
    text = f"the root is {height:,.0f} times as high as the body stands, as read"
    unit = min(METRES, key=lambda unit: abs(np.log(height * METRES[unit])))
    if applied.length_unit == "m" and unit != "m" and height * METRES[unit] <= _HEIGHTS[1]:
        yield f"{text}; give source_config.length_unit={unit}, or m to keep it"
    else:
        yield f"{text}; give its unit (source_config.length_unit), or m to keep it"


def _angle_problems(
    recording: Recording, walker: Walker, joints: np.ndarray, applied: Conventions
) -> Iterator[str]:
    """Yields that the angles are degrees, if they are far beyond the joints' ranges as radians only."""
    model, own = walker.model, walker.layout.joint_ids
    hinges = model.jnt_type[own] == mujoco.mjtJoint.mjJNT_HINGE
    if applied.angle_unit == "degrees" and not hinges.all():
        name = walker.joint_names[int(np.argmin(hinges))]
        yield (
            f"source_config.angle_unit=degrees, but joint {name!r} slides; convert the others to "
            "radians first"
        )
    if "angle_unit" in recording.settled or not joints.size or not hinges.any():
        return
    share = _share_beyond(walker, joints, hinges)
    inside = _share_beyond(walker, np.deg2rad(joints), hinges)
    reach = np.abs(joints[:, hinges]).max()
    is_far = reach > 2 * np.pi or share > _MOSTLY
    if is_far and share > _MOST_BEYOND and inside < 0.25 * share:
        yield (
            f"the joints reach {reach:.3g} rad as read, and {_percent(share)} of "
            "the angles are far beyond their ranges; with source_config.angle_unit=degrees "
            f"{_percent(inside)} are; give that, or radians to keep them"
        )


def _share_beyond(walker: Walker, joints: np.ndarray, hinges: np.ndarray) -> float:
    """Returns the share of angles [frame, joint] of hinges far beyond their ranges, or 2 pi without one."""
    model, own = walker.model, walker.layout.joint_ids
    limited = model.jnt_limited[own] != 0
    turn = 2 * np.pi
    low = np.where(limited, model.jnt_range[own, 0], -turn) - _BEYOND_RAD
    high = np.where(limited, model.jnt_range[own, 1], turn) + _BEYOND_RAD
    return float(np.mean(((joints < low) | (joints > high))[:, hinges]))


def _other(name: str, conventions: Conventions) -> Any:
    return next(choice for choice in _CHOICES[name] if choice != getattr(conventions, name))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _difference(before: Conventions, after: Conventions) -> str:
    """Returns the options that lead from one convention to another, as typed."""
    old: Mapping[str, str] = asdict(before)
    changed = [f"source_config.{n}={v}" for n, v in asdict(after).items() if v != old[n]]
    return " ".join(changed)
