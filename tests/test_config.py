import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.config.conversion import from_dict, known_keys, to_dict
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.loading import (
    as_overrides,
    load_distillation_config,
    load_evaluation_config,
    to_yaml,
)
from vnl_mjx.config.schedules import LossTermSection, ScheduleSection
from vnl_mjx.config.schema import Activation, DistillationConfig
from vnl_mjx.config.validation import nearest_divisor
from vnl_mjx.errors import UserError


def test_yaml_files_hold_the_schema_s_defaults():
    assert load_distillation_config() == DistillationConfig()
    evaluation = load_evaluation_config(["checkpoint_path=x"])
    assert evaluation == EvaluationConfig(checkpoint_path="x")


@pytest.mark.parametrize(
    ("file", "cls"),
    [("vae_distillation", DistillationConfig), ("vae_evaluation", EvaluationConfig)],
)
def test_yaml_files_name_every_key(file, cls):
    from importlib.resources import files

    from omegaconf import OmegaConf

    loaded = OmegaConf.create((files("vnl_mjx.config") / f"{file}.yaml").read_text())
    for key in known_keys(cls):
        assert OmegaConf.select(loaded, key, default="absent") != "absent", key


def test_every_field_is_documented():
    for kind in [DistillationConfig, EvaluationConfig, *known_keys(DistillationConfig).values()]:
        if dataclasses.is_dataclass(kind):
            for item in dataclasses.fields(kind):
                docs = "".join(base.__doc__ or "" for base in kind.__mro__)
                assert f"        {item.name}: " in docs, (kind, item.name)


def test_activations_are_those_of_the_models():
    from typing import get_args

    from vnl_mjx.models.layers import ACTIVATIONS

    assert set(get_args(Activation)) == set(ACTIVATIONS)


def test_overrides_set_values_of_every_type():
    config = load_distillation_config(
        [
            "training_config.num_steps=5e6",
            "training_config.learning_rate=1",
            "+vae_config.encoder_hidden_sizes=[64,32]",
            "vae_config.layer_norm=false",
            "training_config.kl_weight={value: 0.1, start: 0.01, end_step: 10}",
            "training_config.num_envs=4",
            "training_config.num_envs=256",
            "wandb_config.exp_name=2025",
        ]
    )
    assert config.training_config.num_steps == 5_000_000
    assert config.training_config.learning_rate == ScheduleSection(1.0)
    assert isinstance(config.training_config.learning_rate.value, float)
    assert config.vae_config.encoder_hidden_sizes == (64, 32)
    assert config.vae_config.layer_norm is False
    assert config.training_config.kl_weight == ScheduleSection(0.1, 0.01, end_step=10)
    assert config.training_config.num_envs == 256
    assert config.wandb_config.exp_name == "2025"


@settings(max_examples=40, deadline=None)
@given(path=st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1))
def test_any_path_survives_the_override_grammar(path):
    if path == "null" or path[0] in "'\"":
        return  # null is no path; quoted text is Hydra's to read
    config = load_distillation_config([f"teacher_config.checkpoint_path={path}"])
    assert config.teacher_config.checkpoint_path == path


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("num_envs=3", ["unknown key num_envs", "training_config.num_envs"]),
        ("training_config.learning_rat=3", ["did you mean training_config.learning_rate?"]),
        ("xyzzy=3", ["unknown key xyzzy", "--show-config"]),
        ("training_config.num_envs=abc", ["training_config.num_envs", "whole number", '"abc"']),
        ("training_config.num_envs=1.5", ["whole number", "1.5"]),
        ("training_config.num_envs=0", ["training_config.num_envs", "at least 1", "found 0"]),
        ("training_config.num_envs=1,2", ["training_config.num_envs=1,2"]),
        (
            "training_config.learning_rate=nan",
            ["training_config.learning_rate", "finite number", "nan"],
        ),
        ("training_config.learning_rate=0", ["learning_rate", "more than 0", "found 0"]),
        ("training_config.learning_rate=true", ["a number", "true"]),
        ("training_config.num_steps=100", ["num_steps", "2560", "found 100"]),
        ("training_config.batch_size=500", ["batch_size", "2560", "500", "nearest is 512"]),
        ("training_config.held_out_fraction=1", ["below 1"]),
        ("training_config.kl_weight.start=0.1", ["kl_weight.end_step"]),
        ("training_config.learning_rate.end_step=0", ["learning_rate.end_step"]),
        ("training_config.teacher_fraction.start=1", ["teacher_fraction.end_step"]),
        ("training_config.teacher_fraction=1.5", ["teacher_fraction", "at most 1", "1.5"]),
        ("device=tpu", ["device", "auto, cpu or gpu", '"tpu"']),
        ("matmul_precision=float64", ["matmul_precision", "tensorfloat32", '"float64"']),
        ("physics_config.backend=cuda", ["physics_config.backend", "mjx or warp", '"cuda"']),
        ("physics_config.naconmax_per_env=0", ["naconmax_per_env", "at least 1", "found 0"]),
        ("physics_config.njmax=1.5", ["njmax", "whole number or null"]),
        ("training_config=3", ["training_config", "section"]),
        ("vae_config.encoder_hidden_sizes=[8,x]", ["encoder_hidden_sizes", '"x"']),
        ("vae_config.encoder_hidden_sizes=[8,0]", ["encoder_hidden_sizes", "found 0"]),
        ("vae_config.encoder_hidden_sizes=[8", ["encoder_hidden_sizes=[8"]),
        ("vae_config.layer_norm=1", ["true or false"]),
        ("vae_config.logvar_min=4", ["logvar_min", "logvar_max"]),
        ("wandb_config.mode=on", ["disabled, offline or online", '"on"']),
        ("teacher_config.step=last", ["whole number or null"]),
        ("teacher_config.checkpoint_path=${nowhere}", ["nowhere"]),
        ("runs/x", ["key=value"]),
        ("~training_config.seed", ["key=value"]),
    ],
)
def test_a_bad_override_is_one_line_that_names_it(override, words):
    with pytest.raises(UserError) as caught:
        load_distillation_config([override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_file_lies_between_defaults_and_overrides(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training_config:\n  num_envs: 256\n  seed: 5\n")
    training = load_distillation_config(["training_config.seed=6"], file).training_config
    assert (training.num_envs, training.seed, training.batch_size) == (256, 6, 256)
    file.write_text("")
    assert load_distillation_config([], file) == DistillationConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training_config: {num_evs: 3}", ["training_config.num_evs", "training_config.num_envs?"]),
        ("training_config: {num_envs: x}", ["training_config.num_envs", "whole number"]),
        ("a: [1", ["expected YAML", "line"]),
        ("- 1", ["found a list"]),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, words):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_distillation_config([], file)
    for word in [str(file), *words]:
        assert word in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_distillation_config([], tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match="binary"):
        load_distillation_config([], tmp_path / "binary")


def test_dictionaries_and_yaml_round_trip(tmp_path):
    config = load_distillation_config(["vae_config.latent_dim=8", "training_config.num_envs=256"])
    assert from_dict(DistillationConfig, json.loads(json.dumps(to_dict(config)))) == config
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_distillation_config([], file) == config


def test_overrides_of_a_configuration_make_it_again():
    plain = load_evaluation_config(["checkpoint_path=run"])
    given = ["compare_with=[a b,'c,d']", "step=5", "output_dir=x y", "video_config.camera=top"]
    given += ["eval_config.baselines=false"]
    config = load_evaluation_config(["checkpoint_path=run", *given])
    found = as_overrides(config, plain)
    assert load_evaluation_config(["checkpoint_path=run", *found]) == config
    assert len(found) == len(given) and as_overrides(config, config) == []
    assert as_overrides(plain, config)[0] == "step=null"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("training_config.kl_schedule.start_weight=0", "training_config.kl_weight.value"),
        ("training_config.learning_rate_decay.final=0", "training_config.learning_rate.value"),
        ("training_config.teacher_forcing.decay_steps=9", "training_config.teacher_fraction.value"),
    ],
)
def test_a_key_of_an_older_version_is_refused_by_the_name_it_has_now(old, new, tmp_path):
    with pytest.raises(UserError) as caught:
        load_distillation_config([old])
    message = str(caught.value)
    assert message.startswith(old.partition("=")[0])
    assert new in message and ".end_step" in message and "\n" not in message
    # in a file, and the whole section at once
    section, name = old.partition("=")[0].split(".")[1:]
    file = tmp_path / "old.yaml"
    file.write_text(f"training_config: {{{section}: {{{name}: 0}}}}\n")
    for load in (
        lambda: load_distillation_config([], file),
        lambda: load_distillation_config([f"training_config.{section}={{{name}: 0}}"]),
    ):
        with pytest.raises(UserError) as caught:
            load()
        assert new in str(caught.value) and "\n" not in str(caught.value)


def test_a_plain_number_is_a_constant_schedule_whatever_lies_below(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training_config: {kl_weight: {value: 1, start: 0, end_step: 9}}\n")
    below = load_distillation_config([], file).training_config
    assert below.kl_weight == ScheduleSection(1.0, 0.0, end_step=9)
    above = load_distillation_config(["training_config.kl_weight=2"], file).training_config
    assert above.kl_weight == ScheduleSection(2.0)
    part = load_distillation_config(["training_config.kl_weight.value=3"], file).training_config
    assert part.kl_weight == ScheduleSection(3.0, 0.0, end_step=9)
    file.write_text("training_config: {kl_weight: 4}\n")
    assert load_distillation_config([], file).training_config.kl_weight == ScheduleSection(4.0)


def test_a_loss_term_of_ones_own_is_set_by_its_name(tmp_path):
    key = "training_config.loss_terms.smooth"
    given = [f"{key}.function=my lab/terms.py:smooth", f"{key}.weight=0.5"]
    config = load_distillation_config([*given, f"{key}.arguments.order=2"])
    expected = LossTermSection("my lab/terms.py:smooth", ScheduleSection(0.5), {"order": 2})
    assert config.training_config.loss_terms == {"smooth": expected}
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_distillation_config([], file) == config
    assert from_dict(DistillationConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["smooth.weight=1"], ["smooth.function", "found nothing"]),
        (["smooth.function=a:b", "smooth.wieght=1"], ["smooth.wieght", "weight"]),
        (["smooth.function=a:b", "smooth.weight=-1"], ["smooth.weight", "at least 0", "found -1"]),
        (["smooth.function=a:b", "smooth.weight.start=1"], ["smooth.weight.end_step"]),
        (["smooth=1"], ["smooth", "section", "found 1"]),
    ],
)
def test_a_mistake_in_a_loss_term_is_one_line_that_names_it(overrides, words):
    with pytest.raises(UserError) as caught:
        load_distillation_config([f"training_config.loss_terms.{o}" for o in overrides])
    message = str(caught.value)
    assert "training_config.loss_terms.smooth" in message and "\n" not in message
    for word in words:
        assert word in message


def test_an_imitation_task_round_trips_too():
    task = ImitationConfig(traj_length=3)
    assert from_dict(ImitationConfig, json.loads(json.dumps(to_dict(task)))) == task
    with pytest.raises(
        UserError, match=r"c\.json: walker\.joint_names: expected a list, each part text"
    ):
        from_dict(ImitationConfig, {"walker": {"joint_names": 3}}, "c.json: ")


@given(total=st.integers(1, 5000), wanted=st.integers(1, 6000))
def test_nearest_divisor(total, wanted):
    divisors = [n for n in range(1, total + 1) if total % n == 0]
    found = nearest_divisor(total, wanted)
    assert found in divisors
    assert abs(found - wanted) == min(abs(n - wanted) for n in divisors)
