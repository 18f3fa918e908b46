"""How far a recording has to be lifted so that the feet stand on the floor.

What is brought to the floor is a low percentile over time of the *lowest* foot. One foot on the
floor is enough, so rearing and stepping do not matter, and jumps do not while they take less than
the rest of the time; the percentile keeps single bad frames from lifting the whole recording. An
animal that is never on the floor (climbing, hanging) looks the same as a recording with another
origin: the shift is for the caller to report, and to refuse where it is too large for that.
"""

import numpy as np

DEFAULT_PERCENTILE = 5.0
_BIN_M = 5e-5
_LIMIT_M = 10.0


def floor_shift(foot_heights: np.ndarray, percentile: float = DEFAULT_PERCENTILE) -> float:
    """Metres to add to z so that the percentile of the lowest foot lies on the floor; 0 without any frame.

    `foot_heights` [frame, feet] are metres over the floor; frames with NaN do not count.
    """
    lowest = _lowest(foot_heights)
    return -float(np.percentile(lowest, percentile)) if lowest.size else 0.0


class FloorHistogram:
    """The same for recordings that come in blocks: memory does not grow, order does not matter.

    Counts in bins of 0.05 mm from -10 to 10 m; the shift is within one bin of `floor_shift`.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2 * round(_LIMIT_M / _BIN_M), np.int64)

    def add(self, foot_heights: np.ndarray) -> None:
        """Counts a block, [frame, feet] metres over the floor."""
        place = (_lowest(foot_heights) + _LIMIT_M) / _BIN_M
        bins = np.clip(place, 0, len(self._counts) - 1).astype(np.int64)
        if bins.size:
            first = int(bins.min())  # a block spans few bins
            counts = np.bincount(bins - first)
            self._counts[first : first + len(counts)] += counts

    def shift(self, percentile: float = DEFAULT_PERCENTILE) -> float:
        """Metres to add to z; 0 before the first frame."""
        cumulative = np.cumsum(self._counts)
        if not cumulative[-1]:
            return 0.0
        # the rank that NumPy's percentile interpolates at, between frames in neighbouring bins
        rank = percentile / 100.0 * (int(cumulative[-1]) - 1)
        ranks = np.array([np.floor(rank), np.ceil(rank)])
        heights = (np.searchsorted(cumulative, ranks, side="right") + 0.5) * _BIN_M - _LIMIT_M
        return -float(heights[0] + (rank - ranks[0]) * (heights[1] - heights[0]))


def _lowest(foot_heights: np.ndarray) -> np.ndarray:
    lowest = np.min(foot_heights, axis=1)
    return lowest[np.isfinite(lowest)]
