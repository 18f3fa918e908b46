"""Cuts the rows of a record into blocks of time: the units of cross-validation and of intervals.

Neighbouring rows are alike, so rows are no independent samples. Blocks lie inside one stretch of one clip,
with a gap to the next block; all statements here count blocks.
"""

import numpy as np

from vnl_mjx.activity.file import Rows

_LEFT_OUT = -1


def stretches(
    rows: Rows, rate_hz: float, kept: np.ndarray, within_clips: bool = False
) -> np.ndarray:
    """Returns the stretch that each row belongs to, int [row]; rows that are not `kept`, bool [row], get -1.

    A stretch ends where the network starts anew, where rows are not kept, where the clock jumps, with its
    session, and if asked with its clip.
    """
    follows = kept[1:] & kept[:-1] & ~rows.start[1:] & (rows.session[1:] == rows.session[:-1])
    follows &= np.abs(np.diff(rows.time) * rate_hz - 1.0) < 0.5
    if within_clips:
        follows &= rows.clip[1:] == rows.clip[:-1]
    return np.where(kept, np.cumsum(np.append(False, ~follows)), _LEFT_OUT)


def blocks_of(rows: Rows, rate_hz: float, block_s: float, gap_s: float) -> np.ndarray:
    """Returns the block that each row belongs to, int [row] from 0 on; -1 for rows in no block.

    Blocks are `block_s` long, and the last `gap_s` of a block that has a successor in its stretch are left
    out. What remains of a stretch is a block of its own from half of `block_s` on.
    """
    size, gap = max(1, round(block_s * rate_hz)), round(gap_s * rate_hz)
    found = np.full(rows.num_rows, _LEFT_OUT)
    stretch, count = stretches(rows, rate_hz, rows.valid, within_clips=True), 0
    names, firsts, lengths = np.unique(stretch, return_index=True, return_counts=True)
    for name, first, length in zip(names, firsts, lengths, strict=True):
        if name == _LEFT_OUT:
            continue
        for at in range(0, length, size):
            rest = length - at
            if 2 * rest < size:
                break
            kept = size - gap if rest > size else rest
            found[first + at : first + at + kept] = count
            count += 1
    return found


def folds_of(blocks: np.ndarray, condition: np.ndarray, num_folds: int) -> np.ndarray:
    """Returns the fold of each row, int [row]: the blocks of each condition go to the folds in turn.

    `blocks` are those of `blocks_of`, of which each has one `condition` [row]; rows in no block get -1.
    """
    folds = np.full(len(blocks), _LEFT_OUT)
    for name in np.unique(condition):
        own = (condition == name) & (blocks != _LEFT_OUT)
        rank = np.unique(blocks[own], return_inverse=True)[1]
        folds[own] = rank % num_folds
    return folds
