"""Recordings in the layouts of other projects: what is read of each, and what it is refused for."""

import pickle
from pathlib import Path

import dm_control
import h5py
import numpy as np
import pytest

from vnl_mjx.clips.recording import match_joints
from vnl_mjx.clips.sources import SourceOptions, describe_recording, open_recording
from vnl_mjx.errors import UserError

NAMES = ("hip", "knee", "ankle")
FRAMES = 12


@pytest.fixture
def qpos() -> np.ndarray:
    """Poses of a body that stands and turns a little, [frame, 10]."""
    rng = np.random.default_rng(0)
    values = rng.normal(scale=0.3, size=(FRAMES, 10))
    values[:, 3:7] = [1.0, 0.0, 0.0, 0.0]
    values[:, 6] = np.linspace(0.0, 1.0, FRAMES)
    values[:, 3:7] /= np.linalg.norm(values[:, 3:7], axis=1, keepdims=True)
    return values


def parts(qpos: np.ndarray, order: str = "wxyz") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = [3, 4, 5, 6] if order == "wxyz" else [4, 5, 6, 3]
    return qpos[:, :3], qpos[:, columns], qpos[:, 7:]


def refusal(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught, open_recording(path, SourceOptions(**options)):
        pass
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


def assert_read(path: Path, qpos: np.ndarray, **expected) -> tuple[str, ...]:
    """Checks the poses and other attributes of what is read; returns its notes."""
    options = SourceOptions(**expected.pop("options", {}))
    with open_recording(path, options) as recording:
        np.testing.assert_allclose(recording.qpos[:], qpos, atol=1e-12)
        np.testing.assert_allclose(recording.qpos[3:5], qpos[3:5], atol=1e-12)
        for name, value in expected.items():
            assert getattr(recording, name) == value, name
        return recording.notes


# --- text -----------------------------------------------------------------------------------------


def test_csv_without_names_is_lafan1s(tmp_path, qpos):
    """TRIALS T17."""
    path = tmp_path / "walk.csv"
    np.savetxt(path, np.concatenate(parts(qpos, "xyzw"), axis=1), delimiter=",", fmt="%.17g")
    notes = assert_read(path, qpos, has_root=True, joint_names=None, rate_hz=None)
    assert "quaternions read as x y z w" in notes
    with open_recording(path) as recording:
        assert "quaternion_order=xyzw" in describe_recording(recording)["assumed"]
    raw = np.concatenate(parts(qpos, "xyzw"), axis=1)
    assert_read(path, raw, options={"quaternion_order": "wxyz"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_names_is_read_by_name(tmp_path, qpos, delimiter):
    names = [
        "time",
        "hip",
        "root_qx",
        "root_qy",
        "root_qz",
        "root_qw",
        "root_x",
        "root_y",
        "root_z",
    ]
    names += ["knee", "ankle"]
    time = np.arange(FRAMES)[:, None] / 40.0
    columns = [time, qpos[:, 7:8], qpos[:, 4:7], qpos[:, 3:4], qpos[:, :3], qpos[:, 8:]]
    path = tmp_path / "walk.csv"
    header = delimiter.join(names)
    table = np.concatenate(columns, axis=1)
    np.savetxt(path, table, delimiter=delimiter, header=header, comments="", fmt="%.17g")
    notes = assert_read(path, qpos, has_root=True, joint_names=NAMES)
    assert notes == ()
    with open_recording(path) as recording:
        assert recording.rate_hz == pytest.approx(40.0)
        assert "quaternion_order" in recording.settled
    no_w = np.delete(table, 5, axis=1)
    header = delimiter.join(np.delete(names, 5))
    np.savetxt(path, no_w, delimiter=delimiter, header=header, comments="", fmt="%.17g")
    assert "names a root without quaternion w" in refusal(path)


def test_csv_of_joints_alone(tmp_path, qpos):
    path = tmp_path / "arm.csv"
    np.savetxt(path, qpos[:, 7:], header="  ".join(NAMES), fmt="%.17g")  # "# hip  knee  ankle"
    assert_read(path, qpos[:, 7:], has_root=False, joint_names=NAMES)
    np.savetxt(path, qpos[:, 7:], delimiter=",", header=",".join(NAMES), comments="", fmt="%.17g")
    assert_read(path, qpos[:, 7:], has_root=False, joint_names=NAMES)


def test_csv_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "walk.csv"
    path.write_text("1,2,3\n4,5\n")
    assert "as many columns in each" in refusal(path)
    path.write_text("a,b\n1,2,3\n")
    assert "2 names, expected 3" in refusal(path)
    path.write_text("hip,knee,ankle\n")
    assert "has no frames" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00")
    refusal(path)


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("root_pos", "root_quat", "joint_pos"), ("position", "quaternion", "joints")],
)
def test_root_and_joints_apart(tmp_path, qpos, names):
    path = tmp_path / "walk.npz"
    values = dict(zip(names, parts(qpos), strict=True))
    np.savez(path, fps=30, joint_names=NAMES, **values)
    assert_read(path, qpos, rate_hz=30.0, joint_names=NAMES, has_root=True)
    values[names[1]] = values[names[1]][:-1]
    np.savez(path, fps=30, **values)
    assert "expected (frames, 3), (frames, 4)" in refusal(path)


@pytest.mark.parametrize("name", ["rate_hz", "fps", "frequency", "mocap_frame_rate"])
def test_rates_have_many_names(tmp_path, qpos, name):
    """TRIALS T17."""
    path = tmp_path / "walk.npz"
    np.savez(path, qpos=qpos, **{name: [120]})
    assert_read(path, qpos, rate_hz=120.0)


def test_gmrs_pickles_are_x_y_z_w(tmp_path, qpos):
    """TRIALS T17."""
    path = tmp_path / "walk.pkl"
    position, quaternion, joints = parts(qpos, "xyzw")
    values = {"fps": 30, "root_pos": position, "root_rot": quaternion, "dof_pos": joints}
    values |= {"local_body_pos": None, "link_body_list": None}
    path.write_bytes(pickle.dumps(values))
    notes = assert_read(path, qpos, rate_hz=30.0, has_root=True)
    assert "quaternions read as x y z w" in notes
    path.write_bytes(pickle.dumps({"fps": 30, "root_pos": position}))
    assert "root_pos, root_rot and dof_pos as GMR" in refusal(path)


def test_mjlabs_bodies_give_the_root(tmp_path, qpos):
    path = tmp_path / "walk.npz"
    position, quaternion, joints = parts(qpos)
    bodies = np.stack([position, position + 1.0], axis=1), np.stack([quaternion] * 2, axis=1)
    values = {"fps": [50], "joint_pos": joints, "joint_vel": joints}
    np.savez(path, **values, body_pos_w=bodies[0], body_quat_w=bodies[1])
    notes = assert_read(path, qpos, rate_hz=50.0, has_root=True)
    assert "the first body of 'body_pos_w' is taken for the root" in notes


def test_locomujocos_files(tmp_path, qpos):
    path = tmp_path / "walk.npz"
    takes = {"split_points": [0, 5, FRAMES], "frequency": 100.0}
    np.savez(path, qpos=qpos, qvel=qpos[:, 1:], joint_names=("root", *NAMES), **takes)
    assert_read(path, qpos, rate_hz=100.0, joint_names=NAMES, has_root=True)
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.take_lengths, [5, FRAMES - 5])
    time = np.arange(200) / 250.0
    swing = np.stack([np.sin(2 * np.pi * time + phase) for phase in range(3)], axis=1)
    speed = np.gradient(swing, 1.0 / 250.0, axis=0)
    each = {f"q_{n}": swing[:, i] for i, n in enumerate(NAMES)}
    each |= {f"dq_{n}": speed[:, i] for i, n in enumerate(NAMES)}
    np.savez(path, **each)
    assert_read(path, swing, joint_names=NAMES, has_root=False, rate_hz=None, rate_hint=250.0)


def test_flygyms_angles_by_leg(tmp_path):
    path = tmp_path / "fly.npz"
    dofs = [("thorax", "coxa", "pitch"), ("coxa", "trochanterfemur", "roll")]
    angles = np.random.default_rng(0).normal(size=(FRAMES, 3, 2))
    np.savez(path, joint_angles=angles, legs=("lf", "lm", "rh"), dofs_per_leg=dofs, data_fps=330)
    flat = angles.reshape(FRAMES, 6)
    assert_read(path, flat, rate_hz=330.0, has_root=False)
    with open_recording(path) as recording:
        assert recording.joint_names is not None
        assert recording.joint_names[:2] == (
            "c_thorax-lf_coxa-pitch",
            "lf_coxa-lf_trochanterfemur-roll",
        )
        assert recording.other_names[0][4:] == ("joint_RHCoxa", "joint_RHFemur_roll")


def test_parts_that_do_not_fit_are_refused(tmp_path, qpos):
    path = tmp_path / "take.npz"
    np.savez(path, joint_angles=np.zeros((9, 3, 2)), legs=("lf",), dofs_per_leg=("a", "b"))
    assert "do not fit together" in refusal(path)
    np.savez(path, joint_pos=qpos[:, 7:], body_pos_w=np.zeros(9), body_quat_w=np.zeros(9))
    assert "do not fit together" in refusal(path)
    np.savez(path, qpos=qpos, split_points=[0, 5])
    assert "takes of 5 frames" in refusal(path)


def test_smpl_and_lfs_are_refused_with_the_reason(tmp_path):
    """TRIALS T17."""
    np.savez(tmp_path / "smpl.npz", poses=np.zeros((9, 156)), trans=np.zeros((9, 3)))
    assert "retarget them" in refusal(tmp_path / "smpl.npz")
    pointer = tmp_path / "take.h5"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "`git lfs pull`" in refusal(pointer)


# --- dm_control -----------------------------------------------------------------------------------


def trajectory() -> Path:
    return Path(dm_control.__file__).parent / "locomotion" / "mocap" / "test_trajectories.h5"


def test_dm_controls_own_trajectories():
    from dm_control.locomotion.mocap.loader import HDF5TrajectoryLoader
    from dm_control.locomotion.walkers.cmu_humanoid import CMUHumanoid

    expected = []
    loader = HDF5TrajectoryLoader(str(trajectory()))
    for key in loader.keys():
        pose = loader.get_trajectory(key).as_dict()
        named = (pose[f"walker/{name}"] for name in ("position", "quaternion", "joints"))
        expected.append(np.concatenate(list(named), axis=1))
    names = tuple(joint.name for joint in CMUHumanoid().mocap_joints)
    with open_recording(trajectory()) as recording:
        np.testing.assert_array_equal(recording.qpos[:], np.concatenate(expected))
        np.testing.assert_array_equal(recording.qpos[8:13], np.concatenate(expected)[8:13])
        assert recording.joint_names == names
        assert recording.take_names == tuple(loader.keys())
        assert recording.rate_hz == pytest.approx(20.0)
        assert "assumed" not in describe_recording(recording)


def test_damaged_trajectories_are_refused(tmp_path):
    path = tmp_path / "walk.h5"
    path.write_bytes(trajectory().read_bytes())
    with h5py.File(path, "r+") as file:
        del file["cmuv2019_001/walkers/walker_0/position"]
    assert "cmuv2019_001/walkers/walker_0/position missing" in refusal(path)
    path.write_bytes(trajectory().read_bytes())
    with h5py.File(path, "r+") as file:
        file["cmuv2019_002"].attrs["dt"] = 0.1
    assert "one body at one rate" in refusal(path)


# --- joints ---------------------------------------------------------------------------------------


def test_missing_joints_are_refused_or_held(toy_walker, tmp_path):
    path = tmp_path / "walk.npz"
    values = np.random.default_rng(0).normal(size=(FRAMES, 2))
    np.savez(path, qpos=values, joint_names=("ankle_back", "hip_front"), rate_hz=50)
    with open_recording(path) as recording:
        with pytest.raises(UserError, match="root's motion is missing.*missing_joints=rest"):
            match_joints(recording, toy_walker)
        order, note = match_joints(recording, toy_walker, "rest")
        assert order is None and note is not None
        assert "no root in the file" in note and "2 joints that the file lacks" in note
        expected = np.tile(toy_walker.model.qpos0, (FRAMES, 1))
        expected[:, [10, 7]] = values
        np.testing.assert_array_equal(recording.qpos[:], expected)
    np.savez(path, qpos=values, joint_names=("ankle_back", "elbow"), rate_hz=50)
    with (
        open_recording(path) as recording,
        pytest.raises(UserError, match="1 joints are not in the walker: 'elbow'"),
    ):
        match_joints(recording, toy_walker, "rest")


def test_the_joints_alone_of_a_body_with_a_root(toy_walker, tmp_path):
    """TRIALS T17."""
    path = tmp_path / "walk.npz"
    values = np.random.default_rng(0).normal(size=(FRAMES, 4))
    np.savez(path, qpos=values, rate_hz=50)
    with open_recording(path) as recording:
        with pytest.raises(UserError, match="the root's motion is missing; add it"):
            match_joints(recording, toy_walker)
        _, note = match_joints(recording, toy_walker, "rest")
        assert note is not None and "no root in the file: held still" in note
        np.testing.assert_array_equal(recording.qpos[:][:, 7:], values)


def test_joints_without_names_may_have_no_root(arm, arm_poses, tmp_path):
    path = tmp_path / "arm.npz"
    np.savez(path, qpos=arm_poses, rate_hz=50)
    with open_recording(path) as recording:
        match_joints(recording, arm)
        assert not recording.has_root


# --- real files -----------------------------------------------------------------------------------


@pytest.mark.parity
def test_real_files_of_other_projects(shared_data):
    bodies = shared_data / "bodies"
    if not bodies.is_dir():
        pytest.skip("needs ../shared/data/bodies")
    with open_recording(bodies / "g1_walk1_subject1.csv") as walk:
        assert walk.qpos.shape == (7840, 36) and walk.has_root
        assert walk.qpos[0][3] == pytest.approx(0.999709)
    with open_recording(bodies / "flygym_spotlight.npz") as fly:
        assert fly.qpos.shape == (660, 42) and fly.rate_hz == 330.0
    with open_recording(bodies / "loco_full_humanoid.npz") as humanoid:
        assert humanoid.qpos.shape == (500, 51) and humanoid.rate_hint == pytest.approx(
            500, rel=0.1
        )
        assert humanoid.joint_names is not None and humanoid.joint_names[0] == "pelvis_tx"
    with open_recording(shared_data / "trials" / "names_with_root.npz") as rat:
        assert rat.num_joints == 67 and rat.has_root
