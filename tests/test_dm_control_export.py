"""Exports to dm_control, read by its own loader and task; and what every exporter shares."""

import datetime
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from dm_control_tasks import locomotion, physics_of, tracking_environment, walking_about
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.clips.container import ClipInfo, ReferenceClips
from vnl_mjx.clips.exporters.dm_control import clip_identifiers, export_dm_control
from vnl_mjx.clips.exporters.track_mjx import export_all_clips, export_stac
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.file import atomic_hdf5, fixed_length
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import points_in_frame
from vnl_mjx.walkers.walker import Walker, build_walker

POSE_FIELDS = {
    "position": 3,
    "quaternion": 4,
    "joints": 67,
    "center_of_mass": 3,
    "end_effectors": 12,
    "velocity": 3,
    "angular_velocity": 3,
    "joints_velocity": 67,
    "appendages": 15,
    "body_positions": 54,
    "body_quaternions": 72,
}


@pytest.fixture(scope="module")
def dm():
    return locomotion()


@pytest.fixture(scope="module")
def clips(rodent) -> ReferenceClips:
    return walking_about(rodent, [12, 20], names=("turn left", "walk/2"))


@pytest.fixture(scope="module")
def exported(rodent, clips, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dm_control") / "rat.h5"
    assert export_dm_control(path, clips, rodent) == ("turn_left", "walk_2")
    return path


def walker_group(path: Path, clip: str) -> dict[str, np.ndarray]:
    """Features of a clip in a dm_control file, [frame, dim]."""
    with h5py.File(path) as file:
        group = file[clip]["walkers/walker_0"]
        return {n: v[()].T for n, v in group.items() if isinstance(v, h5py.Dataset)}


# dm_control


def test_dm_control_layout_is_that_of_dm_controls_example(dm, exported):
    with h5py.File(exported) as ours, h5py.File(dm.trajectories) as theirs:
        clip, example = ours["walk_2"], theirs["cmuv2019_001"]
        assert {n: v.dtype for n, v in clip.attrs.items()} == {
            n: v.dtype for n, v in example.attrs.items()
        }
        group, expected = clip["walkers/walker_0"], example["walkers/walker_0"]
        assert set(clip) == set(example)
        assert set(group) == set(expected) == {*POSE_FIELDS, "markers", "scaling"}
        assert set(group.attrs) == set(expected.attrs)
        for name, dim in POSE_FIELDS.items():
            assert group[name].shape == (dim, 20)
            assert group[name].dtype == expected[name].dtype
            assert group[name].compression == expected[name].compression


def assert_as_dm_control_computes(dm, path: Path, clip: str, frames) -> None:
    trajectory = dm.Loader(str(path)).get_trajectory(clip, zero_out_velocities=False)
    features = {n.removeprefix("walker/"): v for n, v in trajectory.as_dict().items()}
    walker, physics = physics_of(dm, dm.Rat)
    for frame in frames:
        stored = {name: values[frame] for name, values in features.items()}
        dm.utils.set_walker_from_features(physics, walker, stored)
        physics.forward()
        computed = dm.utils.get_features(physics, walker)
        assert set(computed) == set(stored)
        for name, values in computed.items():
            np.testing.assert_allclose(stored[name], values, rtol=0, atol=1e-6, err_msg=name)


def test_dm_controls_loader_reads_what_dm_control_computes(dm, exported):
    loader = dm.Loader(str(exported))
    assert loader.keys() == ("turn_left", "walk_2")
    trajectory = loader.get_trajectory("walk_2")
    assert (trajectory.dt, trajectory.num_steps) == (0.02, 20)
    assert_as_dm_control_computes(dm, exported, "walk_2", range(0, 20, 6))


def test_real_recording_as_dm_control_computes(dm, rodent, shared_data, tmp_path):
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    export_dm_control(tmp_path / "rat.h5", clips, rodent)
    assert_as_dm_control_computes(dm, tmp_path / "rat.h5", "clip_3", (0, 120, 249))


def test_dm_controls_tracking_task_steps_on_it(dm, exported):
    environment = tracking_environment(dm, exported, ("turn_left", "walk_2"), (1, 2))
    environment.reset()
    assert environment.task._termination_error < 1e-6  # from joints and body positions
    spec = environment.action_spec()
    for _ in range(3):
        timestep = environment.step(np.zeros(spec.shape))
    assert timestep.reward > 0
    assert all(np.isfinite(np.asarray(v)).all() for v in timestep.observation.values())


def test_the_full_size_rat_moves_in_proportion_over_a_floor_at_zero(rodent, clips, exported):
    features = walker_group(exported, "walk_2")
    rows, scale = slice(12, 32), 1 / 0.9
    np.testing.assert_array_equal(features["joints"], clips.joints[rows])
    np.testing.assert_array_equal(features["joints_velocity"], clips.joints_velocity[rows])
    differences = np.gradient(features["position"], 0.02, axis=0)
    np.testing.assert_allclose(features["velocity"], differences, atol=2e-5)
    full = build_walker(WalkerConfig(rescale_factor=1.0))
    qpos = np.concatenate([features[n] for n in ("position", "quaternion", "joints")], axis=-1)
    poses = Kinematics(full.model)(qpos)
    # heights are over the floor of the model, which the file's is above by this
    heights = FootHeights(full)(poses.positions, poses.quaternions) + full.floor_height
    bodies = clips.body_positions[rows], clips.body_quaternions[rows]
    small = FootHeights(rodent)(*map(np.asarray, bodies))
    # not exact, as track-mjx's scaling leaves the joints' anchors where they are
    np.testing.assert_allclose(heights, scale * small, atol=3e-4)
    assert np.abs(heights - small).max() > 1e-3


def test_a_walker_can_be_kept_as_it_is(rodent, clips, toy_walker, toy_clips, tmp_path):
    export_dm_control(tmp_path / "kept.h5", clips, rodent, keep_walker=True)
    features = walker_group(tmp_path / "kept.h5", "turn_left")
    names = [n for n in rodent.body_names if n not in ("world", "floor", "walker")]
    names = [n for n in names if not n.startswith(("vertebra", "hand", "toe"))]
    ids = [rodent.body_names.index(name) for name in names]
    above_floor = np.asarray(clips.body_positions)[:12, ids] + [0, 0, 0.005]
    np.testing.assert_allclose(
        features["body_positions"].reshape(12, -1, 3), above_floor, atol=1e-6
    )
    np.testing.assert_allclose(
        features["appendages"].reshape(12, -1, 3), clips.appendages[:12], atol=1e-6
    )

    export_dm_control(tmp_path / "toy.h5", toy_clips, toy_walker)
    features = walker_group(tmp_path / "toy.h5", "sway_1")
    assert features["body_positions"].shape == (30, 3 * 5)  # the torso and what hangs on it
    np.testing.assert_allclose(
        features["end_effectors"].reshape(30, -1, 3), toy_clips.end_effectors[40:], atol=1e-6
    )
    with h5py.File(tmp_path / "toy.h5") as file:
        attributes = file["sway_1/walkers/walker_0"].attrs
        assert attributes["name"] == b"toy_walker"
        assert attributes["end_effector_names"].tolist() == [b"foot_front", b"foot_back"]


def test_date_is_recorded(toy_walker, toy_clips, tmp_path):
    day = datetime.date(2026, 2, 3)
    export_dm_control(tmp_path / "toy.h5", toy_clips, toy_walker, date=day)
    with h5py.File(tmp_path / "toy.h5") as file:
        assert [file["sway_0"].attrs[n] for n in ("year", "month", "day")] == [2026, 2, 3]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=6), max_size=6))
def test_identifiers_are_unique_and_safe(names):
    identifiers = clip_identifiers(names)
    assert len(identifiers) == len(names) == len(set(identifiers))
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) for name in identifiers)
    assert clip_identifiers(identifiers) == identifiers


def humanoid_walker(dm, folder: Path) -> tuple[Walker, list[str]]:
    """dm_control's CMU humanoid as one of our walkers, and its tracked bodies."""
    theirs, _ = physics_of(dm, dm.Humanoid)
    arena = theirs.mjcf_model.root_model  # in which the humanoid has a free joint
    (folder / "humanoid.xml").write_text(arena.to_xml_string())

    def of(bodies) -> list[str]:
        return [f"walker/{part.name}" for part in bodies]

    ends = of(theirs.end_effectors)
    config = WalkerConfig(
        source=str(folder / "humanoid.xml"),
        root_body="walker/root",
        joint_names=(),
        body_names=(),
        end_effector_names=tuple(ends),
        appendage_names=(*ends, "walker/head"),
        foot_names=("walker/lfoot", "walker/rfoot"),
        torque_actuators=False,
        rescale_factor=1.0,
    )
    walker = build_walker(config)
    order = [f"walker/{joint.name}" for joint in theirs.mocap_joints]
    assert order == list(walker.joint_names)
    return walker, of(theirs.mocap_tracking_bodies)


def test_features_of_dm_controls_own_trajectories(dm, tmp_path):
    """Data that we did not make: 20 poses of a humanoid. Its centre of mass is stored as zeros."""
    walker, tracked = humanoid_walker(dm, tmp_path)
    rows = [walker.body_names.index(name) for name in tracked]
    theirs, physics = physics_of(dm, dm.Humanoid)
    for clip in ("cmuv2019_001", "cmuv2019_002"):
        stored = walker_group(dm.trajectories, clip)
        qpos = np.concatenate([stored[n] for n in ("position", "quaternion", "joints")], axis=-1)
        computed = FeatureComputer(walker)(qpos, [len(qpos)], 20.0)
        expected = {n: stored[n] for n in ("end_effectors", "appendages")}
        expected |= {n: stored[n] for n in ("body_positions", "body_quaternions")}
        computed |= {n: computed[n][:, rows] for n in ("body_positions", "body_quaternions")}
        for name, values in expected.items():
            found = computed[name].reshape(len(qpos), -1)
            np.testing.assert_allclose(found, values, rtol=0, atol=2e-7, err_msg=name)
        assert not stored["center_of_mass"].any()
        dm.utils.set_walker(physics, theirs, qpos[4], np.zeros(62))
        physics.forward()
        center = dm.utils.get_features(physics, theirs)["center_of_mass"]
        np.testing.assert_allclose(computed["center_of_mass"][4], center, atol=1e-6)


# What every exporter shares


@pytest.mark.parametrize("export", [export_dm_control, export_stac, export_all_clips])
def test_no_path_of_this_machine_enters_a_file(export, toy_walker, toy_clips, tmp_path):
    source = Path(toy_walker.config.source)
    assert source.is_absolute()
    export(tmp_path / "x.h5", toy_clips.select([1]), toy_walker)
    content = (tmp_path / "x.h5").read_bytes()
    assert str(source.parent).encode() not in content
    assert str(tmp_path).encode() not in content


def test_made_motion_is_labelled_in_every_layout(dm, toy_walker, toy_clips, tmp_path):
    info = (ClipInfo(made_by="gait generator"), ClipInfo())
    clips = toy_clips.select([1, 1]).replace(info=info, names=("made", "seen"))
    for export in (export_dm_control, export_stac, export_all_clips):
        export(tmp_path / f"{export.__name__}.h5", clips, toy_walker)
    with h5py.File(tmp_path / "export_dm_control.h5") as file:
        assert file["made"].attrs["made_by"] == b"gait generator"
        assert "made_by" not in file["seen"].attrs
    assert dm.Loader(str(tmp_path / "export_dm_control.h5")).get_trajectory("made").num_steps == 30
    with h5py.File(tmp_path / "export_stac.h5") as file:
        config = yaml.safe_load(file["config"][()])
    assert config["vnl_mjx"]["made_by"] == ["gait generator", ""]
    with h5py.File(tmp_path / "export_all_clips.h5") as file:
        assert file.attrs["made_by"].tolist() == [b"gait generator", b""]
    for name in ("export_stac", "export_all_clips"):
        assert read_clips(tmp_path / f"{name}.h5", toy_walker).num_clips == 2


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"old")
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), atomic_hdf5(path) as file:
        file["half"] = np.zeros(3)
        raise error
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    for path, message in ((tmp_path / "absent" / "x.h5", "no folder"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=f"cannot be written.*{message}"), atomic_hdf5(path):
            pass


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_fixed_length_keeps_every_string(strings):
    assert [value.decode() for value in fixed_length(strings).tolist()] == strings


def test_in_frame_keeps_distances(rodent, clips):
    root = clips.body_positions[:, rodent.root_body], clips.body_quaternions[:, rodent.root_body]
    seen = points_in_frame(*map(np.asarray, root), np.asarray(clips.body_positions)[:, 4:8])
    distances = np.linalg.norm(seen, axis=-1)
    expected = np.linalg.norm(clips.body_positions[:, 4:8] - root[0][:, None], axis=-1)
    np.testing.assert_allclose(distances, expected, atol=1e-6)
