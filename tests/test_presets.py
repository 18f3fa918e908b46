"""Every preset of `vnl-mjx distill`, small: it trains, and its checkpoint loads, goes on and is evaluated."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_run import write_toy_run

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main
from vnl_mjx.config.loading import load_distillation_config, load_teacher_config
from vnl_mjx.config.presets import presets, summary
from vnl_mjx.errors import UserError
from vnl_mjx.utils.vae_checkpointing import load_student

NAMES = ("maskedmimic", "npmp", "pulse", "scamper", "seed_default", "track_mjx_distill")
BRIEFLY = [
    "prior_config.seconds=0.5",
    "prior_config.num_episodes=4",
    "video_config.num_clips=0",
    "latent_config.umap=false",
]
STEPS = 2048


def small(folder: Path, toy_config, name: str) -> list[str]:
    """Overrides: sizes of a toy, and of the preset its loss, its latent and what acts."""
    segment = 8 if load_distillation_config(preset=name).training_config.segment_length > 1 else 1
    return [
        *write_toy_run(folder, toy_config),
        "training_config.num_envs=16",
        "training_config.unroll_length=8",
        "training_config.batch_size=64",
        f"training_config.segment_length={segment}",
        "training_config.learning_rate=1e-3",
        "logging_config.interval_steps=128",
        f"checkpoint_config.interval_steps={STEPS // 2}",
        f"training_config.num_steps={STEPS}",
    ]


def logged(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss/total" in row]


def test_there_are_these_presets():
    assert tuple(presets("distill")) == NAMES
    assert tuple(presets("train-teacher")) == ("gpu", "imitate", "torque", "vnl_playground")


@pytest.mark.parametrize("name", [pytest.param("scamper", marks=pytest.mark.slow), "npmp"])
def test_a_preset_trains_and_its_checkpoint_loads(name, toy_config, tmp_path):
    run = tmp_path / "run"
    overrides = small(tmp_path, toy_config, name)
    assert main(["distill", "--preset", name, f"run_dir={run}", *overrides]) == 0
    rows = logged(run)
    assert rows[-1]["env_steps"] == STEPS
    for row in rows:
        assert all(np.isfinite(value) for value in row.values() if isinstance(value, float))
        assert row["loss/skipped_minibatches"] == 0
    first, last = (
        np.mean([row["loss/kl" if name == "scamper" else "loss/action_mse"] for row in part])
        for part in (rows[:3], rows[-3:])
    )
    assert last < first
    loaded = load_student(run)
    config = loaded.student.config
    assert loaded.metadata["config"]["wandb_config"]["exp_name"] == name
    body, reference = (
        jnp.ones((2, config.proprioception_size)),
        jnp.ones((2, config.reference_size)),
    )
    output = loaded.student.forward(loaded.params, body, reference, jax.random.key(0))
    assert np.isfinite(output.action).all() and output.action.shape == (2, config.action_size)
    if name == "scamper":  # what was frozen is the teacher, byte by byte
        taken, given = loaded.params["intention"], loaded.teacher.params["params"]
        assert config.latent_dim == loaded.teacher.config.latent_dim
        for mine, its in zip(*map(jax.tree.leaves, (taken, given)), strict=True):
            assert mine.tobytes() == its.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_goes_on_bit_for_bit_and_is_evaluated(name, toy_config, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    held = "training_config.kl_loss.target=0.3" if name == "seed_default" else "resume=auto"
    given = ["distill", "--preset", name, *small(tmp_path, toy_config, name), held]
    assert main([*given, f"run_dir={whole}"]) == 0
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / str(STEPS))
    assert main([*given, f"run_dir={parts}"]) == 0
    found, expected = (
        flat(read_arrays(run / f"checkpoints/{STEPS}/state")) for run in (parts, whole)
    )
    assert found.keys() == expected.keys()
    assert any("held_weights" in key for key in expected) == (name == "seed_default")
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert main(["eval", str(whole), *BRIEFLY]) == 0
    document = json.loads((whole / "report" / "metrics.json").read_text())
    assert document["latent"]["kl"] > 0 and "clips" in document["prior"]["learned"]


def flat(tree: dict, path: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, part in tree.items() for k, v in flat(part, f"{path}/{key}").items()}


def test_a_preset_lies_under_file_and_overrides(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training_config: {num_epochs: 2, loss_terms: {standard_kl: {weight: 0.1}}}\n")
    given = ["training_config.loss_terms.smoothness.weight=0.5"]
    config = load_distillation_config(given, file, preset="pulse").training_config
    assert (config.num_epochs, config.num_envs) == (2, 3072)
    weights = {name: term.weight.value for name, term in config.loss_terms.items()}
    assert weights == {"smoothness": 0.5, "standard_kl": 0.1}


def test_help_lists_every_preset_with_what_it_is(capsys):
    for command in ("distill", "train-teacher"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        for name, file in presets(command).items():
            assert f"{name} {summary(file)}" in shown
    assert main(["distill", "--preset", "puls"]) == 2
    assert "'pulse'" in capsys.readouterr().err


def test_every_preset_is_valid_in_full():
    for name in NAMES:
        config = load_distillation_config(preset=name)
        assert config.wandb_config.exp_name == name
        assert config != load_distillation_config()
    assert load_distillation_config(preset="scamper").training_config.teacher_fraction.value == 1.0
    assert load_teacher_config(preset="gpu").ppo.num_envs == 4096


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["loss_terms.smoothness.weight=1"],
            ["segment_length", "loss_terms.smoothness", "found 1"],
        ),
        (["loss_terms.near.function=ar1_kl"], ["segment_length", "loss_terms.near", "found 1"]),
        (["loss_terms.smoth.weight=1"], ["loss_terms.smoth.function", "smoothness", "nothing"]),
        (["loss_terms.kl.function=a:b"], []),
        (["action_loss.kind=l3"], ["action_loss.kind", "mse, l2 or huber", "l3"]),
        (["kl_loss.prior_share=1.5"], ["kl_loss.prior_share", "at most 1", "1.5"]),
        (["kl_loss.target=0"], ["kl_loss.target", "above 0"]),
    ],
)
def test_a_mistake_in_the_loss_is_one_line_that_names_it(overrides, words):
    given = [f"training_config.{override}" for override in overrides]
    if not words:  # the names of the loss's own terms are known where it is built
        load_distillation_config(given)
        return
    with pytest.raises(UserError) as caught:
        load_distillation_config(given)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["posterior=residual", "latent=fsq"], ["vae_config.latent", "residual", "fsq"]),
        (["posterior=residual", "latent=a:b"], ["vae_config.latent", "residual", "a:b"]),
        (["posterior=residual", "network=teacher"], ["vae_config.posterior", "network=teacher"]),
        (["network=teacher", "latent=fsq"], ["vae_config.latent", "gaussian", "fsq"]),
        (["fsq_levels=1"], ["vae_config.fsq_levels", "at least 2", "found 1"]),
    ],
)
def test_a_mistake_in_the_latent_is_one_line_that_names_it(overrides, words):
    with pytest.raises(UserError) as caught:
        load_distillation_config([f"vae_config.{override}" for override in overrides])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
