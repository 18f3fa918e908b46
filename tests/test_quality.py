"""Measures of clips, the limits on them, and the picture of both."""

from dataclasses import fields, replace

import h5py
import matplotlib.image
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from vnl_mjx.clips.body_size import Ratios, scaled
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.preprocess_report import CUT, KEPT, LEFT_OUT, Piece
from vnl_mjx.clips.quality import ClipQuality, assess, assess_clips, marker_errors, verdict
from vnl_mjx.config.preprocessing import QualityLimits
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.report.pictures.quality import save_quality_plot

LIMITS = scaled(QualityLimits(), Ratios())
RATE = 50.0


def swaying(walker, count: int = 50) -> np.ndarray:
    """Poses that stand 1 mm over the floor and sway, [frame, nq]."""
    time = np.arange(count) / RATE
    qpos = np.tile(walker.model.qpos0, (count, 1))
    qpos[:, 2] += 0.001
    qpos[:, 0] += 0.02 * time
    qpos[:, 7:] += 0.001 * np.sin(time)[:, None]
    return qpos


def measured(walker, qpos: np.ndarray, **given: np.ndarray) -> ClipQuality:
    features = FeatureComputer(walker, num_threads=1)(qpos, [len(qpos)], RATE)
    return assess(walker, features, RATE, **given)


def categories(quality: ClipQuality) -> list[str]:
    return [reason.partition(":")[0] for reason in verdict(quality, LIMITS)]


def test_a_good_clip_is_kept(toy_walker):
    quality = measured(toy_walker, swaying(toy_walker))
    assert verdict(quality, LIMITS) == ()
    assert quality.frames == 50
    assert quality.speed == pytest.approx(0.02, rel=1e-4)
    assert quality.penetration_mm == quality.joint_limit_rad == quality.frozen_s == 0.0
    assert np.isnan(quality.marker_rms_mm)
    assert set(quality.numbers()) >= {field.name for field in fields(QualityLimits)}


def test_joint_limits_are_measured_and_named(toy_walker):
    qpos = swaying(toy_walker)
    qpos[:, 9] = 0.5
    qpos[20:45, 9] = 0.8 + 0.3  # the toy's joints go to 0.8
    quality = measured(toy_walker, qpos)
    assert quality.joint_limit_rad == pytest.approx(0.3, abs=1e-6)
    assert quality.joint_limit_share == 0.5
    assert quality.joint_limit_joint == toy_walker.joint_names[2]
    worst, share = (r for r in verdict(quality, LIMITS) if r.startswith("joint limit"))
    assert worst == "joint limit: 0.3 rad beyond (hip_back), limit 0.2"
    assert share == "joint limit: 0.5 of the frames beyond (hip_back), limit 0.25"


def test_feet_and_other_bodies_below_the_floor(toy_walker):
    qpos = swaying(toy_walker)
    qpos[10:15, 2] -= 0.013
    quality = measured(toy_walker, qpos)
    assert quality.penetration_mm == pytest.approx(12.0, abs=0.5)
    assert quality.penetration_share == 0.1
    assert categories(quality) == ["below the floor"]
    qpos[:, 2] -= 0.1
    deep = measured(toy_walker, qpos)
    assert deep.body_below_floor_mm == pytest.approx(113.0 - 1.0 - 28.0, abs=1.0)
    assert deep.lowest_body in ("foot_front", "foot_back")


def test_jumps_and_speeds(toy_walker):
    qpos = swaying(toy_walker)
    qpos[25:, 0] += 0.2
    quality = measured(toy_walker, qpos)
    assert quality.jump_m == pytest.approx(0.2, abs=1e-3)
    assert quality.speed == pytest.approx(0.2 / 0.04, abs=0.1)
    assert categories(quality) == ["speed", "jump"]
    turned = swaying(toy_walker)
    turned[25:, 3:7] = Rotation.from_rotvec([0, 0, 1.0]).as_quat(scalar_first=True)
    turned[30:, 3:7] *= -1.0  # the same orientation
    quality = measured(toy_walker, turned)
    assert quality.jump_rad == pytest.approx(1.0, abs=1e-5)
    bent = swaying(toy_walker)
    bent[25:, 8] += 0.7
    quality = measured(toy_walker, bent)
    assert quality.jump_joint_rad == pytest.approx(0.7, abs=1e-3)
    assert quality.jump_joint == quality.fastest_joint == "ankle_front"


def test_frozen_frames_are_the_longest_still_run(toy_walker):
    qpos = swaying(toy_walker)
    qpos[5:8] = qpos[5]
    qpos[10:41] = qpos[10]
    quality = measured(toy_walker, qpos)
    assert quality.frozen_s == pytest.approx(30 / RATE)
    assert "frozen" in categories(quality)


def test_filled_clamped_and_missing_frames(toy_walker):
    qpos = swaying(toy_walker)
    filled = np.zeros(50, bool)
    filled[:15] = True
    clamped = np.zeros(50, int)
    clamped[3:9] = 2
    quality = measured(toy_walker, qpos, filled=filled, clamped=clamped)
    assert (quality.filled_share, quality.clamped_values, quality.clamped_share) == (0.3, 12, 0.12)
    assert categories(quality) == ["filled gaps", "clamped velocities"]
    features = FeatureComputer(toy_walker, num_threads=1)(qpos, [50], RATE)
    for name in features:
        features[name][20] = np.nan
    quality = assess(toy_walker, features, RATE)
    assert quality.missing_frames == 1
    assert categories(quality) == ["missing frames"]
    assert np.isfinite(quality.speed)


def test_every_limit_can_be_switched_off(toy_walker):
    qpos = swaying(toy_walker)
    qpos[25:, :3] += [0.5, 0.0, -0.3]
    qpos[30:, 7:] += 2.0
    quality = measured(toy_walker, qpos, filled=np.ones(50, bool))
    assert len(verdict(quality, LIMITS)) >= 6
    off = QualityLimits(**{field.name: None for field in fields(QualityLimits)})
    assert verdict(quality, off) == ()


def test_marker_errors_are_distances_from_the_bodies_markers():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(5, 3, 3))
    turns = Rotation.random(15, random_state=0)
    offsets = rng.normal(size=(4, 3))
    bodies = [0, 2, 2, 1]
    quaternions = turns.as_quat(scalar_first=True).reshape(5, 3, 4)
    markers = np.empty((5, 4, 3))
    for frame in range(5):
        for marker, body in enumerate(bodies):
            turn = Rotation.from_quat(quaternions[frame, body], scalar_first=True)
            markers[frame, marker] = positions[frame, body] + turn.apply(offsets[marker])
    keypoints = markers + np.array([0.003, 0.0, 0.004])
    keypoints[2, 1] = np.nan
    found = marker_errors(keypoints, positions, quaternions, bodies, offsets)
    assert np.isnan(found[2, 1])
    np.testing.assert_allclose(found[~np.isnan(found)], 0.005, atol=1e-12)


def test_markers_in_the_measures(toy_walker):
    errors = np.full((50, 2), 0.003)
    errors[:, 1] = np.nan
    errors[0, 0] = 0.1
    quality = measured(toy_walker, swaying(toy_walker), marker_errors=errors)
    assert quality.marker_max_mm == pytest.approx(100.0)
    assert quality.marker_rms_mm == pytest.approx(np.sqrt((49 * 9 + 10_000) / 50))
    assert categories(quality) == ["marker error"]


def test_the_limits_keep_simulated_clips_but_for_pressed_toes(rodent):
    # A body that carries itself presses its toes against MuJoCo's soft limits in many frames.
    limits = replace(LIMITS, joint_limit_share=None)
    for quality in assess_clips(rodent, read_clips(DEMO_CLIPS, rodent)):
        assert verdict(quality, limits) == ()
        assert quality.speed > 0.0


def test_the_limits_keep_the_real_clips_and_their_markers_fit(rodent, shared_data):
    path = shared_data / "reference" / "rodent_mocap_4x250.h5"
    clips = read_clips(path, rodent)
    for quality in assess_clips(rodent, clips):
        assert verdict(quality, LIMITS) == ()
    with h5py.File(path) as file:
        pairs = yaml.safe_load(file["config"][()])["model"]["KEYPOINT_MODEL_PAIRS"]
        bodies = [rodent.body_names.index(pairs[name.decode()]) for name in file["kp_names"]]
        keypoints = file["kp_data"][()].reshape(-1, 23, 3)
        offsets = file["offsets"][()]
    poses = np.asarray(clips.body_positions), np.asarray(clips.body_quaternions)
    errors = marker_errors(keypoints, *poses, bodies, offsets)
    # shared/data/README.md: 2.7 mm
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(0.0027, abs=1e-4)


def pieces(quality: ClipQuality, takes: int, clips: int) -> list[Piece]:
    found = []
    for take in range(takes):
        name = f"take_{take}"
        found.append(Piece("a.h5", name, 0.0, 0.5, 25, LEFT_OUT, ("trimmed: start",)))
        for clip in range(clips):
            start = 0.5 + clip
            measures = replace(quality, speed=0.1 * (clip + 1), marker_rms_mm=2.0 + clip)
            reasons = verdict(measures, LIMITS)
            status = CUT if reasons else KEPT
            own = f"{name}_{clip}"
            span = (start, start + 1.0, 50)
            found.append(Piece("a.h5", name, *span, status, reasons, own, measures))
    return found


@pytest.mark.parametrize(("takes", "clips"), [(1, 1), (3, 6), (70, 7)])
def test_the_picture_shows_every_take(toy_walker, tmp_path, takes, clips):
    quality = measured(toy_walker, swaying(toy_walker))
    path = tmp_path / "quality.png"
    save_quality_plot(path, pieces(quality, takes, clips), LIMITS)
    image = matplotlib.image.imread(path)[..., :3]
    kept = np.abs(image - np.array([0.0, 0.447, 0.698])).max(axis=-1) < 0.01
    trimmed = np.abs(image - np.array([0.902, 0.624, 0.0])).max(axis=-1) < 0.01
    assert kept.sum() > 1000
    assert trimmed.sum() > 100
    assert image.shape[0] < 3000


def test_the_picture_of_no_clips(tmp_path):
    path = tmp_path / "quality.png"
    save_quality_plot(path, [Piece("a.h5", "t", 0.0, 2.0, 100, LEFT_OUT, ("missing frames",))])
    assert path.is_file()
    with pytest.raises(ValueError, match="no pieces"):
        save_quality_plot(path, [])
