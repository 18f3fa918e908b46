"""Key points from every kind of file: read by content, or refused with the reason."""

import csv
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from keypoint_layouts import (
    FRAMES,
    LAYOUTS,
    NAMES,
    RAT,
    SCORES,
    WITH_RATE,
    WITHOUT_SCORES,
    cells,
    read,
    refusal,
    table,
    write_columns,
    write_h5,
    write_nwb,
    write_rows,
)

from vnl_mjx.clips.sources import open_recording
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources import KeyPointOptions
from vnl_mjx.keypoints.sources.names import given_names


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
    return request.param


def test_every_layout_gives_the_same_points(layout, tmp_path):
    """In millimetres, which no file states."""
    LAYOUTS[layout](tmp_path / layout, 1000.0 * RAT, SCORES)
    found = read(tmp_path / layout)
    assert found.names == NAMES and found.source == str(tmp_path / layout)
    np.testing.assert_allclose(found.positions, RAT, rtol=0, atol=1e-9)
    scores = SCORES > 0 if layout in WITHOUT_SCORES else SCORES
    np.testing.assert_allclose(found.confidence, scores)
    assert found.rate_hz == (pytest.approx(40.0) if layout in WITH_RATE else None)
    assert any("taken for mm: the body is then 1" in note for note in found.notes)


@pytest.mark.parametrize(
    ("up", "order", "signs"),
    [("y", [0, 2, 1], [1, 1, -1]), ("-y", [0, 2, 1], [1, -1, 1]), ("-z", [0, 1, 2], [1, -1, -1])],
)
def test_units_and_axes_do_not_change_the_result(up, order, signs, tmp_path):
    """A world that is turned, and any unit, give the same metres; whether said or found."""
    path = tmp_path / "points.npz"
    for unit, factor in (("m", 1.0), ("cm", 100.0), ("mm", 1000.0)):
        np.savez(path, keypoints=factor * RAT[..., order] * np.array(signs), names=NAMES)
        for options in ({"length_unit": unit, "up_axis": up}, {}):
            found = read(path, **options)
            np.testing.assert_allclose(found.positions, RAT, rtol=0, atol=1e-9)
            said = any(f"{up} is taken for up" in note for note in found.notes)
            assert said == (not options)


def test_order_of_columns_does_not_matter_by_name(tmp_path):
    write_columns(tmp_path / "columns.txt", RAT, SCORES)
    with (tmp_path / "columns.txt").open() as file:
        rows = list(csv.reader(file))
    order = np.random.default_rng(0).permutation(len(rows[0]))
    write_rows(tmp_path / "mixed.csv", *[[row[i] for i in order] for row in rows])
    straight, mixed = read(tmp_path / "columns.txt"), read(tmp_path / "mixed.csv")
    places = [mixed.names.index(name) for name in straight.names]
    np.testing.assert_array_equal(mixed.positions[:, places], straight.positions)
    assert mixed.rate_hz == straight.rate_hz


def test_an_ambiguous_unit_is_asked_for(tmp_path):
    path = tmp_path / "points.npz"
    np.savez(path, keypoints=0.01 * RAT, names=NAMES)  # a fruit fly in metres?
    assert "give length_unit=m, cm or mm" in refusal(path)
    assert np.nanmax(read(path, length_unit="m").positions) == pytest.approx(0.01 * np.nanmax(RAT))
    np.savez(
        path, keypoints=10 * RAT, names=NAMES, length_unit="m"
    )  # a person, and the file says so
    assert read(path).notes == ()
    np.savez(path, keypoints=1000 * RAT, names=NAMES, length_unit="meters")
    assert "length_unit=mm would make it 0.15" in read(path).notes[0]
    np.savez(path, keypoints=10 * RAT, names=NAMES)
    assert "taken for m:" in read(path, body_length_m=1.7).notes[0]


def test_an_up_axis_that_names_do_not_tell_is_z_and_said(tmp_path):
    np.savez(tmp_path / "points.npz", keypoints=RAT, names=list("abcdefg"))
    assert any("z is taken for up" in note for note in read(tmp_path / "points.npz").notes)
    np.savez(tmp_path / "points.npz", keypoints=RAT, names=NAMES)
    found = read(tmp_path / "points.npz", up_axis="-z")
    assert "up_axis=-z as given, but the feet are below the trunk along z" in found.notes


def test_names_come_from_a_scheme_a_file_or_a_list(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, np.tile(RAT, (1, 4, 1))[:, :23])
    assert "give points=rat23 if they are in that scheme's order" in refusal(path)
    assert read(path, points="rat23").names[:2] == ("Snout", "EarL")
    np.save(path, RAT)
    files = {
        "names.txt": "\n".join(NAMES),
        "names.json": json.dumps(NAMES),
        "names.yaml": json.dumps({"KP_NAMES": NAMES}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    scipy.io.savemat(tmp_path / "names.mat", {"joint_names": np.array(NAMES, object)})
    for name in (*files, "names.mat"):
        assert read(path, points=str(tmp_path / name)).names == NAMES
    for wrong, message in (
        ("rat32", "expected a scheme (rat23"),
        ("a,b", "2 names for 7 points"),
        ("a,b,c,d,e,f,a", "a name of its own"),
        (str(tmp_path / "none.txt"), "cannot be read"),
    ):
        with pytest.raises(UserError, match="points: ") as caught:
            read(path, points=wrong)
        assert message in str(caught.value)


def test_one_of_several_animals_is_read(tmp_path):
    two = np.stack([RAT, RAT + 0.5], axis=1)
    write_h5(
        tmp_path / "points3d.h5", tracks=two, node_names=cells(), track_names=cells(("A", "B"))
    )
    assert "holds 2 animals, expected one; give animal=NAME of 'A', 'B'" in refusal(
        tmp_path / "points3d.h5"
    )
    for animal in ("B", 1, "1"):
        np.testing.assert_array_equal(
            read(tmp_path / "points3d.h5", animal=animal).positions, two[:, 1]
        )
    assert "expected one of 'A', 'B'" in refusal(tmp_path / "points3d.h5", animal="C")
    three = np.stack([RAT + shift for shift in (0.0, 0.5, 1.0)], axis=1)
    write_h5(tmp_path / "points3d.h5", tracks=three)
    found = read(tmp_path / "points3d.h5", animal=2)
    np.testing.assert_array_equal(found.positions, three[:, 2])
    write_nwb(tmp_path / "pose.nwb", RAT, SCORES, ("left", "right"))
    assert "'left', 'right'" in refusal(tmp_path / "pose.nwb")
    assert read(tmp_path / "pose.nwb", animal="right").names == NAMES
    two[:, 0] = np.nan
    write_h5(tmp_path / "points3d.h5", tracks=two, node_names=cells())
    assert "of 2 animals only '1' has points" in read(tmp_path / "points3d.h5").notes


def test_skipped_frames_are_added_without_points(tmp_path):
    path = tmp_path / "points.npz"
    kept = np.delete(np.arange(FRAMES), [5, 6])
    pred = RAT.transpose(0, 2, 1)[kept]
    np.savez(path, pred=pred, names=NAMES, sampleID=33.0 * kept)
    found = read(path)
    assert np.isnan(found.positions[5:7]).all() and not found.confidence[5:7].any()
    np.testing.assert_allclose(found.positions[7:], RAT[7:])
    assert "2 frames that 'sampleID' skips are added without points" in found.notes
    np.savez(path, pred=pred, names=NAMES, sampleID=kept[::-1])
    assert "does not increase" in refusal(path)
    np.savez(path, pred=pred, names=NAMES, sampleID=kept**2)
    assert "is not regular" in refusal(path)


def test_confidence(tmp_path):
    path = tmp_path / "points.npz"
    peaks = SCORES * np.geomspace(0.2, 0.001, len(NAMES))
    np.savez(path, keypoints=RAT, names=NAMES, p_max=peaks)
    found = read(path)
    usual = np.median(found.confidence, axis=0)
    assert (usual > 0.9).all() and any("peaks of maps" in note for note in found.notes)
    np.savez(path, keypoints=RAT, names=NAMES, confidence=SCORES)
    lost = np.isnan(read(path, min_confidence=0.8).positions).all(axis=-1)
    np.testing.assert_array_equal(lost, SCORES < 0.8)
    np.savez(path, keypoints=RAT, names=NAMES, confidence=0 * SCORES)
    np.testing.assert_array_equal(read(path).confidence, SCORES > 0)
    np.savez(path, keypoints=RAT, names=NAMES, confidence=0.9 * SCORES)
    assert "min_confidence: " in refusal(path, min_confidence=0.95)
    with pytest.raises(UserError, match="min_confidence"):
        KeyPointOptions(min_confidence=2.0)
    for wrong in (SCORES.astype("S5"), np.zeros((*SCORES.shape, 2))):
        write_nwb(tmp_path / "points.nwb", RAT, wrong)
        assert "expected a confidence for each point" in refusal(tmp_path / "points.nwb")


def test_zeros_are_points_that_were_not_found(tmp_path):
    np.savez(tmp_path / "points.npz", keypoints=np.nan_to_num(RAT), names=NAMES)
    np.testing.assert_array_equal(read(tmp_path / "points.npz").positions, RAT)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"keypoints": RAT[..., :2]}, "holds 2-D points, as one camera sees them; triangulate"),
        ({"keypoints": RAT[:, :3]}, "can be read in several ways"),
        (
            {"keypoints": RAT[:, :3], "names": NAMES},
            "does not have the 7 points that the file names",
        ),
        ({"keypoints": RAT, "names": NAMES[:1] * 7}, "a name of its own for every point"),
        ({"keypoints": RAT[:0], "names": NAMES}, "holds no frames"),
        ({"keypoints": RAT * np.nan, "names": NAMES}, "none of its points was found"),
        ({"keypoints": RAT}, "has no names for its 7 points"),
        (
            {"qpos": np.zeros((5, 10)), "keypoints": RAT},
            "holds poses ('qpos'), expected key points",
        ),
        ({"com": RAT[:, 0]}, "centre of mass 'com' alone"),
        ({"a": RAT, "b": RAT}, "found several such arrays: 'a' (12, 7, 3)"),
        ({"speed": RAT[:, 0, 0]}, "found none: 'speed' (12,)"),
        ({"keypoints": np.array([{}], object), "names": NAMES}, "found none: 'keypoints'"),
    ],
)
def test_arrays_that_are_no_key_points_are_refused(variables, message, tmp_path):
    np.savez(tmp_path / "points.npz", **variables)
    assert message in refusal(tmp_path / "points.npz")


def test_files_of_one_camera_are_refused_with_the_reason(tmp_path):
    flat = np.zeros((1, 2, 7, FRAMES))
    write_h5(tmp_path / "analysis.h5", tracks=flat, node_names=cells())
    assert "triangulate the files of all cameras" in refusal(tmp_path / "analysis.h5")
    write_h5(
        tmp_path / "labels.slp",
        **dict.fromkeys(("frames", "instances", "points", "pred_points"), 0),
    )
    assert "is a SLEAP project (.slp), whose points are 2-D" in refusal(tmp_path / "labels.slp")
    header = [
        ["scorer", "net", "net", "net"],
        ["bodyparts", *["nose"] * 3],
        ["coords", "x", "y", "likelihood"],
    ]
    write_rows(tmp_path / "dlc.csv", *header, [0, 1.0, 2.0, 0.9])
    assert "holds 2-D points (x and y, no z)" in refusal(tmp_path / "dlc.csv")
    write_nwb(tmp_path / "pose.nwb", RAT[..., :2], SCORES)
    assert "holds 2-D points" in refusal(tmp_path / "pose.nwb")


def test_other_tables_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    for header, row, message in (
        (["root_x", "root_y", "root_z", "root_qw", "hip"], [0.0] * 5, "holds poses"),
        (["hip", "knee"], [0.0, 1.0], "no columns NAME_x, NAME_y, NAME_z"),
        (["a_x", "a_y", "b_x", "b_y", "b_z"], [1.0] * 5, "point 'a' has no column z"),
        (["a_x", "a_y", "a_z", "a_x"], [1.0] * 4, "two columns for x of point 'a'"),
        (["a_x", "a_y", "a_z"], [1.0, 2.0], "its header has 3 columns, its rows 2"),
        (["a_x", "a_y", "a_z"], [1.0, "two", 3.0], "expected a table of numbers"),
        ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], "has no header"),
        (["a_x", "a_y", "a_z"], [], "has no frames"),
    ):
        write_rows(path, header, *[row] * bool(row))
        assert message in refusal(path)
    rows = [["NA" if np.isnan(v) else v for v in row] for row in table(1000 * RAT)]
    write_rows(path, *rows)
    found = read(path, points=",".join(NAMES))
    np.testing.assert_allclose(found.positions, RAT, rtol=0, atol=1e-9)


def test_a_row_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("a," * 1_000_000 + "\n1,2\n")
    assert "a row has 1000001 columns" in refusal(path)


def test_pickles_are_not_executed(tmp_path):
    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "points.p"
    path.write_bytes(pickle.dumps(Program()))
    assert "is a pickle, which may hold programs" in refusal(path)
    np.save(tmp_path / "points.npy", np.array([Program()], object))
    assert "Python objects" in refusal(tmp_path / "points.npy")
    np.savez(tmp_path / "points.npz", keypoints=np.array([Program()], object))
    refusal(tmp_path / "points.npz")
    assert not (tmp_path / "ran").exists()


def test_damaged_files_are_refused_or_read(layout, tmp_path):
    path = tmp_path / layout
    LAYOUTS[layout](path, 1000.0 * RAT, SCORES)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    few = whole.startswith(b"MATLAB 5")  # which are read in a process each, see test_array_sources
    is_text = b"\0" not in whole
    for size in np.linspace(0, len(whole) - 1, 1 if few else 12).astype(int).tolist():
        path.write_bytes(whole[:size])
        if not is_text:
            refusal(path)
    for place in rng.integers(0, len(whole), 1 if few else 60):  # some bytes do not matter
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            found = read(path)
            assert found.positions.shape[1:] == (len(found.names), 3)
        except UserError as error:
            assert "\n" not in str(error)


def test_readers_of_poses_point_at_the_fit(layout, tmp_path):
    path = tmp_path / layout.replace(".txt", ".csv")
    LAYOUTS[layout](path, RAT, SCORES)
    try:
        with open_recording(path) as recording:
            message = " ".join(recording.notes)  # columns may be of joints, too
    except UserError as error:
        message = str(error)
    if layout != "two_rows.tsv":  # refused for its header
        assert f"(`vnl-mjx fit {path} POSES.h5`)" in message


# recorded files


def test_the_real_files_are_read_or_refused(shared_data):
    folder, reference = shared_data / "keypoints", shared_data / "reference"
    mouse = folder / "mouse_kp_3600.h5"
    assert "points=mouse34" in refusal(mouse)
    found = read(mouse, points="mouse34")
    assert found.positions.shape == (3600, 34, 3)
    assert "-y is taken for up: the feet are below the trunk along it" in found.notes
    assert "points=rat23" in refusal(reference / "rodent_keypoints_1000f.mat")
    assert "triangulate" in refusal(folder / "sleap_analysis_top.h5")
    assert "found names alone (to be given as points=" in refusal(folder / "rat23.mat")
    assert "expected a table of numbers" in refusal(folder / "README.md")
    for fitted in ("stac_rodent_50f.h5", "rodent_mocap_4x250.h5"):
        assert "give the file to `vnl-mjx preprocess" in refusal(reference / fitted)


def test_the_real_rat_is_the_same_in_all_its_files(shared_data):
    """DANNCE's file in millimetres, the same as NWB, and the points that STAC kept in metres."""
    path = shared_data / "reference" / "rodent_keypoints_1000f.mat"
    rat = read(path, points="rat23")
    assert rat.names == given_names(str(shared_data / "keypoints" / "rat23.mat"))
    assert rat.rate_hz is None
    nwb = read(shared_data / "keypoints" / "rodent_kp_1000.nwb")
    assert nwb.names == rat.names and nwb.rate_hz == pytest.approx(30.0)
    np.testing.assert_array_equal(nwb.positions, rat.positions)
    with h5py.File(shared_data / "keypoints" / "rodent_kp_1000.nwb") as file:
        place = "processing/behavior/PoseEstimation/{}/confidence"
        peaks = [np.median(np.asarray(file[place.format(name)])) for name in ("Snout", "HipL")]
    assert np.round(peaks, 3).tolist() == [0.292, 0.001]  # as in docs/keypoint_files.md
    assert any("peaks of maps" in note for note in nwb.notes)
    with h5py.File(shared_data / "reference" / "stac_rodent_50f.h5") as file:
        names = np.asarray(file["kp_names"]).astype(str).tolist()
        kept = np.asarray(file["kp_data"]).reshape(50, len(names), 3)
    places = [rat.names.index(name) for name in names]
    np.testing.assert_allclose(kept, rat.positions[:50, places], atol=1e-6)
