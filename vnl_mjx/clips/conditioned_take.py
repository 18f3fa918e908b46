"""One take of a recording, conditioned block by block: any length, memory of a block."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.conditioning.gaps import fill_gaps
from vnl_mjx.clips.conditioning.resampling import (
    input_rows,
    num_resampled,
    resample_block,
    resample_flags,
)
from vnl_mjx.clips.conditioning.smoothing import (
    limit_velocity,
    smooth,
    smooth_poses,
    window_frames,
)
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.velocities import difference_qvel, neighbours, seconds_between
from vnl_mjx.config.preprocessing import PreprocessConfig, VelocitySection
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import unit_quaternions
from vnl_mjx.walkers.layout import Layout

# A file whose quaternions are mostly this far from unit has other columns there.
_MAX_NORM_ERROR = 0.05


@dataclass(frozen=True)
class Block:
    """Conditioned frames of a take.

    Attributes:
        start: output frame of the take that the first one is.
        features: of `ReferenceFrames` by name, float32 [frame, ...].
        filled: bool [frame], interpolated over a gap.
        clamped: int [frame], joint velocities that were beyond the limit.
    """

    start: int
    features: dict[str, np.ndarray]
    filled: np.ndarray
    clamped: np.ndarray

    def part(self, start: int, stop: int) -> "Block":
        """Output frames `start` to `stop` of the take."""
        rows = slice(start - self.start, stop - self.start)
        features = {name: values[rows] for name, values in self.features.items()}
        return Block(start, features, self.filled[rows], self.clamped[rows])


class ConditionedTake:
    """A take at the output rate.

    Attributes:
        name: as the recording has it.
        made_by: how the motion was made; None where an animal was recorded.
        first: row of the recording that its first frame is.
        num_in: frames as recorded.
        num_out: frames at the output rate.
        rate_in: frames per second as recorded.
        rate_out: frames per second of the clips.
        missing: bool [num_in], not a pose and not filled.
        filled: bool [num_in], interpolated over a gap.
        valid: bool [num_out].
        num_normalised: quaternions that were not unit.
    """

    def __init__(
        self,
        recording: Recording,
        name: str,
        rows: slice,
        order: np.ndarray | None,
        rate_in: float,
        options: PreprocessConfig,
        layout: Layout,
    ):
        """Looks through the take for frames that are not poses.

        Args:
            recording: that the take is of.
            name: of the take.
            rows: of the recording.
            order: columns of the file's joints in the walker's order; None: they are in it.
            rate_in: frames per second.
            options: what is filled, smoothed and resampled, and how much is read at a time.
            layout: of the walker, which the recording fits.

        Raises:
            UserError: the quaternions are not unit.
        """
        self._recording, self._order, self._options = recording, order, options
        self._layout = layout
        self.made_by = recording.made_by
        self.name, self.first, self.num_in = name, rows.start, rows.stop - rows.start
        self.rate_in = rate_in
        self.rate_out = options.resampling_config.rate_hz or rate_in
        self.num_out = num_resampled(self.num_in, rate_in, self.rate_out)
        self._max_gap = round(options.conditioning_config.max_gap_s * rate_in)
        self.missing = np.empty(self.num_in, bool)
        self.filled = np.empty(self.num_in, bool)
        self.num_normalised = 0
        self._signs = np.ones(self.num_in, np.int8)
        self._last_quaternion = np.zeros(4)
        step = options.output_config.block_frames
        for start in range(0, self.num_in, step):
            self._look_through(start, min(start + step, self.num_in))
        self.valid = ~resample_flags(self.missing, rate_in, self.rate_out)

    def block(self, start: int, stop: int, computer: FeatureComputer, shift_m: float) -> Block:
        """Conditioned output frames; what they are does not depend on how a take is cut.

        Args:
            start: first frame.
            stop: one after the last frame, in the same valid stretch.
            computer: of the walker.
            shift_m: added to z.
        """
        velocity = self._options.velocity_config
        window = velocity.smoothing_window_s
        margin = 1 + (window_frames(window, self.rate_out) if window else 0)
        stretch = self._stretch(start)
        first, last = max(start - margin, stretch[0]), min(stop + margin, stretch[1])
        qpos, filled = self.poses(first, last)
        if root := self._layout.root:
            qpos[:, root.position][:, 2] += shift_m
        qvel, clamped = take_velocities(qpos, self._layout, self.rate_out, velocity)
        features = computer(qpos, [len(qpos)], self.rate_out, qvel)
        return Block(first, features, filled, clamped).part(start, stop)

    def poses(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Conditioned poses [frame, nq] of output frames, and which were filled.

        A frame outside a valid stretch is NaN.
        """
        window = self._options.conditioning_config.smoothing_window_s
        margin = window_frames(window, self.rate_out) if window else 0
        first, last = max(start - margin, 0), min(stop + margin, self.num_out)
        rows = input_rows(first, last - first, self.num_in, self.rate_in, self.rate_out)
        rows = slice(max(rows.start - self._max_gap, 0), rows.stop + self._max_gap)
        gaps = fill_gaps(self._read(rows), self._layout, self._max_gap)
        grid = {"first_in": rows.start, "first_out": first, "num_out": last - first}
        kind = self._options.resampling_config.interpolation
        rates = self.rate_in, self.rate_out
        out = resample_block(gaps.qpos, self._layout, *rates, interpolation=kind, **grid)
        filled = resample_flags(gaps.filled, self.rate_in, self.rate_out, **grid)
        if window:
            stretch = self._stretch(start)
            inside = slice(max(stretch[0] - first, 0), min(stretch[1], last) - first)
            length = [inside.stop - inside.start]
            out[inside] = smooth_poses(out[inside], self._layout, length, window, self.rate_out)
        own = slice(start - first, stop - first)
        return out[own], filled[own]

    def keypoints(self, start: int, stop: int) -> np.ndarray | None:
        """Recorded keypoints at output frames, [frame, keypoint, 3] metres, None without any."""
        if self._recording.keypoints is None:
            return None
        place = np.arange(start, stop) * (self.rate_in / self.rate_out)
        nearest = np.minimum(np.rint(place).astype(int), self.num_in - 1)
        low, high = int(nearest[0]), int(nearest[-1]) + 1
        stored = np.asarray(self._recording.keypoints[self.first + low : self.first + high])
        values = stored[nearest - low].astype(np.float64)
        values[np.abs(place - nearest) > 1e-6] = np.nan  # between two recorded frames
        return values

    def _look_through(self, start: int, stop: int) -> None:
        margin = self._max_gap + 1
        first = max(start - margin, 0)
        raw = self._raw(slice(first, min(stop + margin, self.num_in)))
        own = slice(start - first, stop - first)
        if root := self._layout.root:
            quaternion = raw[:, root.quaternion]
            self._check_unit(quaternion[own])
            unit, off = unit_quaternions(quaternion)
            self.num_normalised += off
            raw[:, root.quaternion] = unit
            self._follow_signs(start, unit[own])
        gaps = fill_gaps(raw, self._layout, self._max_gap)
        self.missing[start:stop], self.filled[start:stop] = gaps.missing[own], gaps.filled[own]

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

    def _follow_signs(self, start: int, unit: np.ndarray) -> None:
        """Signs that make the quaternions of a block continue those before, NaN stepped over."""
        good = np.flatnonzero(np.isfinite(unit).all(axis=1))
        if not good.size:
            return
        series = np.vstack([self._last_quaternion, unit[good]])
        flips = np.where(np.sum(series[1:] * series[:-1], axis=1) < 0.0, -1, 1)
        signs = np.cumprod(flips)
        self._signs[start + good] = signs
        self._last_quaternion = signs[-1] * series[-1]

    def _raw(self, rows: slice) -> np.ndarray:
        """Rows of the take, float64, joints in the walker's order."""
        stored = self._recording.qpos[self.first + rows.start : self.first + rows.stop]
        qpos = np.array(stored, np.float64)
        if self._order is not None:
            joints = self._layout.joint_qpos
            qpos[:, joints] = qpos[:, joints][:, self._order]
        return qpos

    def _read(self, rows: slice) -> np.ndarray:
        rows = slice(rows.start, min(rows.stop, self.num_in))
        qpos = self._raw(rows)
        if root := self._layout.root:
            unit, _ = unit_quaternions(qpos[:, root.quaternion])
            qpos[:, root.quaternion] = unit * self._signs[rows, None]
        return qpos

    def _stretch(self, frame: int) -> tuple[int, int]:
        """The valid output frames around one, (start, stop)."""
        gaps = np.flatnonzero(~self.valid)
        after = int(np.searchsorted(gaps, frame))
        start = int(gaps[after - 1]) + 1 if after else 0
        return start, int(gaps[after]) if after < len(gaps) else self.num_out


def take_velocities(
    qpos: np.ndarray, layout: Layout, rate_hz: float, options: VelocitySection
) -> tuple[np.ndarray, np.ndarray]:
    """Velocities [frame, nv] of one stretch, as qvel, and the number of clamped joint velocities [frame]."""
    lengths = np.array([len(qpos)])
    before, after = neighbours(lengths)
    if options.difference == "forward" and len(qpos) > 1:
        before = np.minimum(np.arange(len(qpos)), len(qpos) - 2)
        after = before + 1
    seconds = seconds_between(before, after, rate_hz)
    qvel = difference_qvel(qpos[before], qpos[after], layout, seconds)
    if options.smoothing_window_s:
        qvel = smooth(qvel, lengths, options.smoothing_window_s, rate_hz)
    if options.max_qvel is None:
        return qvel, np.zeros(len(qvel), int)
    joints = layout.joint_qvel
    qvel[:, joints], clamped = limit_velocity(qvel[:, joints], options.max_qvel)
    return qvel, clamped
