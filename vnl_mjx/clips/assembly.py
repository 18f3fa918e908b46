"""Turns a recording into `ReferenceClips` of a walker: checks, reorders and completes it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vnl_mjx.clips.columns import (
    LARGEST,
    POSE,
    VELOCITY,
    finite_difference_qvel,
    is_usable,
    split_qpos,
    split_qvel,
)
from vnl_mjx.clips.container import (
    FEATURES,
    ReferenceClips,
    checked_indices,
    clip_starts,
    content_sha256,
)
from vnl_mjx.clips.features import FeatureComputer, root_features
from vnl_mjx.clips.recording import FrameArray, Recording, match_joints, reorder
from vnl_mjx.clips.recording_fit import SAMPLES, match_bodies
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import unit_quaternions
from vnl_mjx.walkers.walker import Walker

_DERIVED = ("end_effectors", "appendages", "contacts")
_MAX_VELOCITY_RATIO = 3.0  # STAC's known mistake is a factor of ten; smoothing is far below three
_MAX_POSE_DIFFERENCE_M = 0.005  # older STAC files differ by up to 2 mm


def assemble(
    recording: Recording,
    walker: Walker,
    takes: Sequence[int] | None = None,
    computer: FeatureComputer | None = None,
) -> ReferenceClips:
    """Returns the takes of an open recording as clips: checked, in the walker's order, complete.

    What the recording lacks is computed from its poses; `notes` of the result says which.

    Raises:
        UserError: the recording is damaged or of another body, or has no such take.
    """
    return _Assembly(recording, walker, takes, computer).clips()


class _Assembly:
    """Builds clips from the takes of a recording; arrays are float32 [frame, ...]."""

    def __init__(
        self,
        recording: Recording,
        walker: Walker,
        takes: Sequence[int] | None,
        computer: FeatureComputer | None,
    ):
        self.recording, self.walker, self.layout = recording, walker, walker.layout
        self.computer = computer or FeatureComputer(walker)
        every = range(len(recording.take_lengths))
        self.takes = checked_indices(recording.path, every if takes is None else takes, len(every))
        self.lengths = np.asarray(recording.take_lengths)[self.takes].astype(np.int32)
        self._rows = [slice(None)]
        if takes is not None:
            self._rows = [recording.take_rows[take] for take in self.takes]
        self.rate_hz = float(recording.rate_hz or recording.usual_rate_hz or np.nan)
        self.notes = list(recording.notes)
        if recording.rate_hz is None:
            self.notes.append(f"no frame rate in the file: {self.rate_hz:g} Hz assumed")

    def clips(self) -> ReferenceClips:
        recording, walker = self.recording, self.walker
        order, note = match_joints(recording, walker)
        self.notes += [note] if note else []
        qpos = self._read(recording.qpos)
        reorder(qpos, self.layout.joint_qpos, order)
        features = split_qpos(qpos, self.layout)
        self._check_finite(features)
        if self.layout.root:
            self._normalise(features, "quaternion")
        features |= self._stored() | self._velocities(qpos, order)
        features |= self._bodies(qpos, features)
        bodies = features["body_positions"], features["body_quaternions"]
        if not self.layout.free_root:
            features |= root_features(walker, *bodies)
        if any(name not in features for name in _DERIVED):
            features = self.computer.derived(*bodies, self.lengths, self.rate_hz) | features
        position, quaternion, joints = (features[name] for name in POSE)
        return ReferenceClips(
            **{name: np.ascontiguousarray(features[name], np.float32) for name in FEATURES},
            starts=clip_starts(self.lengths),
            lengths=self.lengths,
            names=tuple(recording.take_names[take] for take in self.takes),
            rate_hz=self.rate_hz,
            source=Path(recording.path).name,
            joint_names=walker.joint_names,
            body_names=walker.body_names,
            sha256=content_sha256(position, quaternion, joints, self.lengths),
            notes=tuple(self.notes),
            info=tuple(recording.info[take] for take in self.takes) if recording.info else (),
            free_root=self.layout.free_root,
        )

    def _read(self, array: FrameArray) -> np.ndarray:
        """Reads the frames of the chosen takes."""
        with np.errstate(over="ignore"):  # becomes infinity, which is reported with its place
            return np.concatenate([np.array(array[rows], np.float32) for rows in self._rows])

    def _stored(self) -> dict[str, np.ndarray]:
        """Reads further features of the file if their rows match the walker's."""
        recording, walker = self.recording, self.walker
        rows = {
            "end_effectors": walker.end_effectors,
            "appendages": walker.appendages,
            "contacts": walker.feet,
        }
        names = {name: tuple(walker.body_names[b] for b in ids) for name, ids in rows.items()}
        found = {}
        for name, array in recording.features.items():
            if name in names and recording.feature_rows.get(name) != names[name]:
                continue
            expected = (3,) if name not in rows else (len(rows[name]), 3)
            self._check_shape(name, array, expected[:1] if name == "contacts" else expected)
            found[name] = self._read(array)
        self._check_finite(found)
        return found

    def _velocities(self, qpos: np.ndarray, order: np.ndarray | None) -> dict[str, np.ndarray]:
        """Returns stored velocities, or finite differences if they are missing or implausible."""
        expected = finite_difference_qvel(qpos, self.layout, self.lengths, self.rate_hz)
        if self.recording.stored_qvel is None:
            self.notes.append("velocities by finite differences")
            return split_qvel(expected, self.layout)
        self._check_shape(VELOCITY[-1], self.recording.stored_qvel, (self.layout.nv,))
        stored = self._read(self.recording.stored_qvel)
        reorder(stored, self.layout.joint_qvel, order)
        features = split_qvel(stored, self.layout)
        self._check_finite(features)
        moving = np.repeat(self.lengths > 1, self.lengths)  # a single frame has no difference
        if not moving.any():
            return features
        # The median frame, so that a few jumps of the recording do not decide.
        typical, usual = (
            float(np.median(np.linalg.norm(qvel[moving], axis=-1))) for qvel in (stored, expected)
        )
        floor = 1e-4  # a recording of a still animal has no ratio
        ratio = max(typical, floor) / max(usual, floor)
        if 1.0 / _MAX_VELOCITY_RATIO <= ratio <= _MAX_VELOCITY_RATIO:
            return features
        found = f"velocities are {ratio:.3g} times the finite differences at {self.rate_hz:g} Hz"
        if self.recording.trust_velocities:
            self.notes.append(f"{found}: kept as stored")
            return features
        self.notes.append(f"{found}: recomputed")
        return split_qvel(expected, self.layout)

    def _bodies(self, qpos: np.ndarray, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns body poses and centre of mass in the walker's rows; computes what the file lacks."""
        recording, walker = self.recording, self.walker
        stored = {
            "body_positions": (recording.stored_xpos, 3),
            "body_quaternions": (recording.stored_xquat, 4),
        }
        given = {name: array for name, (array, _) in stored.items() if array is not None}
        ids, rows = [], []
        if given:
            num_rows = next(iter(given.values())).shape[1]
            for name, array in given.items():
                self._check_shape(name, array, (num_rows, stored[name][1]))
            ids, rows = match_bodies(recording, walker, num_rows)
        read = {name: self._read(array) for name, array in given.items()}
        self._check_finite(read)
        if "body_quaternions" in read:
            self._normalise(read, "body_quaternions")
        absent = np.setdiff1d(np.arange(len(walker.body_names)), ids)
        complete = len(given) == 2 and not len(absent) and "center_of_mass" in features
        step = max(len(qpos) // SAMPLES, 1) if complete else 1
        poses = self.computer.kinematics(qpos[::step])
        found = {}
        if not complete:
            found = {"body_positions": poses.positions, "body_quaternions": poses.quaternions}
            if "center_of_mass" not in features:
                found["center_of_mass"] = poses.center_of_mass
        if "body_positions" in read:
            self._compare_bodies(poses.positions[:, ids], read["body_positions"][::step, rows], ids)
        for name in stored:
            if name not in read:
                self.notes.append(f"{name} by forward kinematics")
            elif complete:
                found[name] = read[name][:, rows]
            else:
                found[name][:, ids] = read[name][:, rows]
        moving = int((walker.model.body_weldid[absent] != 0).sum())
        if given and moving:
            self.notes.append(f"{moving} bodies that the file lacks by forward kinematics")
        return found

    def _compare_bodies(self, expected: np.ndarray, given: np.ndarray, ids: list[int]) -> None:
        """Notes body positions that belong to another body, as after a different rescaling."""
        errors = np.linalg.norm(given - expected, axis=-1)
        if errors.max() > _MAX_POSE_DIFFERENCE_M:
            body = self.walker.body_names[ids[int(np.argmax(errors.max(axis=0)))]]
            self.notes.append(
                f"body_positions differ from the walker's forward kinematics by up to "
                f"{1000 * errors.max():.1f} mm ({body}): another model or scale (walker: "
                f"rescale_factor {self.walker.config.rescale_factor:g})?"
            )

    def _check_shape(self, name: str, array: FrameArray, expected: tuple[int, ...]) -> None:
        expected = (self.recording.num_frames, *expected)
        if array.shape != expected:
            raise UserError(
                f"{self.recording.path}: {self._dataset(name)!r} has shape {array.shape}, expected "
                f"{expected} for a walker with {self.layout.num_joints} joints"
            )

    def _check_finite(self, features: dict[str, np.ndarray]) -> None:
        """Raises UserError for what is not usable, with the first place."""
        for name, array in features.items():
            bad = ~is_usable(array.reshape(len(array), -1)).all(axis=1)
            if bad.any():
                raise UserError(
                    f"{self.recording.path}: {self._dataset(name)!r} holds NaN or infinity (or more "
                    f"than {LARGEST:g}) in {self._place(int(np.argmax(bad)))} ({int(bad.sum())} such "
                    "frames); "
                    "repair or leave out that stretch of the recording"
                )

    def _normalise(self, features: dict[str, np.ndarray], name: str) -> None:
        """Makes the quaternions of a feature unit, in place; UserError where one is nearly zero."""
        unit, off = unit_quaternions(features[name].astype(np.float64))
        if (near_zero := np.isnan(unit[..., 0])).any():
            norm = np.linalg.norm(features[name][near_zero][0])
            raise UserError(
                f"{self.recording.path}: {self._dataset(name)!r} holds a quaternion of norm "
                f"{norm:.2g} in {self._place(int(np.argwhere(near_zero)[0, 0]))}, expected unit "
                "quaternions (w x y z)"
            )
        if off:
            self.notes.append(f"{off} quaternions of {self._dataset(name)} normalised")
            features[name][...] = unit

    def _dataset(self, feature: str) -> str:
        return self.recording.datasets.get(feature, feature)

    def _place(self, row: int) -> str:
        starts = clip_starts(self.lengths)
        clip = int(np.searchsorted(starts, row, side="right")) - 1
        take = self.takes[clip]
        return f"clip {take} ({self.recording.take_names[take]!r}), frame {row - int(starts[clip])}"


def clips_from_poses(
    walker: Walker,
    qpos: np.ndarray,
    lengths: Sequence[int],
    rate_hz: float,
    *,
    names: Sequence[str] | None = None,
    source: str = "poses",
) -> ReferenceClips:
    """Builds clips from poses in memory; computes every other feature.

    `qpos` [frame, nq] is in the walker's order and holds the clips, of `lengths` [clip] frames, one after
    another. `names` are "clip_0", ... by default; `source` says where the poses are from.
    """
    frames = np.asarray(lengths, np.int32)
    if frames.size == 0 or frames.min() < 1 or frames.sum() != len(qpos):
        raise ValueError(f"{lengths=} must be at least 1 and sum to {len(qpos)=}")
    recording = Recording(
        path=source,
        layout="poses",
        qpos=np.asarray(qpos, np.float32),
        rate_hz=float(rate_hz),
        take_lengths=frames,
        take_names=tuple(names or (f"clip_{clip}" for clip in range(len(frames)))),
        joint_names=walker.joint_names,
        has_root=walker.layout.free_root,
    )
    return assemble(recording, walker).replace(source=source)
