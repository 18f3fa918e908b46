"""Splits bins of time for nested cross-validation: contiguous test blocks with gaps around them."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import Bins

_NUM_INNER = 3
_LEAST_TRAIN = 0.4  # share of the bins that a fold must train on
_INTERVAL_BLOCKS = 40


@dataclass(frozen=True)
class Fold:
    """Holds the bins of one outer fold, by number.

    Attributes:
        train: farther from the test block than the gap.
        test: one contiguous block.
        inner: pairs (train, test) of the same kind among `train`, which choose the ridge strength.
    """

    train: np.ndarray
    test: np.ndarray
    inner: tuple[tuple[np.ndarray, np.ndarray], ...]


def make_folds(bins: Bins, num: int, gap_s: float) -> tuple[Fold, ...]:
    """Cuts the bins into `num` test blocks; `gap_s` of time around each is left out of its training bins.

    Raises:
        UserError: the session is too short for the gap.
    """
    every = np.arange(bins.count)
    folds = []
    for test in np.array_split(every, num):
        train = _away(bins, every, test, gap_s)
        parts = np.array_split(train, _NUM_INNER)
        inner = tuple((_away(bins, train, part, gap_s), part) for part in parts)
        shortest = min([len(train) * 2 / 3, *(len(t) for t, _ in inner)])
        if shortest < _LEAST_TRAIN * bins.count * (num - 1) / num:
            length = bins.count * bins.width_s
            raise UserError(
                f"record: {length:.0f} s of shared time are too short for {num} folds with gaps of "
                f"{gap_s:.1f} s; record longer, or give --gap, which makes the result less certain"
            )
        folds.append(Fold(train, test, inner))
    return tuple(folds)


def _away(bins: Bins, of: np.ndarray, test: np.ndarray, gap_s: float) -> np.ndarray:
    """Returns the bins `of` that are not in `test`, nor within the gap around it; none if `test` is empty."""
    if not len(test):
        return of[:0]
    time = bins.start[of]
    first, last = bins.start[test[0]] - gap_s, bins.start[test[-1]] + gap_s
    return of[(time < first) | (time > last)]


def interval_blocks(folds: tuple[Fold, ...], bins: Bins, gap_s: float) -> np.ndarray:
    """Returns the block of each bin that is drawn as a whole for intervals, int [bin].

    Blocks lie within a test block. They are at least twice the gap long, and about 40 of them make up the
    session if it is long enough.
    """
    size = max(round(2 * gap_s / bins.width_s), bins.count // _INTERVAL_BLOCKS, 1)
    blocks, count = np.zeros(bins.count, int), 0
    for fold in folds:
        num = max(1, len(fold.test) // size)
        blocks[fold.test] = count + np.arange(len(fold.test)) * num // len(fold.test)
        count += num
    return blocks
