"""A teacher's training on bodies that differ: the command, its checkpoints, and who plays them."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.toy_teacher import STEPS_PER_UPDATE, toy_overrides
from vnl_mjx.cli import main
from vnl_mjx.commands.stored import load_stored_teacher
from vnl_mjx.commands.train.teacher_training import TeacherTraining
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.utils.track_mjx_loader import load_teacher

VARIED = [
    "task.randomization.num_variants=4",
    "task.randomization.friction=[0.5,1.5]",
    "task.randomization.link_mass=[0.7,1.3]",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_config):
    """A run of two updates with a checkpoint after each, and its overrides."""
    folder = tmp_path_factory.mktemp("varied")
    overrides = [
        *toy_overrides(folder, toy_config),
        *VARIED,
        f"run_dir={folder / 'run'}",
        f"ppo.num_steps={2 * STEPS_PER_UPDATE}",
        f"checkpoint_config.interval_steps={STEPS_PER_UPDATE}",
        "eval_config.interval_steps=0",
    ]
    assert main(["train-teacher", *overrides]) == 0
    return folder / "run", overrides


def build(overrides: list[str], run_dir: Path) -> TeacherTraining:
    return TeacherTraining(load_teacher_config(overrides), run_dir)


@pytest.mark.slow
def test_a_run_goes_on_on_the_same_bodies_bit_for_bit(finished):
    run_dir, overrides = finished
    training = build(overrides, run_dir)
    checkpointer = training.open_checkpointer(run_dir)
    fresh = training.initial_state()
    middle = checkpointer.restore(fresh, STEPS_PER_UPDATE)
    bodies = np.asarray(middle.rollout.environments.imitation.physics.variant)
    assert len(np.unique(bodies)) > 1 and bodies.max() < 4
    end, _ = training.trainer.update(middle)
    stored = checkpointer.restore(fresh, 2 * STEPS_PER_UPDATE)
    checkpointer.close()
    jax.tree.map(np.testing.assert_array_equal, end, stored)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("seed=1", "task.randomization.seed was 0, now 1"),
        ("friction=null", "task.randomization.friction was [0.5, 1.5], now None"),
        ("link_mass=[0.7,1.4]", "task.randomization.link_mass was [0.7, 1.3], now [0.7, 1.4]"),
        (
            "preset=vnl_playground_warp",
            "task.randomization.preset was none, now vnl_playground_warp",
        ),
    ],
)
def test_a_run_does_not_go_on_on_other_bodies(capsys, finished, change, expected):
    _, overrides = finished
    assert main(["train-teacher", *overrides, f"task.randomization.{change}"]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.slow
def test_training_varies_the_body_and_evaluation_does_not(finished, tmp_path):
    _, overrides = finished
    experiment = build(overrides, tmp_path).experiment
    assert experiment.env.task.physics.num_variants == 4
    assert experiment.evaluation_task.physics.num_variants == 0
    off = ("task.randomization.friction=null", "task.randomization.link_mass=null")
    plain = build([*overrides, *off], tmp_path)
    task = plain.experiment.env.task
    assert task.physics.num_variants == 0 and plain.experiment.evaluation_task is task


@pytest.mark.slow
def test_a_checkpoint_remembers_the_bodies_and_is_judged_on_the_nominal_one(finished, toy_config):
    run_dir, _ = finished
    teacher, clips = run_dir / "teacher", run_dir.parent / "clips.h5"
    stored = load_teacher(teacher).task.randomization
    assert stored == DomainRandomizationConfig(
        num_variants=4, friction=(0.5, 1.5), link_mass=(0.7, 1.3)
    )
    nominal = load_stored_teacher(teacher, clips, toy_config.source)
    assert nominal.env.task.physics.num_variants == 0
    varied = load_stored_teacher(teacher, clips, toy_config.source, nominal_body=False)
    assert varied.env.task.physics.num_variants == 4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1.5,0.5]", "task.randomization.friction: expected a list of two numbers, low and high"),
        ("[0,1]", "task.randomization.friction: expected a finite number above 0, found 0"),
        ("0.5", "task.randomization.friction: expected a list of 2"),
    ],
)
def test_a_bad_range_is_named_by_its_key(value, message):
    with pytest.raises(UserError, match=message.replace("[", "\\[")):
        load_teacher_config([f"task.randomization.friction={value}"])
