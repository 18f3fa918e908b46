"""The root's motion estimated from standing feet: of a made walk, by the command's own way."""

import numpy as np
import pytest
from preprocess_helpers import RATE_HZ, run

from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.errors import UserError
from vnl_mjx.gait.generate import make_gait
from vnl_mjx.gait.profile import GaitConfig


def yaw(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternion.T
    return np.unwrap(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def test_a_walk_without_its_root_is_walked_again(rodent, tmp_path):
    qpos = make_gait(rodent, GaitConfig(seconds=3.0, speed=0.2, turn=0.5)).qpos
    source = tmp_path / "angles.npz"
    np.savez(source, qpos=qpos[:, 7:], joint_names=rodent.joint_names, rate_hz=RATE_HZ)
    sections = {"source": {"missing_joints": "rest"}, "conditioning": {"root": "from_feet"}}
    run(rodent, [source], tmp_path / "clips.h5", **sections)
    found = np.asarray(read_clips(tmp_path / "clips.h5", rodent).qpos())
    way, walked = (np.linalg.norm(p[-1, :2] - p[0, :2]) for p in (qpos, found))
    assert walked == pytest.approx(way, rel=0.15)
    turned, made = (np.ptp(yaw(p[:, 3:7])) for p in (qpos, found))
    assert made == pytest.approx(turned, rel=0.15)
    assert np.abs(found[:, 2] - qpos[:, 2]).mean() < 0.002
    np.testing.assert_allclose(found[:, 7:], qpos[:, 7:], atol=1e-6)


def test_a_body_without_feet_is_refused_in_a_line(toy_walker, tmp_path):
    poses = np.tile(toy_walker.model.qpos0, (60, 1))
    np.savez(tmp_path / "day.npz", qpos=poses, rate_hz=RATE_HZ)
    with pytest.raises(UserError, match="three feet or more.*foot_names"):
        run(
            toy_walker,
            [tmp_path / "day.npz"],
            tmp_path / "c.h5",
            conditioning={"root": "from_feet"},
        )
