"""Exports to track-mjx, by the rules of its reader and as the files that it reads."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from dm_control_tasks import walking_about

from vnl_mjx.clips.container import REFERENCE_CLIP_FEATURES, ReferenceClips
from vnl_mjx.clips.exporters.track_mjx import export_all_clips, export_stac
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.errors import UserError


def as_track_mjx_reads(path: Path) -> dict[str, np.ndarray]:
    """What `make_multiclip_data` takes from a STAC file, [clip, frame, ...]."""
    with h5py.File(path) as file:
        config = yaml.safe_load(file["config"][()].decode("utf-8"))
        length = config["stac"]["n_frames_per_clip"]
        return {
            name: file[name][()].reshape(-1, length, *file[name].shape[1:])
            for name in ("qpos", "qvel", "xpos", "xquat")
        }


@pytest.fixture(scope="module")
def equal_clips(rodent) -> ReferenceClips:
    return walking_about(rodent, [8, 8, 8], names=("walk_0", "rear 7/2", "LGroom_1"))


def test_stac_export_is_what_track_mjx_reads(rodent, equal_clips, tmp_path):
    export_stac(tmp_path / "stac.h5", equal_clips, rodent)
    found = as_track_mjx_reads(tmp_path / "stac.h5")
    clip = equal_clips.window(1, 0, 8)
    np.testing.assert_array_equal(found["qpos"][1], clip.qpos())
    np.testing.assert_array_equal(found["qvel"][1], clip.qvel())
    with h5py.File(tmp_path / "stac.h5") as file:
        names = [name.decode() for name in file["names_xpos"]]
        assert [name.decode() for name in file["names_qpos"][:8]] == ["root"] * 7 + [
            "vertebra_1_extend"
        ]
        config = yaml.safe_load(file["config"][()])
    assert names[:4] == ["world", "walker", "torso", "vertebra_1"]
    assert len(names) == 67
    rows = [rodent.body_names.index(name) for name in names]
    np.testing.assert_array_equal(found["xpos"][1], clip.body_positions[:, rows])
    np.testing.assert_array_equal(found["xquat"][1], clip.body_quaternions[:, rows])
    # vnl-playground searches each name for a behaviour and a number, and fails where there is none
    assert config["model"]["snips_order"] == ["walk_0.p", "rear 7_2_clip_1.p", "LGroom_1.p"]
    back = read_clips(tmp_path / "stac.h5", rodent)
    assert back.sha256 == equal_clips.sha256
    assert back.names == ("walk_0", "rear 7_2_clip_1", "LGroom_1")
    for name in REFERENCE_CLIP_FEATURES:
        np.testing.assert_array_equal(getattr(back, name), getattr(equal_clips, name))


def test_stac_export_has_the_fields_of_real_stac_output(shared_data, rodent, tmp_path):
    source = shared_data / "reference" / "stac_rodent_10f.h5"
    export_stac(tmp_path / "stac.h5", read_clips(source, rodent), rodent)
    with h5py.File(source) as real, h5py.File(tmp_path / "stac.h5") as ours:
        keypoints = {"kp_names", "kp_data", "offsets", "marker_sites"}
        assert set(real) - keypoints == set(ours)
        for name in set(ours) - {"config", "qvel"}:  # this file's qvel is empty
            assert (real[name].shape, real[name].dtype) == (ours[name].shape, ours[name].dtype)
            np.testing.assert_array_equal(real[name], ours[name])
        assert ours["qvel"].shape == (10, 73)
        assert (ours["config"].shape, ours["config"].dtype.kind) == ((), "S")
        configs = [yaml.safe_load(file["config"][()]) for file in (real, ours)]
    for section, keys in configs[1].items():  # no key and no type that stac-mjx does not have
        for key, value in keys.items():
            assert key == "snips_order" or type(value) is type(configs[0][section][key]), key


def test_stac_export_has_the_fields_of_the_recorded_clips(shared_data, rodent, tmp_path):
    source = shared_data / "reference" / "rodent_mocap_4x250.h5"
    export_stac(tmp_path / "stac.h5", read_clips(source, rodent), rodent)
    found, expected = as_track_mjx_reads(tmp_path / "stac.h5"), as_track_mjx_reads(source)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_all_clips_export_has_track_mjxs_fields_and_no_floor(rodent, equal_clips, tmp_path):
    path = tmp_path / "clips.h5"
    export_all_clips(path, equal_clips, rodent)
    with h5py.File(path) as file:
        group = {name: values[()] for name, values in file["all_clips"].items()}
    shapes = {"joints": (67,), "joints_velocity": (67,), "quaternion": (4,)}
    shapes |= {n: (3,) for n in ("position", "velocity", "angular_velocity")}
    shapes |= {"body_positions": (67, 3), "body_quaternions": (67, 4)}
    assert {name: values.shape for name, values in group.items()} == {
        name: (3, 8, *shape) for name, shape in shapes.items()
    }
    assert {values.dtype for values in group.values()} == {np.dtype("float32")}
    torso = np.asarray(equal_clips.body_positions)[:, rodent.root_body].reshape(3, 8, 3)
    np.testing.assert_array_equal(group["body_positions"][:, :, 2], torso)
    back = read_clips(path, rodent)
    assert (back.names, back.sha256) == (equal_clips.names, equal_clips.sha256)
    for name in REFERENCE_CLIP_FEATURES:
        np.testing.assert_array_equal(getattr(back, name), getattr(equal_clips, name))


@pytest.mark.parametrize("export", [export_stac, export_all_clips])
def test_clips_of_unequal_lengths_are_refused(export, toy_walker, toy_clips, tmp_path):
    with pytest.raises(UserError, match="30 to 40 frames.*vnl-mjx clips split IN OUT") as caught:
        export(tmp_path / "x.h5", toy_clips, toy_walker)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
