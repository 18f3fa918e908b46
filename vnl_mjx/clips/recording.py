"""A recording as its file has it: poses of one body, read lazily, before any conditioning.

`sources.open_recording` makes one from any file that the package reads.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

ROOT_COLUMNS = 7  # root position 3, root quaternion 4


class FrameArray(Protocol):
    """What is sliced along its first axis, the frames: an ndarray, a memmap, an HDF5 dataset."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames first."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of the arrays that slices give."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, frames: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class LazyFrames:
    """Frames that are read, and put in shape, only as they are sliced.

    Attributes:
        shape: of all frames.
        dtype: of what `read` gives.
        read: from a first frame and the one after the last to the array of those frames.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int], np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: int | slice) -> np.ndarray:
        if isinstance(frames, slice):
            rows = range(*frames.indices(len(self)))
            if not rows:
                return np.empty((0, *self.shape[1:]), self.dtype)
            first, last = min(rows[0], rows[-1]), max(rows[0], rows[-1])
            values = self.read(first, last + 1)[:: abs(rows.step)]
            return values if rows.step > 0 else values[::-1]
        frame = int(frames)
        frame += len(self) if frame < 0 else 0
        if not 0 <= frame < len(self):
            raise IndexError(f"frame {frames} of {len(self)}")
        return self.read(frame, frame + 1)[0]


@dataclass(frozen=True)
class Recording:
    """Poses of one body over time, as one file holds them; a context manager that closes the file.

    Arrays are `FrameArray`: they are sliced, never loaded whole by who reads them, and are valid
    until `close`.

    Attributes:
        path: as the user gave it, for messages.
        qpos: [frame, column] of numbers, in the file's own joint order. With a root the columns are
            root position (metres, world), root quaternion (w x y z), joints (radians); without one
            they are joints only.
        rate_hz: frames per second; None where the file does not say.
        usual_rate_hz: what files of this kind are at where they do not say; None: there is no telling.
        take_lengths: int [take]; frames that belong together without a break, in file order; their
            sum is the number of frames.
        take_names: one per take.
        joint_names: of the joint columns (without a root: of every column); None where the file
            does not say.
        keypoints: [frame, keypoint, 3], recorded marker positions in the world, metres.
        keypoint_names: one per keypoint.
        keypoint_bodies: body that each keypoint's marker sits on; () where the file does not say.
        keypoint_offsets: [keypoint, 3], each marker in that body's frame, metres.
        marker_sites: [frame, keypoint, 3], fitted marker positions in the world, metres.
        scale: of the model that it was fitted with, where the file says.
        notes: what was assumed, for tables.
        made_by: None for recorded motion; else how the motion was made (synthetic).
        close: closes the file; may be called more than once.
        layout: kind of file, for tables.
        has_root: False for a body that is fixed to the world, so that no root columns stand in
            qpos.
        body_names: of the rows of stored_xpos and stored_xquat, where the file says.
        stored_xpos: [frame, body, 3], body positions that the file holds, metres, world.
        stored_xquat: [frame, body, 4], body orientations that the file holds, w x y z, world.
        stored_qvel: [frame, nv], velocities that the file holds, as MuJoCo's qvel.
    """

    path: str
    qpos: FrameArray
    rate_hz: float | None
    take_lengths: np.ndarray
    take_names: tuple[str, ...]
    joint_names: tuple[str, ...] | None
    keypoints: FrameArray | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoint_bodies: tuple[str, ...] = ()
    keypoint_offsets: np.ndarray | None = None
    marker_sites: FrameArray | None = None
    scale: float | None = None
    notes: tuple[str, ...] = ()
    made_by: str | None = None
    close: Callable[[], None] = lambda: None
    layout: str = ""
    usual_rate_hz: float | None = None
    has_root: bool = True
    body_names: tuple[str, ...] | None = None
    stored_xpos: FrameArray | None = None
    stored_xquat: FrameArray | None = None
    stored_qvel: FrameArray | None = None

    @property
    def num_frames(self) -> int:
        """Frames of all takes."""
        return self.qpos.shape[0]

    @property
    def num_joints(self) -> int:
        """Columns of qpos after the root's."""
        return self.qpos.shape[1] - (ROOT_COLUMNS if self.has_root else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
