"""Conditions one take of a recording: fills gaps, resamples to the clips' rate, smooths."""

import math
from collections.abc import Mapping

import numpy as np

from vnl_mjx.clips.body_size import steps_at
from vnl_mjx.clips.columns import difference_qvel, neighbours, seconds_between
from vnl_mjx.clips.conditioning.gaps import fill_gaps
from vnl_mjx.clips.conditioning.resampling import resample, resample_flags
from vnl_mjx.clips.conditioning.root_from_feet import RootFromFeet
from vnl_mjx.clips.conditioning.segments import Stretch, stretches
from vnl_mjx.clips.conditioning.smoothing import (
    limit_velocity,
    smooth,
    smooth_poses,
    window_frames,
)
from vnl_mjx.clips.jumps import jumps
from vnl_mjx.clips.quality import marker_errors
from vnl_mjx.clips.recording import Recording, reorder
from vnl_mjx.config.preprocessing import PreprocessConfig
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import continuous_signs, unit_quaternions
from vnl_mjx.walkers.walker import Walker

# If most quaternions are this far from unit, those columns hold something else.
_MAX_NORM_ERROR = 0.05


class ConditionedTake:
    """A take at the output rate.

    Attributes:
        name: the take's name in the recording.
        label: behaviour, where known.
        made_by: how synthetic motion was made; empty for a recorded animal.
        first: row of the recording that holds the first frame.
        num_in: frames as recorded.
        rate_in: frames per second as recorded.
        rate_out: frames per second of the clips.
        qpos: float64 [frame, nq]; a frame that is not valid is NaN.
        valid: bool [frame], a pose.
        filled: bool [frame], interpolated over a gap.
        jumps: for frames that are not valid because the body jumps there, the reason.
        num_normalised: quaternions that were not unit.
    """

    def __init__(
        self,
        recording: Recording,
        take: int,
        rows: slice,
        prefix: str,
        order: np.ndarray | None,
        rate_in: float,
        options: PreprocessConfig,
        walker: Walker,
    ):
        """Reads and conditions the `rows` of one `take`; raises UserError if quaternions are not unit.

        `prefix` goes before the take's name; `order` are the columns of the file's joints in the walker's
        order, None where they are in it.
        """
        layout = walker.layout
        self._recording, self._options, self._layout = recording, options, layout
        self.name = prefix + recording.take_names[take]
        self.first, self.num_in = rows.start, rows.stop - rows.start
        if recording.info:
            self.label, self.made_by = recording.info[take].label, recording.info[take].made_by
        else:
            self.made_by = recording.made_by or ""
            self.label = self.name if self.made_by else ""
        self.rate_in = rate_in
        self.rate_out = options.resampling_config.rate_hz or rate_in
        qpos = np.array(recording.qpos[rows], np.float64)
        reorder(qpos, layout.joint_qpos, order)
        self.num_normalised = 0
        if root := layout.root:
            self._check_unit(qpos[:, root.quaternion])
            unit, self.num_normalised = unit_quaternions(qpos[:, root.quaternion])
            qpos[:, root.quaternion] = continuous_signs(unit)
        max_gap = round(options.conditioning_config.max_gap_s * rate_in)
        qpos, filled, missing = fill_gaps(qpos, layout, max_gap)
        rates = rate_in, self.rate_out
        factor = steps_at(rate_in) / steps_at(self.rate_out)  # limits are of the clips' rate
        jumped = jumps(walker, qpos, options.quality_config, factor)
        qpos[list(jumped)] = np.nan
        missing[list(jumped)] = True
        self.valid = ~resample_flags(missing, *rates)
        self.filled = resample_flags(filled, *rates)
        kind = options.resampling_config.interpolation
        self.qpos = resample(qpos, layout, *rates, kind)
        # the next frame of the clips' rate, where no clip may go on even if the jump is between two
        places = {math.ceil(f * self.rate_out / rate_in - 1e-6): text for f, text in jumped.items()}
        self.jumps = {frame: text for frame, text in places.items() if frame < len(self.qpos)}
        self.valid[list(self.jumps)] = False
        self.qpos[list(self.jumps)] = np.nan
        if options.conditioning_config.root == "from_feet":
            estimated = RootFromFeet(walker, self.rate_out)
            for start, stop in stretches(self.valid):
                self.qpos[start:stop] = estimated(self.qpos[start:stop])
        if window := options.conditioning_config.smoothing_window_s:
            for start, stop in stretches(self.valid):
                poses, length = self.qpos[start:stop], [stop - start]
                poses[:] = smooth_poses(poses, layout, length, window, self.rate_out)

    def around(self, start: int, stop: int) -> slice:
        """Returns rows start ... stop - 1 and the valid neighbours that velocities need."""
        window = self._options.velocity_config.smoothing_window_s
        margin = 1 + (window_frames(window, self.rate_out) if window else 0)
        before = self.valid[max(start - margin, 0) : start][::-1]
        after = self.valid[stop : stop + margin]
        # as many as come before the first that is not valid
        first, last = (int(np.logical_and.accumulate(side).sum()) for side in (before, after))
        return slice(start - first, stop + last)

    def velocities(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns qvel [frame, nv] of frames without a gap, and the number of clamped velocities [frame]."""
        options, joints = self._options.velocity_config, self._layout.joint_qvel
        lengths = np.array([len(qpos)])
        before, after = neighbours(lengths)
        if options.difference == "forward" and len(qpos) > 1:
            before = np.minimum(np.arange(len(qpos)), len(qpos) - 2)
            after = before + 1
        seconds = seconds_between(before, after, self.rate_out)
        qvel = difference_qvel(qpos[before], qpos[after], self._layout, seconds)
        if window := options.smoothing_window_s:
            qvel = smooth(qvel, lengths, window, self.rate_out)
        clamped = np.zeros(len(qvel), int)
        if options.max_qvel is not None:
            qvel[:, joints], clamped = limit_velocity(qvel[:, joints], options.max_qvel)
        return qvel, clamped

    def marker_errors(
        self, walker: Walker, clip: Stretch, features: Mapping[str, np.ndarray], shift_m: float
    ) -> np.ndarray | None:
        """Returns distances [frame, marker] of recorded keypoints from their markers on a walker, metres.

        Returns None if the recording has no such keypoints; distances are NaN between two recorded frames.
        `shift_m` is how far the take was lifted, and `features` are those of the clip.
        """
        keypoints, offsets = self._recording.keypoints, self._recording.keypoint_offsets
        row_of = {name: row for row, name in enumerate(walker.body_names)}
        bodies = enumerate(self._recording.keypoint_bodies)
        known = [(marker, row_of[body]) for marker, body in bodies if body in row_of]
        if keypoints is None or offsets is None or not known:
            return None
        columns, rows = np.array(known).T
        place = np.arange(clip.start, clip.stop) * (self.rate_in / self.rate_out)
        nearest = np.minimum(np.rint(place).astype(int), self.num_in - 1)
        low, high = int(nearest[0]), int(nearest[-1]) + 1
        stored = np.asarray(keypoints[self.first + low : self.first + high])
        values = stored[nearest - low].astype(np.float64)
        values[np.abs(place - nearest) > 1e-6] = np.nan
        values[..., 2] += shift_m
        poses = features["body_positions"], features["body_quaternions"]
        offsets = np.asarray(offsets, np.float64)[columns]
        return marker_errors(values[:, columns], *poses, rows, offsets)

    def _check_unit(self, quaternion: np.ndarray) -> None:
        norms = np.linalg.norm(quaternion, axis=1)
        wrong = np.abs(norms - 1.0) > _MAX_NORM_ERROR
        good = np.isfinite(norms) & (norms > 1e-3)
        if (wrong & good).sum() > 0.5 * max(good.sum(), 1):
            raise UserError(
                f"{self._recording.path}: quaternions (columns 3 to 6 of qpos) of take "
                f"{self.name!r} have norm {np.median(norms[good]):.3g}, expected unit quaternions "
                "(w x y z); are the columns root position, root quaternion, joints?"
            )
