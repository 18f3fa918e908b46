"""From recordings to clips: what comes out, what is said of the rest, and that blocks do not matter."""

import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from preprocess_helpers import RATE_HZ, motion, options, run, save

from vnl_mjx.clips.columns import finite_difference_qvel
from vnl_mjx.clips.container import FEATURES, ClipInfo
from vnl_mjx.clips.file import open_clip_file
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.preprocess import Preprocessor
from vnl_mjx.clips.preprocess_report import CUT, KEPT, LEFT_OUT
from vnl_mjx.commands.data.rollout_clips import SimulatedClip, write_simulated
from vnl_mjx.errors import UserError


def test_poses_and_velocities_of_a_recording_are_kept(toy_walker, tmp_path):
    qpos = motion(toy_walker, 120)
    source = save(tmp_path / "day.npz", qpos)
    report = run(toy_walker, [source], tmp_path / "clips.h5")
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    stored = qpos.astype(np.float32)
    np.testing.assert_array_equal(np.asarray(clips.qpos()), stored)
    expected = finite_difference_qvel(stored, toy_walker.layout, np.array([120]), RATE_HZ)
    np.testing.assert_allclose(np.asarray(clips.qvel()), expected, atol=1e-5)
    assert [(p.status, p.frames) for p in report.pieces] == [(KEPT, 120)]
    assert clips.info[0].source == "day.npz"
    assert (report.num_clips, report.num_frames, report.rate_hz) == (1, 120, RATE_HZ)


def test_forward_differences_are_stacs_rule(toy_walker, tmp_path):
    qpos = motion(toy_walker, 40).astype(np.float32)
    source = save(tmp_path / "day.npz", qpos)
    run(toy_walker, [source], tmp_path / "clips.h5", velocity={"difference": "forward"})
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    joints = (qpos[1:, 7:].astype(float) - qpos[:-1, 7:]) * RATE_HZ
    np.testing.assert_allclose(np.asarray(clips.joints_velocity)[:-1], joints, atol=1e-4)
    np.testing.assert_allclose(np.asarray(clips.joints_velocity)[-1], joints[-1], atol=1e-4)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"resampling": {"rate_hz": 100.0}},
        {"resampling": {"rate_hz": 30.0, "interpolation": "linear"}},
        {
            "conditioning": {"smoothing_window_s": 0.1, "align_floor": True},
            "velocity": {"smoothing_window_s": 0.1},
            "resampling": {"rate_hz": 80.0},
        },
    ],
)
def test_what_is_read_at_a_time_does_not_matter(toy_walker, tmp_path, sections):
    qpos = motion(toy_walker, 300)
    qpos[100:104] = np.nan  # filled
    qpos[180:200, 9] = np.nan  # cut out
    qpos[50:, 3:7] *= -1  # the same orientations
    source = save(tmp_path / "day.npz", qpos)
    files = []
    for block in (7, 64, 10_000):
        files.append(tmp_path / f"{block}.h5")
        cut = {"clip_s": 0.4, "overlap_s": 0.1}
        run(
            toy_walker,
            [source],
            files[-1],
            segmentation=cut,
            output={"block_frames": block},
            **sections,
        )
    whole = read_clips(files[-1], toy_walker)
    assert whole.num_clips > 10
    flips = np.sum(np.asarray(whole.quaternion)[1:] * np.asarray(whole.quaternion)[:-1], -1)
    starts = np.asarray(whole.starts)[1:]
    assert np.delete(flips, starts - 1).min() > 0  # sign-continuous
    for path in files[:-1]:
        found = read_clips(path, toy_walker)
        assert found.names == whole.names
        for name in FEATURES:
            np.testing.assert_allclose(
                np.asarray(getattr(found, name)),
                np.asarray(getattr(whole, name)),
                atol=2e-5,  # velocities multiply float round-off by the rate
                err_msg=name,
            )


def test_gaps_are_filled_or_cut_and_every_frame_is_accounted_for(toy_walker, tmp_path):
    qpos = motion(toy_walker, 200)
    qpos[20:25] = np.nan
    qpos[100:130] = np.nan
    source = save(tmp_path / "day.npz", qpos)
    report = run(toy_walker, [source], tmp_path / "clips.h5")
    assert [(p.status, round(p.start_s, 2), p.frames) for p in report.pieces] == [
        (LEFT_OUT, 2.0, 30),
        (KEPT, 0.0, 100),
        (KEPT, 2.6, 70),
    ]
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    assert [i.start_s for i in clips.info] == pytest.approx([0.0, 2.6])
    with open_clip_file(tmp_path / "clips.h5") as file:
        np.testing.assert_allclose(file.quality["filled_share"], [0.05, 0.0])


def test_clips_beyond_a_limit_are_cut_with_the_reason(toy_walker, tmp_path):
    qpos = motion(toy_walker, 150)
    qpos[50:100, 9] = 3.0
    source = save(tmp_path / "day.npz", qpos)
    sections = {"segmentation": {"clip_s": 1.0}, "quality": {"jump_joint_rad": None}}
    report = run(toy_walker, [source], tmp_path / "clips.h5", **sections)
    statuses = {round(p.start_s): (p.status, p.reasons) for p in report.pieces}
    assert statuses[0] == (KEPT, ())
    assert statuses[1][0] == CUT
    assert any("joint limit" in reason for reason in statuses[1][1])
    assert read_clips(tmp_path / "clips.h5", toy_walker).num_clips == 2
    json.dumps(asdict(report))  # the report is JSON-able


def test_mirrored_copies_and_held_out_pairs(toy_walker, tmp_path):
    sources = [save(tmp_path / f"day{i}.npz", motion(toy_walker, 100, i)) for i in range(4)]
    sections = {
        "conditioning": {"mirror": True},
        "split": {"held_out_fraction": 0.25, "by": "recording", "seed": 3},
        "segmentation": {"clip_s": 1.0},
    }
    run(toy_walker, sources, tmp_path / "clips.h5", **sections)
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    assert clips.num_clips == 16
    held_out = {info.source for info in clips.info if info.held_out}
    assert len(held_out) == 1
    assert all(info.held_out == (info.source in held_out) for info in clips.info)
    mirrored = [info.mirrored for info in clips.info]
    assert sum(mirrored) == 8
    one, other = clips.select([0]), clips.select([1])
    assert (mirrored[0], mirrored[1]) == (False, True)
    flip = np.array([1, -1, 1], np.float32)
    np.testing.assert_allclose(np.asarray(one.position) * flip, np.asarray(other.position))


def test_what_was_done_is_said(toy_walker, tmp_path):
    qpos = motion(toy_walker, 100)
    qpos[40:43] = np.nan
    qpos[60, 8] += 0.9
    source = save(tmp_path / "day.npz", qpos)
    sections = {
        "resampling": {"rate_hz": 100.0, "interpolation": "linear"},
        "conditioning": {"mirror": True, "align_floor": True},
        "velocity": {"max_qvel": 20.0},
        "quality": {"jump_joint_rad": None, "clamped_share": None},
    }
    report = run(toy_walker, [source], tmp_path / "clips.h5", **sections)
    (recording,) = report.recordings
    notes = "; ".join(recording.notes)
    assert "resampled to 100 Hz (linear)" in notes and "mirrored copies added" in notes
    assert "mm to the floor" in notes and recording.floor_shift_m != 0.0
    assert f"{recording.filled_frames} frames filled" in notes and recording.filled_frames >= 6
    assert recording.clamped_velocities > 0
    assert f"{recording.clamped_velocities} joint velocities limited to 20 rad/s" in notes
    velocities = np.asarray(read_clips(tmp_path / "clips.h5", toy_walker).joints_velocity)
    assert np.abs(velocities).max() == 20.0


def test_several_files_keep_their_names_apart(toy_walker, tmp_path):
    sources = [save(tmp_path / f"{name}.npz", motion(toy_walker, 30)) for name in ("a", "b")]
    run(toy_walker, sources, tmp_path / "clips.h5")
    clips = read_clips(tmp_path / "clips.h5", toy_walker)
    assert len(set(clips.names)) == 2
    assert [name.partition("_")[0] for name in clips.names] == ["a", "b"]
    assert [info.source for info in clips.info] == ["a.npz", "b.npz"]
    with open_clip_file(tmp_path / "clips.h5") as file:
        recorded = file.metadata["recordings"]
    assert [r["name"] for r in recorded] == ["a.npz", "b.npz"]
    assert all(len(r["sha256"]) == 64 for r in recorded)
    assert str(tmp_path) not in json.dumps(file.metadata)


def test_clips_of_clips_keep_their_behaviour_and_how_each_was_made(toy_walker, tmp_path):
    poses = motion(toy_walker, 60)
    info = ClipInfo(label="walk", made_by="gait"), ClipInfo(label="rear")
    made = [SimulatedClip(f"clip_{i}", poses, one) for i, one in enumerate(info)]
    write_simulated(tmp_path / "first.h5", toy_walker, RATE_HZ, made, {}, compact=True)
    run(toy_walker, [tmp_path / "first.h5"], tmp_path / "second.h5")
    found = read_clips(tmp_path / "second.h5", toy_walker).info
    assert [(i.label, i.made_by) for i in found] == [("walk", "gait"), ("rear", "")]


def test_files_of_one_name_are_told_apart(toy_walker, tmp_path):
    for day in ("mon", "tue"):
        (tmp_path / day).mkdir()
    sources = [save(tmp_path / day / "rat.npz", motion(toy_walker, 30)) for day in ("mon", "tue")]
    report = run(toy_walker, sources, tmp_path / "clips.h5")
    assert [recording.name for recording in report.recordings] == ["mon/rat.npz", "tue/rat.npz"]
    assert [piece.recording for piece in report.pieces] == ["mon/rat.npz", "tue/rat.npz"]
    names = read_clips(tmp_path / "clips.h5", toy_walker).names
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda q: q[:, :-1], "joints|columns"),
        (lambda q: np.where(np.arange(q.shape[1]) == 3, 5.0, q), "norm"),
        (lambda q: q[:0], "frame|empty"),
        (lambda q: np.full_like(q, np.nan), "no clip was kept|missing"),
        (lambda q: q[:3], "no clip was kept"),
    ],
    ids=["another body", "quaternions", "no frames", "all NaN", "too short"],
)
def test_bad_recordings_leave_no_file(toy_walker, tmp_path, edit, message):
    source = save(tmp_path / "day.npz", edit(motion(toy_walker, 60)))
    with pytest.raises(UserError, match=message) as caught:
        run(toy_walker, [source], tmp_path / "clips.h5")
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["day.npz"]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "rescaling"),
    [
        ("rodent_mocap_4x250.h5", "track_mjx"),
        ("stac_rodent_10f.h5", "dm_control"),
        ("stac_rodent_50f.h5", "dm_control"),
        ("stac_rodent_50f.p", "dm_control"),
    ],
)
def test_real_recordings_keep_their_own_body_poses(shared_data, tmp_path, name, rescaling):
    from vnl_mjx.commands.data.bodies import build_body

    source = shared_data / "reference" / name
    config = options(walker={"rescaling": rescaling})
    walker = build_body(config.walker_config)
    report = Preprocessor(walker, config).run([source], tmp_path / "clips.h5")
    assert "its body positions are the walker's" in report.recordings[0].notes
    clips = read_clips(tmp_path / "clips.h5", walker)
    rows = [row for row, body in enumerate(walker.body_names) if body != "floor"]
    with h5py.File(source.with_suffix(".h5")) as file:  # the pickle holds the same
        np.testing.assert_array_equal(np.asarray(clips.qpos()), file["qpos"][()])
        errors = np.asarray(clips.body_positions)[:, rows] - file["xpos"][()]
        assert np.linalg.norm(errors, axis=-1).max() <= 1e-5
        if "xquat" in file:
            found, stored = np.asarray(clips.body_quaternions)[:, rows], file["xquat"][()]
            signs = np.sign(np.sum(found * stored, axis=-1, keepdims=True))
            np.testing.assert_allclose(found, signs * stored, atol=1e-5)


@pytest.mark.parity
def test_velocities_are_the_recordings_under_its_rule(shared_data, rodent, tmp_path):
    source = shared_data / "reference" / "rodent_mocap_4x250.h5"
    config = options(velocity={"difference": "forward", "max_qvel": None})
    Preprocessor(rodent, config).run([source], tmp_path / "clips.h5")
    found = np.asarray(read_clips(tmp_path / "clips.h5", rodent).qvel())
    with h5py.File(source) as file:
        stored = file["qvel"][()]
    inner = np.arange(len(stored)) % 250 != 249  # the file's last frames do not follow its rule
    np.testing.assert_allclose(found[inner], stored[inner], atol=1e-3)


def test_the_tail_is_carried_and_the_mouth_is_shut(rodent, tmp_path):
    """A rat that stands and then walks with its tail straight: afterwards it is as a rat carries it."""
    layout, floor = rodent.layout, rodent.floor_height
    qpos = np.tile(rodent.model.qpos0, (150, 1))
    qpos[:, 2] = floor + 0.04
    qpos[:, 0] += 0.2 * np.maximum(np.arange(150) / RATE_HZ - 1.0, 0.0)
    source = save(tmp_path / "rat.npz", qpos)
    names = [f"vertebra_C{number}" for number in range(1, 31)]
    rows = [rodent.model.body(name).id for name in names]
    mouth = layout.joint_qpos.start + rodent.joint_names.index("mandible")
    limits = {"penetration_mm": None, "frozen_s": None}

    def clips_of(**conditioning):
        target = tmp_path / "clips.h5"
        report = run(
            rodent,
            [source],
            target,
            conditioning=conditioning,
            quality=limits,
            output={"overwrite": True},
        )
        return read_clips(target, rodent), report

    hanging, _ = clips_of()
    assert np.asarray(hanging.body_positions)[:, rows, 2].min() > floor + 0.03
    carried, report = clips_of(tail="carried", joint_angles={"mandible": -0.28})
    tail = np.asarray(carried.body_positions)[:, rows, 2] - floor
    assert tail.min() > 0.0
    # lower when the rat stands, by the heights that a rat's tail has
    np.testing.assert_allclose(tail[:25, -1].mean(), 0.017, atol=0.004)
    np.testing.assert_allclose(tail[-25:, -1].mean(), 0.024, atol=0.004)
    changed, kept = np.asarray(carried.qpos()), np.asarray(hanging.qpos())
    np.testing.assert_allclose(changed[:, mouth], -0.28, rtol=1e-6)
    tail_joints = [
        layout.joint_qpos.start + i
        for i, name in enumerate(rodent.joint_names)
        if name.startswith("vertebra_C")
    ]
    others = np.setdiff1d(np.arange(rodent.nq), [mouth, *tail_joints])
    np.testing.assert_array_equal(changed[:, others], kept[:, others])
    assert "tail carried above the floor; mandible held" in "; ".join(report.recordings[0].notes)


def test_unmarked_parts_of_another_body_are_refused(toy_walker, tmp_path):
    source = save(tmp_path / "day.npz", motion(toy_walker, 20))
    with pytest.raises(UserError, match="conditioning_config.tail: expected a body whose YAML"):
        run(toy_walker, [source], tmp_path / "clips.h5", conditioning={"tail": "carried"})
    with pytest.raises(UserError, match="conditioning_config.joint_angles: .*'no_joint'"):
        run(
            toy_walker,
            [source],
            tmp_path / "c.h5",
            conditioning={"joint_angles": {"no_joint": 0.0}},
        )


# --- jumps, and when nothing is kept --------------------------------------------------------------
