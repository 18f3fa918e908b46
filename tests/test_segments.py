"""Takes cut into clips."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.clips.conditioning.segments import Stretch, cut_clips, stretches


def spans(parts):
    return [(part.start, part.stop) for part in parts]


def test_fixed_clips_with_a_gap_and_trimming():
    valid = np.ones(100, bool)
    valid[40:43] = False
    cut = cut_clips(valid, clip_frames=20, trim_start=5, trim_end=10)
    assert spans(cut.clips) == [(5, 25), (43, 63), (63, 83)]
    assert cut.left_out == (
        Stretch(0, 5, "trimmed: start of the take"),
        Stretch(25, 40, "rest of a stretch: 15 frames, a clip needs 20"),
        Stretch(40, 43, "missing frames"),
        Stretch(83, 90, "rest of a stretch: 7 frames, a clip needs 20"),
        Stretch(90, 100, "trimmed: end of the take"),
    )


def test_overlap_and_stride():
    valid = np.ones(50, bool)
    assert spans(cut_clips(valid, clip_frames=20, stride=10).clips) == [
        (0, 20),
        (10, 30),
        (20, 40),
        (30, 50),
    ]
    cut = cut_clips(valid, clip_frames=10, stride=20)
    assert spans(cut.clips) == [(0, 10), (20, 30), (40, 50)]
    assert all(part.reason.startswith("between clips") for part in cut.left_out)


def test_variable_lengths():
    valid = np.ones(100, bool)
    valid[[30, 36]] = False
    cut = cut_clips(valid, clip_frames=None, min_frames=10, max_frames=25)
    assert spans(cut.clips) == [(0, 15), (15, 30), (37, 58), (58, 79), (79, 100)]
    assert [part.reason.partition(":")[0] for part in cut.left_out] == [
        "missing frames",
        "short stretch",
        "missing frames",
    ]
    # equal parts of 55 frames would be too short: one clip of full length instead
    cut = cut_clips(np.ones(110, bool), clip_frames=None, min_frames=60, max_frames=70)
    assert spans(cut.clips) == [(0, 70)]
    assert cut.left_out == (Stretch(70, 110, "rest of a stretch: 40 frames, a clip needs 60"),)


def test_a_take_that_is_all_trimmed_or_empty():
    cut = cut_clips(np.ones(5, bool), clip_frames=2, trim_start=4, trim_end=4)
    assert not cut.clips
    assert spans(cut.left_out) == [(0, 4), (4, 5)]
    assert cut_clips(np.zeros(0, bool), clip_frames=2) == ((), ())
    with pytest.raises(ValueError, match="clip_frames"):
        cut_clips(np.ones(5, bool), clip_frames=0)


@given(
    st.lists(st.booleans(), max_size=80).map(lambda flags: np.array(flags, bool)),
    st.none() | st.integers(1, 20),
    st.none() | st.integers(1, 25),
    st.integers(1, 10),
    st.none() | st.integers(10, 30),
    st.integers(0, 8),
    st.integers(0, 8),
)
@settings(max_examples=200, deadline=None)
def test_nothing_is_dropped_silently(valid, length, stride, least, most, start, end):
    cut = cut_clips(
        valid,
        clip_frames=length,
        stride=stride,
        min_frames=least,
        max_frames=most,
        trim_start=start,
        trim_end=end,
    )
    in_clip = np.zeros(len(valid), int)
    for clip in cut.clips:
        in_clip[clip.start : clip.stop] += 1
        assert valid[clip.start : clip.stop].all()
        size = clip.stop - clip.start
        assert size == length if length else least <= size <= (most or len(valid))
    outside = np.zeros(len(valid), int)
    for part in cut.left_out:
        assert part.reason
        assert part.stop > part.start
        outside[part.start : part.stop] += 1
    np.testing.assert_array_equal(outside, in_clip == 0)
    if length is None or stride is None or stride >= length:
        assert in_clip.max(initial=0) <= 1


@given(st.lists(st.booleans(), max_size=40))
@settings(max_examples=40, deadline=None)
def test_stretches_are_the_runs(flags):
    rebuilt = np.zeros(len(flags), bool)
    found = stretches(np.array(flags, bool))
    for start, stop in found:
        rebuilt[start:stop] = True
    np.testing.assert_array_equal(rebuilt, np.array(flags, bool))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))
