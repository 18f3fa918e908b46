"""The embedded teacher and clips: they load, are small, and do what their model card says."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.analysis.evaluate import draw_episodes
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER, make_teacher
from vnl_mjx.demo.expert import MAX_ACTION, MAX_POSE_DIFFERENCE, build_expert
from vnl_mjx.demo.make_clips import (
    BEHAVIOURS,
    NUM_FRAMES,
    RESOLUTION,
    TASK,
    Motion,
    check_motion,
    simulate,
)
from vnl_mjx.demo.make_teacher import Normalizer
from vnl_mjx.demo.replay import replay
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.vae_distillation import VaeDistillationTask
from vnl_mjx.utils.track_mjx_loader import LoadedTeacher, load_teacher
from vnl_mjx.walkers.walker import Walker, build_walker

DEMO = DEMO_CLIPS.parent
CARD = (DEMO / "MODEL_CARD.md").read_text()


@pytest.fixture(scope="module")
def teacher() -> LoadedTeacher:
    return load_teacher(DEMO_TEACHER)


@pytest.fixture(scope="module")
def walker(teacher: LoadedTeacher) -> Walker:
    return build_walker(teacher.task.walker)


@pytest.fixture(scope="module")
def clips(walker: Walker) -> ReferenceClips:
    return read_clips(DEMO_CLIPS, walker)


@pytest.fixture(scope="module")
def task(teacher: LoadedTeacher, walker: Walker) -> ImitationTask:
    return ImitationTask(teacher.task, walker, make_physics(walker.model, teacher.task.physics))


def test_what_is_committed_is_small_and_names_no_machine():
    files = [path for path in DEMO.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 3_000_000
    for path in files:
        absolute = re.search(rb"/(home|root|tmp|work|Users)/", path.read_bytes())
        assert absolute is None, f"{path} holds {absolute}"


def test_teacher_loads_as_a_track_mjx_checkpoint(teacher: LoadedTeacher, task: ImitationTask):
    assert teacher.warnings == ()
    assert teacher.task == TASK
    network = teacher.policy.config
    assert (network.reference_size, network.proprioception_size, network.action_size) == (
        task.layout.reference_size,
        task.layout.proprioception_size,
        task.action_size,
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(teacher.policy.params))
    assert f"{parameters:,}".replace(",", " ") in CARD


def test_clips_are_synthetic_by_name_and_fit_the_task(clips: ReferenceClips, task: ImitationTask):
    assert clips.names == tuple(BEHAVIOURS)
    assert all(name.startswith("synthetic_") and name in CARD for name in clips.names)
    assert set(np.asarray(clips.lengths)) == {NUM_FRAMES}
    assert clips.notes == ()  # nothing had to be completed or repaired
    task.check_clips(clips)


def test_clips_stand_on_the_floor(clips: ReferenceClips, walker: Walker):
    height = np.asarray(clips.body_positions)[:, walker.root_body, 2]
    low, high = TASK.termination.healthy_z_range
    assert height.min() > low + 0.01 and height.max() < high
    assert np.abs(clips.qvel()).max() < 10.0
    assert np.asarray(clips.joints).std(axis=0).max() > 0.1  # and they move


def test_simulation_is_deterministic_and_makes_the_committed_clips(
    clips: ReferenceClips, walker: Walker
):
    name = clips.names[1]
    first, second = (simulate(walker, name, seed=0, num_frames=40) for _ in range(2))
    np.testing.assert_array_equal(first.qpos, second.qpos)
    np.testing.assert_array_equal(first.ctrl, second.ctrl)
    start = int(np.asarray(clips.starts)[1])
    # The file is rounded; contacts may enlarge another processor's round-off.
    np.testing.assert_allclose(
        first.qpos, np.asarray(clips.qpos())[start : start + 40], atol=MAX_POSE_DIFFERENCE
    )
    other = simulate(walker, name, seed=1, num_frames=40)
    assert np.abs(other.qpos - first.qpos).max() > 0.05


def test_rounding_stays_below_what_matters(clips: ReferenceClips):
    for name, step in RESOLUTION.items():
        values = np.asarray(getattr(clips, name)) / step
        np.testing.assert_array_equal(values, np.round(values), err_msg=name)


def test_a_fallen_rodent_is_refused(walker: Walker):
    good = simulate(walker, "synthetic_look_around", seed=0, num_frames=5)
    check_motion("good", good)
    fallen = Motion(**{**vars(good), "root_height": good.root_height - 0.03})
    with pytest.raises(ValueError, match="torso height"):
        check_motion("fallen", fallen)


def test_teacher_tracks_as_the_card_says(
    teacher: LoadedTeacher, task: ImitationTask, clips: ReferenceClips
):
    episodes = draw_episodes(VaeDistillationTask(task), clips, 2 * clips.num_clips, seed=1)
    played = replay(teacher.policy, task, clips, episodes)
    assert played["survived"].mean() >= 0.9
    stated = {
        name: float(reward)
        for name, reward in re.findall(r"^\| `?(\w+)`? \| (\d\.\d+)", CARD, re.M)
    }
    assert set(stated) == {*clips.names, "all"}
    for index, name in enumerate(clips.names):
        rows = played["clip"] == index
        assert played["reward"][rows].mean() == pytest.approx(stated[name], abs=0.2)
    assert played["reward"].mean() == pytest.approx(stated["all"], abs=0.1)


def test_expert_holds_the_clip_and_refuses_clips_of_another_seed(
    walker: Walker, clips: ReferenceClips, task: ImitationTask
):
    one = clips.select([0])
    expert = build_expert(walker, one, seed=0)
    on_device = jax.tree.map(jnp.asarray, one)
    key = jax.random.PRNGKey(0)
    state = task.reset_to(key, on_device, jnp.int32(0), jnp.int32(7), key)
    # In the pose of the clip with its activations, the expert gives the recorded control.
    frame = on_device.at(0, 7)
    physics = state.physics.replace(qpos=frame.qpos(), act=expert.activation[7])
    action = expert.action(state.replace(physics=physics), on_device)
    np.testing.assert_allclose(action, jnp.clip(expert.ctrl[7], -MAX_ACTION, MAX_ACTION), atol=1e-6)
    with pytest.raises(UserError, match="seed 1"):
        build_expert(walker, one, seed=1)


def test_normalizer_is_the_mean_and_deviation_of_all_batches():
    data = np.random.default_rng(0).normal(3.0, 2.0, (200, 4)).astype(np.float32)
    zeros = jnp.zeros(4)
    normalizer = Normalizer(jnp.float32(0), zeros, jnp.ones(4), zeros)
    for batch in np.split(data, [50, 80]):
        normalizer = normalizer.updated(jnp.asarray(batch))
    assert normalizer.count == 200
    np.testing.assert_allclose(normalizer.mean, data.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std, data.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(normalizer.summed_variance, 200 * data.var(axis=0), rtol=1e-4)


def test_making_a_teacher_writes_a_checkpoint_that_loads(
    walker: Walker, clips: ReferenceClips, task: ImitationTask, tmp_path: Path, monkeypatch
):
    sizes = {
        "NUM_ENVS": 4,
        "UNROLL_LENGTH": 3,
        "KEPT_ITERATIONS": 2,
        "MINIBATCHES": 2,
        "BATCH_SIZE": 8,
    }
    for name, value in sizes.items():
        monkeypatch.setattr(make_teacher, name, value)
    one = clips.select([2])
    pupil = make_teacher.Pupil(task, one, build_expert(walker, one, seed=0))
    params, normalizer = make_teacher.teach(pupil, seed=0, iterations=3)
    make_teacher.save(tmp_path / "teacher", pupil, params, normalizer, one.source)
    loaded = load_teacher(tmp_path / "teacher")
    assert loaded.task == TASK
    jax.tree.map(np.testing.assert_array_equal, loaded.policy.params, params)
    np.testing.assert_array_equal(loaded.policy.obs_mean, normalizer.mean)
    assert normalizer.count == 3 * 4 * 3
    for path in (tmp_path / "teacher").rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()
