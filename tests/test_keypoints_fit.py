"""From key points to poses: what the fit gives back, what it must not depend on, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from video_helpers import probe_video

from vnl_mjx.cli import main
from vnl_mjx.clips.sources import open_recording
from vnl_mjx.commands.data import fit_keypoints
from vnl_mjx.config.walker import read_body, rodent_body
from vnl_mjx.errors import UserError
from vnl_mjx.gait import GaitConfig, make_gait
from vnl_mjx.keypoints.fit import FitOptions, fit_key_points
from vnl_mjx.keypoints.marked_body import mark_body
from vnl_mjx.keypoints.quality import fit_report
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.sources import KeyPointOptions, open_key_points
from vnl_mjx.quaternions import multiply, rotate, rotation_between, rotation_quaternion
from vnl_mjx.report.rendering.fit_motion import fit_motion
from vnl_mjx.walkers.walker import build_walker

FIXTURES = Path(__file__).parent / "fixtures"
RATE_HZ = 50.0
SHIFT = np.array([0.4, -1.0, 0.2])  # metres
NAMES = tuple(name for own in rodent_body().markers.values() for name in own)
READING = ("--points", "rat23", "--rate", "50")
AS_THEY_ARE = FitOptions(smooth_s=0.0, fit_offsets=False, fit_scale=False)


@pytest.fixture(scope="module")
def poses(rodent):
    return make_gait(rodent, GaitConfig(behaviour="walk", speed=0.2, turn=0.5, seconds=1.2)).qpos


def key_points(positions, names=NAMES, rate_hz=RATE_HZ):
    return KeyPoints(names, positions, np.ones(positions.shape[:2]), rate_hz, "made.mat")


@pytest.fixture(scope="module")
def made(rodent, poses):
    """Key points without errors, and the body that they are of."""
    body = mark_body(rodent, NAMES, "made")
    return key_points(body.state(poses, body.offsets).points)


@pytest.fixture(scope="module")
def fitted(rodent, made):
    return fit_key_points(rodent, made, AS_THEY_ARE)


def test_points_without_errors_give_the_pose_back(fitted, poses):
    errors = np.abs(fitted.qpos - poses)[:, fitted.body.qpos_columns]
    assert np.nanmax(fitted.residuals) < 0.001
    assert np.median(errors) < 0.02  # the weak pull towards the resting posture
    root = rotation_between(fitted.qpos[:, 3:7], poses[:, 3:7])
    assert np.linalg.norm(root, axis=1).max() < 0.05


def test_moving_all_points_rigidly_moves_the_root_only(rodent, made, fitted):
    turn = rotation_quaternion(np.array([0.3, -0.5, 2.0]))
    moved = rotate(made.positions, turn) + SHIFT
    again = fit_key_points(rodent, key_points(moved), AS_THEY_ARE)
    np.testing.assert_allclose(again.qpos[:, 7:], fitted.qpos[:, 7:], atol=0.02)
    np.testing.assert_allclose(
        again.qpos[:, :3], rotate(fitted.qpos[:, :3], turn) + SHIFT, atol=5e-4
    )
    turned = multiply(np.broadcast_to(turn, (len(moved), 4)), fitted.qpos[:, 3:7])
    assert np.linalg.norm(rotation_between(turned, again.qpos[:, 3:7]), axis=1).max() < 0.02


def test_points_are_matched_by_name_whatever_their_order(rodent, made, fitted):
    order = np.random.default_rng(0).permutation(len(NAMES))
    names = (*(NAMES[row] for row in order), "TailTip")
    unknown = np.full((len(made.positions), 1, 3), 9.0)
    positions = np.concatenate([made.positions[:, order], unknown], axis=1)
    again = fit_key_points(rodent, key_points(positions, names), AS_THEY_ARE)
    np.testing.assert_allclose(again.qpos, fitted.qpos, atol=0.02)


def test_a_missing_point_changes_its_limb_only(rodent, made, fitted):
    positions = made.positions.copy()
    positions[:, NAMES.index("HandL")] = np.nan
    again = fit_key_points(rodent, key_points(positions), AS_THEY_ARE)
    changed = np.abs(again.qpos - fitted.qpos).max(axis=0)
    names = ("",) * 7 + rodent.joint_names
    own = [column for column, name in enumerate(names) if name.startswith(("wrist_L", "elbow_L"))]
    assert np.delete(changed, own).max() < 0.1
    markers = np.linalg.norm(again.markers - fitted.markers, axis=-1).max(axis=0)
    assert np.delete(markers, NAMES.index("HandL")).max() < 0.001


def test_size_and_marker_places_are_found(rodent, made):
    rng = np.random.default_rng(1)
    body = mark_body(rodent, NAMES, "made")
    away = rng.normal(size=body.offsets.shape)
    offsets = body.offsets + 0.002 * away / np.linalg.norm(away, axis=1, keepdims=True)
    poses = np.concatenate(
        [
            make_gait(rodent, GaitConfig(behaviour=kind, speed=speed, turn=turn, seconds=1.6)).qpos
            for kind, speed, turn in (("walk", 0.2, 0.8), ("trot", 0.5, -0.8))
        ]
    )
    positions = 1.07 * body.state(poses, offsets).points
    found = fit_key_points(rodent, key_points(positions), FitOptions(smooth_s=0.0))
    assert found.calibration.scale == pytest.approx(1.07, rel=0.03)
    errors = np.linalg.norm(found.calibration.offsets - offsets, axis=1)
    assert np.median(errors) < 0.0015
    assert np.sqrt(np.nanmean(found.residuals**2)) < 0.001


def test_exchanged_sides_and_wrong_points_are_found_and_do_no_harm(rodent, made, fitted):
    positions = made.positions.copy()
    pair = [NAMES.index("KneeL"), NAMES.index("KneeR")]
    positions[np.ix_([20, 21], pair)] = positions[np.ix_([20, 21], pair[::-1])]
    positions[40, NAMES.index("Snout")] += 0.2
    again = fit_key_points(rodent, key_points(positions), replace(AS_THEY_ARE, smooth_s=0.1))
    assert np.argwhere(again.swapped).tolist() == [[f, p] for f in (20, 21) for p in sorted(pair)]
    np.testing.assert_allclose(again.points[20:22], made.positions[20:22])
    assert np.linalg.norm(again.markers - fitted.markers, axis=-1).max() < 0.004
    report = fit_report(again)
    assert report["swapped_frames"] == {"count": 2, "spans": [[20, 21]]}
    kept = fit_key_points(rodent, key_points(positions), replace(AS_THEY_ARE, fix_swaps=False))
    assert kept.swapped.any()
    np.testing.assert_array_equal(kept.points, positions)


def test_frames_that_do_not_fit_are_marked_and_frames_without_points_are_missing(rodent, made):
    positions = made.positions.copy()
    positions[10] = np.random.default_rng(0).normal(0, 0.2, positions[10].shape)
    positions[30:33, 2:] = np.nan
    found = fit_key_points(rodent, key_points(positions), AS_THEY_ARE)
    assert np.flatnonzero(found.bad).tolist() == [10]
    assert np.flatnonzero(found.missing).tolist() == [30, 31, 32]
    assert fit_report(found)["missing_frames"] == {"count": 3, "spans": [[30, 32]]}


def test_joints_stay_within_their_limits(rodent, made):
    positions = made.positions + np.random.default_rng(0).normal(0, 0.02, made.positions.shape)
    found = fit_key_points(rodent, key_points(positions), AS_THEY_ARE)
    angles, (lower, upper) = found.qpos[:, found.body.qpos_columns], found.body.limits
    assert (angles >= lower).all()
    assert (angles <= upper).all()


@pytest.fixture
def marked_arm():
    """A body of one's own: a slide and three hinges on a table, with markers."""
    markers = {
        "upper_arm": {"upper": (0.02, 0.01, 0.1), "middle": (0.0, -0.02, 0.05)},
        "forearm": {"lower": (0.01, 0.02, 0.06)},
        "hand": {"tip": (0.0, 0.0, 0.02)},
    }
    return replace(read_body(FIXTURES / "arm.yaml"), markers=markers)


def test_a_body_that_is_fixed_to_the_world_is_fitted_with_its_slide(marked_arm):
    walker, rng = build_walker(marked_arm), np.random.default_rng(0)
    qpos = np.cumsum(rng.normal(0, [0.002, 0.02, 0.02, 0.02], (40, 4)), axis=0)
    qpos += np.array([0.0, 0.2, 0.5, 0.8])
    names = ("upper", "middle", "lower", "tip")
    body = mark_body(walker, names, "made")
    points = key_points(body.state(qpos, body.offsets).points, names)
    found = fit_key_points(walker, points, replace(AS_THEY_ARE, fit_scale=True))
    assert found.calibration.scale == 1.0
    np.testing.assert_allclose(found.qpos, qpos, atol=0.02)


def test_mistakes_get_one_line(rodent, made, marked_arm):
    with pytest.raises(UserError, match=r"made.mat: has no frame rate; give it \(--rate HZ\)"):
        fit_key_points(rodent, replace(made, rate_hz=None))
    with pytest.raises(UserError, match="0 of its 23 key points are markers of the body, expected"):
        fit_key_points(rodent, replace(made, names=tuple(f"p{i}" for i in range(23))))
    with pytest.raises(UserError, match="found 'Snout' twice"):
        fit_key_points(rodent, replace(made, names=("Snout", *NAMES[1:-1], "Snout")))
    with pytest.raises(UserError, match="no frame has 3 of the body's markers"):
        fit_key_points(rodent, key_points(np.full_like(made.positions, np.nan)))
    with pytest.raises(UserError, match="its key points lie in one place"):
        fit_key_points(rodent, key_points(np.ones_like(made.positions)))
    with pytest.raises(UserError, match="expected places of markers on .*, found none"):
        fit_key_points(build_walker(replace(marked_arm, markers={})), made)
    with pytest.raises(UserError, match="on 'hands', which is no body .* nearest name is 'hand'"):
        fit_key_points(
            build_walker(replace(marked_arm, markers={"hands": {"tip": (0, 0, 0)}})), made
        )


@pytest.fixture
def session(tmp_path, made):
    """A file of key points without names or rate, a path for its poses, and the names in its order."""
    named = ["Snout", "EarL", "EarR", "SpineF", "SpineM", "SpineL", "TailBase"]
    for limb in (("Shoulder", "Elbow", "Wrist", "Hand"), ("Hip", "Knee", "Ankle", "Foot")):
        named += [part + side for side in "LR" for part in limb]
    order = [NAMES.index(name) for name in named]
    pred = 1e3 * np.swapaxes(made.positions[:, order], 1, 2)
    scipy.io.savemat(tmp_path / "a.mat", {"pred": pred})
    return tmp_path / "a.mat", tmp_path / "poses.h5", tuple(named)


def test_the_command_goes_from_a_file_to_clips(tmp_path, session, made, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "off")  # a machine that cannot draw the video
    (source, poses, named), clips = session, tmp_path / "clips.h5"
    words = ["fit", str(source), str(poses), *READING]
    assert main([*words, "--video", "--clips", str(clips)]) == 0
    assert "warning: no video: MUJOCO_GL" in capsys.readouterr().out
    assert not (tmp_path / "poses.fit.mp4").exists()
    report = json.loads((tmp_path / "poses.fit.json").read_text())
    assert report["frames"] == len(made.positions)
    assert report["rms_mm"] < 2.0
    assert "mandible" in report["at_rest"]
    assert (tmp_path / "poses.fit.png").stat().st_size > 10_000
    with open_recording(poses) as recording:
        assert recording.rate_hz == 50.0
        assert recording.keypoint_names == named
    account = json.loads((tmp_path / "clips.quality.json").read_text())
    assert account["pieces"][0]["quality"]["marker_rms_mm"] < 2.0
    assert main(words) == 2
    assert "poses.h5: exists" in capsys.readouterr().err


def test_the_motion_to_draw_has_its_marks_on_the_body_and_says_what_is_wrong(rodent, fitted):
    lower, frames = np.array([0.0, 0.0, -0.3]), np.arange(len(fitted.qpos))
    qpos = np.where((frames == 5)[:, None], np.nan, fitted.qpos)
    qpos[:, rodent.root.position] += lower
    points, markers = fitted.points + lower, fitted.markers + lower
    swapped = (frames == 4)[:, None] & np.array([name == "HipL" for name in fitted.body.names])
    changed = {"qpos": qpos, "points": points, "markers": markers, "swapped": swapped}
    shown = fit_motion(replace(fitted, bad=frames == 3, **changed), "made", 0.2)
    side = shown.panes[0]
    assert side.marks is not None
    np.testing.assert_array_equal(side.qpos[5], side.qpos[4])
    own = fitted.body.state(side.qpos, fitted.calibration.offsets).points
    keep = np.arange(10) != 5
    np.testing.assert_allclose(side.marks[keep, len(NAMES) :], own[keep], atol=1e-6)
    assert side.marks.shape == (10, 2 * len(NAMES), 3) and len(side.dots) == 2 * len(NAMES)
    assert own[..., 2].min() > rodent.floor_height
    texts = ["", "fits badly", "left and right exchanged back", "no pose", ""]
    assert list(side.texts[2:7]) == texts


@pytest.mark.render
def test_the_command_draws_a_video(backend, session, monkeypatch, capsys):
    monkeypatch.setattr(fit_keypoints, "_VIDEO_S", 0.1)
    source, poses, _ = session
    assert main(["fit", str(source), str(poses), *READING, "--video"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "poses.fit.mp4, the first 0.1 s of 1.2 s" in printed
    assert "1280x640" in probe_video(poses.with_suffix(".fit.mp4"))


def test_the_rodents_markers_are_on_both_sides_alike():
    places = {name: p for own in rodent_body().markers.values() for name, p in own.items()}
    for name in NAMES:
        if name.endswith("L") and (partner := name[:-1] + "R") in places:
            assert places[partner] == (places[name][0], -places[name][1], places[name][2])


def test_the_public_recording_is_fitted(rodent, shared_data):
    points = open_key_points(
        shared_data / "reference" / "rodent_keypoints_1000f.mat", KeyPointOptions(points="rat23")
    )
    found = fit_key_points(
        rodent,
        replace(
            points,
            positions=points.positions[::4],
            confidence=points.confidence[::4],
            rate_hz=RATE_HZ / 4,
        ),
    )
    assert 1e3 * np.sqrt(np.mean(found.residuals**2)) < 2.4
    assert not found.bad.any()
    assert not found.swapped.any()
