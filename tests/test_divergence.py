"""NaN in one environment is contained, counted, and can be replayed from the file that the run writes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toy_run import write_toy_run
from tests.toy_trainers import TRAINING, toy_distillation
from vnl_mjx.cli import main
from vnl_mjx.commands.train.divergence_files import MOST_FILES, DivergenceFiles
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.training.vae_distillation import VaeDistillation

BAD = 3  # environment


FLAG = 123.0  # as the first coordinate of the clips: something is NaN in one environment


def poison(clips) -> jax.Array:
    return jnp.where(clips.position[0, 0] == FLAG, jnp.nan, 0.0)


class Mislabelled(VaeDistillation):
    """The teacher's label is NaN on request."""

    def record(self, step, data, env_steps):
        labelled = super().record(step, data, env_steps)
        action = labelled.teacher_action
        return labelled.replace(teacher_action=action.at[BAD].add(poison(data)))


class Unseen(ImitationEnvironment):
    """An entry of the observation is NaN on request."""

    def observe(self, state, data):
        seen = super().observe(state, data)
        parts = {name: part.at[BAD, 2].add(poison(data)) for name, part in seen.parts.items()}
        return seen.replace(parts=seen.parts | {"proprioception": parts["proprioception"]})


@pytest.fixture(scope="module")
def toy(toy_walker, toy_clips):
    return toy_distillation(toy_walker, toy_clips)


def trainer_of(toy, kind=VaeDistillation, environment=ImitationEnvironment) -> VaeDistillation:
    env, teacher, student, clips = toy
    return kind(environment(env.task), student, teacher, clips, replace(TRAINING, num_epochs=1))


@pytest.fixture(scope="module")
def trainer(toy) -> VaeDistillation:
    return trainer_of(toy)


def flagged(trainer: VaeDistillation) -> VaeDistillation:
    position = trainer.clips.position.at[0, 0].set(FLAG)
    trainer.data = (trainer.teacher, trainer.clips.replace(position=position))
    return trainer


def changed(state, **fields):
    """The state with one environment's simulation changed."""
    imitation = state.rollout.environments.imitation
    spoiled = {
        name: getattr(imitation.physics, name).at[BAD].set(value) for name, value in fields.items()
    }
    imitation = imitation.replace(physics=imitation.physics.replace(**spoiled))
    environments = state.rollout.environments.replace(imitation=imitation)
    return state.replace(rollout=state.rollout.replace(environments=environments))


def written(trainer, update, folder) -> tuple[str, list[str]]:
    """The path of the update's file, and the warnings."""
    said = []
    files = DivergenceFiles(folder, trainer, trainer.env.task, said.append)
    files.note(update, 128)
    return str(folder / "nan" / "128.npz"), said


def replayed(capsys, path: str) -> dict:
    assert main(["replay-nan", path, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def finite(tree) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "spoiled, expected",
    [
        ({"qvel": 1e9}, "diverges in substep 1"),
        ({"qpos": np.nan}, "simulation was not finite before the step"),
    ],
)
def test_one_simulation(trainer, tmp_path, capsys, spoiled, expected):
    """Learning goes on without it, its environment starts anew, and the file says where it began."""
    state = trainer.init(0)
    state, update = trainer.update(changed(state, **spoiled))
    assert finite((state.params, state.opt_state, state.rollout.environments.physics))
    assert update.rollout.failures["nan"] >= 1 and update.learning.skipped == 0
    assert update.divergence.count >= 1 and update.divergence.env == BAD
    assert update.divergence.step == 0
    path, said = written(trainer, update, tmp_path)
    assert len(said) == 1 and path in said[0]
    found = replayed(capsys, path)
    assert expected in found["verdict"], found
    assert main(["replay-nan", path]) == 0
    assert "environment 3" in capsys.readouterr().out
    _, update = trainer.update(state)
    assert update.divergence.count == 0
    assert written(trainer, update, tmp_path / "none")[1] == []


def test_one_observation(toy, tmp_path, capsys):
    trainer = flagged(trainer_of(toy, environment=Unseen))
    state, update = trainer.update(trainer.init(0))
    assert finite((state.params, state.rollout.environments.physics))
    assert update.rollout.failures["nan"] == TRAINING.unroll_length
    assert update.learning.skipped == 0
    path, _ = written(trainer, update, tmp_path)
    found = replayed(capsys, path)
    assert "observation was not finite: observation.proprioception" in found["verdict"]
    assert found["arrays"]["observation.proprioception"]["not_finite"] == [2]


def test_one_label(toy, tmp_path, capsys):
    """The steps of one environment are left out."""
    trainer = flagged(trainer_of(toy, Mislabelled))
    state = trainer.init(0)
    state, update = trainer.update(state)
    assert finite(state.params) and update.learning.skipped == 0
    assert update.rollout.left_out >= TRAINING.unroll_length
    assert update.divergence.env == BAD
    path, _ = written(trainer, update, tmp_path)
    assert "recorded.0.teacher_action" in replayed(capsys, path)["verdict"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite(toy_config, tmp_path, capsys):
    """Its minibatches are skipped, the run ends, and says which term it was; few files are written."""
    (tmp_path / "own.py").write_text(
        "import jax.numpy as jnp\n"
        "def bad(output, segment):\n"
        "    return jnp.sqrt(-1.0 - jnp.abs(output.action[..., 0]))\n"
    )
    run = tmp_path / "run"
    overrides = [
        *write_toy_run(tmp_path, toy_config),
        f"run_dir={run}",
        "training_config.num_steps=256",
        "eval_config.num_episodes=1",
        f"training_config.loss_terms.bad.function={tmp_path / 'own.py'}:bad",
        "training_config.loss_terms.bad.weight=1",
    ]
    assert main(["distill", *overrides]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "100% of the minibatches had a gradient that was not finite" in output
    files = sorted(run.glob("nan/*.npz"))
    assert len(files) == MOST_FILES
    verdict = replayed(capsys, str(files[0]))["verdict"]
    assert "the loss was not: " in verdict and "bad" in verdict
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(row.get("loss/skipped_minibatches") == 1 for row in rows)


def test_wrong_files_get_one_line(tmp_path, capsys):
    other = tmp_path / "other.npz"
    np.savez(other, qpos=np.zeros(3))
    torn = tmp_path / "torn.npz"
    torn.write_bytes(other.read_bytes()[:100])
    for path in (other, torn, tmp_path / "none.npz", tmp_path):
        assert main(["replay-nan", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(path) in error


def test_a_file_that_cannot_be_written_is_a_warning(trainer, tmp_path):
    """The training goes on."""
    (tmp_path / "nan").write_text("in the way")
    zero = SimpleNamespace(divergence=SimpleNamespace(count=0), learning=SimpleNamespace(skipped=0))
    said = written(trainer, zero, tmp_path)[1]
    assert said == []
    _, update = trainer.update(changed(trainer.init(0), qvel=1e9))
    (warning,) = written(trainer, update, tmp_path)[1]
    assert "cannot write" in warning
