"""The bundled teacher and clips: they load, are small, and do what their model card says."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.train.experiment import build_experiment
from vnl_mjx.compat.track_mjx_writer import save_track_mjx
from vnl_mjx.config.loading import load_distillation_config
from vnl_mjx.config.teacher import own_task
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER, TORQUE_TEACHER, make
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.imitation import ImitationTask
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
    return build_task(teacher.task, walker)


def test_what_is_committed_is_small_and_names_no_machine():
    files = [path for path in DEMO.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    # of which a student with its teacher has 4
    assert sum(path.stat().st_size for path in files) < 10_000_000
    for path in files:
        absolute = re.search(rb"/(home|root|tmp|work|Users)/", path.read_bytes())
        assert absolute is None, f"{path} holds {absolute}"


def test_teacher_loads_as_a_track_mjx_checkpoint(teacher: LoadedTeacher, task: ImitationTask):
    assert teacher.warnings == ()
    assert teacher.task == own_task()
    network = teacher.policy.config
    assert (network.reference_size, network.proprioception_size, network.action_size) == (
        task.layout.reference_size,
        task.layout.proprioception_size,
        task.action_size,
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(teacher.policy.params))
    assert f"{parameters:,}".replace(",", " ") in CARD


def test_clips_say_that_a_policy_made_them(clips: ReferenceClips, task: ImitationTask):
    task.check_clips(clips)
    assert len(clips.info) == clips.num_clips
    for name, info in zip(clips.names, clips.info, strict=True):
        assert info.made_by.startswith("rollout of"), name
        assert info.label
        assert f"`{name}`" in CARD
    labels = {info.label for info in clips.info}
    assert {"walk", "trot", "stand"} <= labels


def test_clips_stand_on_the_floor_and_walk(clips: ReferenceClips, walker: Walker):
    height = np.asarray(clips.body_positions)[:, walker.root_body, 2]
    assert 0.03 < height.min() and height.max() < 0.15
    speed = np.linalg.norm(np.asarray(clips.velocity)[:, :2], axis=-1)
    assert np.quantile(speed, 0.9) > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("teacher", [DEMO_TEACHER, TORQUE_TEACHER], ids=lambda path: path.name)
def test_teacher_tracks_as_the_card_says(teacher: Path, run_as_user, tmp_path: Path):
    figures = tmp_path / "figures.json"
    run_as_user("eval-teacher", teacher, "--episodes", 0, "--json", figures)
    pooled = json.loads(figures.read_text())["all"]
    position, torque = CARD.split("## The teacher of torque actuators")
    stated = {
        name: float(value)
        for name, value in re.findall(
            r"^\| (survival|reward|root error)[^|]*\| ([\d.]+)",
            position if teacher == DEMO_TEACHER else torque,
            re.M,
        )
    }
    assert 100 * pooled["survival"] == pytest.approx(stated["survival"], abs=4.0)
    assert pooled["reward_fraction"] == pytest.approx(stated["reward"], abs=0.02)
    assert pooled["root_error_mm"] == pytest.approx(stated["root error"], abs=1.0)


def test_the_other_teacher_is_of_torques():
    torque = load_teacher(TORQUE_TEACHER)
    body = replace(own_task().walker, torque_actuators=True)
    assert torque.warnings == ()
    assert torque.task == replace(own_task(), walker=body, initial_activation="zero")


def test_distillation_finds_both_by_default():
    experiment = build_experiment(load_distillation_config())
    assert experiment.teacher.task == own_task()
    assert experiment.clips_of("held_out").num_clips > 0


def test_bundling_keeps_the_policy_and_leaves_the_training_state(
    teacher: LoadedTeacher, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(make, "DEMO_TEACHER", tmp_path / "bundled")
    monkeypatch.setattr(make, "DEMO_CLIPS", tmp_path / "clips.h5")
    size = teacher.policy.config.observation_size
    statistics = {name: np.full(size, 2.0, np.float32) for name in ("mean", "std")}
    statistics |= {"count": np.float32(5), "summed_variance": np.ones(size, np.float32)}
    train_state = {"normalizer_params": statistics, "bulk": np.zeros(100_000, np.float32)}
    config = copy.deepcopy(teacher.raw_config)  # with a term that only training needed
    config["vnl_mjx"]["task"]["reward"]["terms"] = {"below_floor": {"weight": -1.0}}
    save_track_mjx(tmp_path / "run", 7, teacher.policy.params, statistics, config, train_state)
    assert load_teacher(tmp_path / "run").task != teacher.task
    make.bundle(tmp_path / "run", DEMO_CLIPS)
    bundled = load_teacher(tmp_path / "bundled")
    assert bundled.step == 7 and bundled.task == teacher.task
    jax.tree.map(np.testing.assert_array_equal, bundled.policy.params, teacher.policy.params)
    np.testing.assert_array_equal(bundled.policy.obs_mean, statistics["mean"])
    assert (tmp_path / "clips.h5").read_bytes() == DEMO_CLIPS.read_bytes()
    assert not (tmp_path / "bundled" / "PPONetwork_7" / "train_state" / "bulk").exists()
