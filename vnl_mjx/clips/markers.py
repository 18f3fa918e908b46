"""Where the markers of a recording sit on a walker."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.quality import marker_errors
from vnl_mjx.clips.recording import Recording
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class Markers:
    """Markers of the keypoints that a recording and a walker share.

    Attributes:
        columns: int [marker], which of the recording's keypoints.
        bodies: int [marker], body ids of the walker.
        offsets: [marker, 3] in the bodies' frames, metres.
    """

    columns: np.ndarray
    bodies: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, recording: Recording, walker: Walker) -> "Markers | None":
        """The markers that can be placed on the walker; None where there is none."""
        offsets = recording.keypoint_offsets
        if recording.keypoints is None or offsets is None:
            return None
        row_of = {name: row for row, name in enumerate(walker.body_names)}
        known = [(k, row_of[b]) for k, b in enumerate(recording.keypoint_bodies) if b in row_of]
        if not known:
            return None
        columns, bodies = (np.array(column) for column in zip(*known, strict=True))
        return cls(columns, bodies, np.asarray(offsets, np.float64)[columns])

    def errors(self, keypoints: np.ndarray, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distances [frame, marker] in metres of keypoints [frame, keypoint, 3] from the markers."""
        return marker_errors(
            keypoints[:, self.columns],
            features["body_positions"],
            features["body_quaternions"],
            self.bodies,
            self.offsets,
        )
