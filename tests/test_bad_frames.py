"""Bad frames are cut out and the rest is kept; what cannot be kept is said with all reasons."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from preprocess_helpers import RATE_HZ, motion, options, run, save

from vnl_mjx.clips.columns import finite_difference_qvel
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.preprocess import Preprocessor
from vnl_mjx.clips.preprocess_report import CUT, KEPT
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import build_walker


@pytest.mark.parametrize("rate", [50.0, 100.0, 20.0])
def test_one_bad_frame_is_cut_out_and_the_rest_is_kept(toy_walker, tmp_path, rate):
    """TRIALS T7."""
    qpos = motion(toy_walker, 400)
    qpos[100, 0] += 1.0
    qpos[201, 8] += 4.0
    qpos[300:, 1] += 0.5  # the recording goes on elsewhere
    source = save(tmp_path / "day.npz", qpos)
    report = run(toy_walker, [source], tmp_path / "clips.h5", resampling={"rate_hz": rate})
    kept = [p for p in report.pieces if p.status == KEPT]
    cut = [p for p in report.pieces if p.status == CUT]
    assert len(kept) == 4 and len(cut) == 3
    assert [p.start_s for p in cut] == pytest.approx([2.0, 4.02, 6.0], abs=1.5 / min(rate, 50.0))
    reasons = [reason for piece in cut for reason in piece.reasons]
    assert reasons[0].startswith("jump: 1.002 m of the root between frames, limit")
    assert "(ankle_front)" in reasons[1] and reasons[2].startswith("jump: 0.5 m")
    # every frame is in one piece
    spans = sorted((round(p.start_s * rate), p.frames) for p in report.pieces)
    assert spans[0][0] == 0
    for (start, frames), (after, _) in itertools.pairwise(spans):
        assert start + frames == after
    assert sum(frames for _, frames in spans) == int(7.98 * rate + 1e-6) + 1
    assert sum(p.frames for p in cut) <= 3 * 4


def test_a_few_bad_frames_are_cut_out_of_long_clips(toy_walker, tmp_path):
    qpos = motion(toy_walker, 300)
    qpos[120:123, 9] += 1.3  # beyond the joint's range, without a jump
    qpos[200:204, 2] -= 0.02
    source = save(tmp_path / "day.npz", qpos)
    sections = {"quality": {"penetration_mm": 5.0}}
    report = run(toy_walker, [source], tmp_path / "clips.h5", **sections)
    kept = [(round(p.start_s * 50), p.frames) for p in report.pieces if p.status == KEPT]
    assert kept == [(0, 120), (123, 77), (204, 96)]
    cut = [p for p in report.pieces if p.status == CUT]
    assert [(round(p.start_s * 50), p.frames) for p in cut] == [(120, 3), (200, 4)]
    assert [p.reasons[0].partition(":")[0] for p in cut] == ["joint limit", "below the floor"]
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    stored = qpos.astype(np.float32)[np.r_[0:120, 123:200, 204:300]]
    np.testing.assert_array_equal(clips.qpos(), stored)
    lengths = np.array([120, 77, 96])
    expected = finite_difference_qvel(stored, toy_walker.layout, lengths, RATE_HZ)
    np.testing.assert_allclose(clips.qvel(), expected, atol=1e-5)  # not across the cuts
    (tmp_path / "clips.h5").unlink()
    sections["segmentation"] = {"clip_s": 2.0}
    report = run(toy_walker, [source], tmp_path / "clips.h5", **sections)
    assert [p.status for p in report.pieces] == [KEPT, CUT, CUT]


def test_all_reasons_are_said_when_nothing_is_kept(toy_walker, tmp_path):
    """TRIALS T7."""
    low, late = motion(toy_walker, 100), motion(toy_walker, 60, 1)
    low[:, 2] -= 5.0
    low[:, 9] = 3.0
    low[50:57] = np.nan
    late[:, 2] -= 0.5
    sources = [save(tmp_path / "low.npz", low), save(tmp_path / "late.npz", late)]
    sections = {"conditioning": {"max_gap_s": 0.0}, "quality": {"penetration_mm": 5.0}}
    preprocessor = Preprocessor(toy_walker, options(**sections))
    with pytest.raises(UserError, match="no clip was kept of 4 stretches") as caught:
        preprocessor.run(sources, tmp_path / "clips.h5")
    message = str(caught.value)
    places = [message.index(text) for text in ("joint limit: 2.2", "below the floor: 5", "missing")]
    assert places == sorted(places)
    assert "limit 5 (quality_config.penetration_mm), in 3" in message
    assert "missing frames (conditioning_config.max_gap_s), in 1" in message
    assert "likely: the joints' order" in message and "align_floor=true" in message
    assert len(preprocessor.report.pieces) == 4


def test_the_floor_is_checked_without_feet(toy_config, tmp_path):
    """TRIALS T10."""
    walker = build_walker(replace(toy_config, end_effector_names=()))
    assert not len(walker.feet)
    qpos = motion(walker, 100)
    above = save(tmp_path / "above.npz", qpos)
    Preprocessor(walker, options()).run([above], tmp_path / "clips.h5")
    qpos[:, 2] -= 5.0
    below = save(tmp_path / "below.npz", qpos)
    with pytest.raises(UserError, match=r"below the floor: 50\d\d mm"):
        Preprocessor(walker, options()).run([below], tmp_path / "below.h5")
    lift = options(conditioning={"align_floor": True})
    report = Preprocessor(walker, lift).run([below], tmp_path / "lifted.h5")
    assert report.recordings[0].floor_shift_m == pytest.approx(5.0, abs=0.05)
