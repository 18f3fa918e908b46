"""How far a recording has to be lifted so that the feet stand on the floor.

A low percentile over time of the *lowest* foot is brought to the floor: rearing, stepping, jumps and
single bad frames do not matter. An animal that is never on the floor (climbing, hanging) looks the same
as a recording with another origin, so the shift is reported.
"""

import numpy as np

_BIN_M = 5e-5
_LIMIT_M = 10.0


class FloorHistogram:
    """Percentile of the lowest foot over blocks of frames, in any order and constant memory.

    Counts in bins of 0.05 mm from -10 to 10 m.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * round(_LIMIT_M / _BIN_M), np.int64)

    def add(self, foot_heights: np.ndarray) -> None:
        """Counts a block, [frame, feet] metres over the floor; frames with NaN do not count."""
        lowest = np.min(foot_heights, axis=1)
        place = (lowest[np.isfinite(lowest)] + _LIMIT_M) / _BIN_M
        bins = np.clip(place, 0, len(self._counts) - 1).astype(np.int64)
        if bins.size:
            first = int(bins.min())  # a block spans few bins
            counts = np.bincount(bins - first)
            self._counts[first : first + len(counts)] += counts

    def shift(self, percentile: float) -> float:
        """Metres to add to z; 0 before the first frame."""
        cumulative = np.cumsum(self._counts)
        if not cumulative[-1]:
            return 0.0
        # the rank that NumPy's percentile interpolates at, between frames in neighbouring bins
        rank = percentile / 100.0 * (int(cumulative[-1]) - 1)
        ranks = np.array([np.floor(rank), np.ceil(rank)])
        heights = (np.searchsorted(cumulative, ranks, side="right") + 0.5) * _BIN_M - _LIMIT_M
        return -float(heights[0] + (rank - ranks[0]) * (heights[1] - heights[0]))
