"""The configuration of a teacher's training: defaults, presets, refusals."""

import dataclasses
from importlib.resources import files

import pytest

from vnl_mjx.config.conversion import known_keys
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.loading import load_distillation_config, load_teacher_config, to_yaml
from vnl_mjx.config.rewards import RewardTermSection, TerminationTermSection
from vnl_mjx.config.teacher import TeacherTrainingConfig, own_task
from vnl_mjx.errors import UserError


def test_the_yaml_file_holds_the_defaults():
    assert load_teacher_config() == TeacherTrainingConfig()


def test_the_yaml_file_names_every_key_but_rare_ones_of_the_task():
    from omegaconf import OmegaConf

    loaded = OmegaConf.create((files("vnl_mjx.config") / "teacher_ppo.yaml").read_text())
    for key in known_keys(TeacherTrainingConfig):
        named = OmegaConf.select(loaded, key, default="absent") != "absent"
        assert named or key.startswith("task."), key


def test_every_field_is_documented():
    kinds = [TeacherTrainingConfig, *known_keys(TeacherTrainingConfig).values()]
    own = [kind for kind in kinds if getattr(kind, "__module__", "").endswith("config.teacher")]
    assert len(own) >= 5
    for kind in own:
        for item in dataclasses.fields(kind):
            docs = "".join(base.__doc__ or "" for base in kind.__mro__)
            assert f"        {item.name}: " in docs, (kind, item.name)


def test_our_task_differs_from_upstream_s_where_said():
    task, upstream = own_task(), ImitationConfig()
    assert not task.walker.torque_actuators and upstream.walker.torque_actuators
    assert task.termination.max_pos_error == pytest.approx(0.05**2)
    assert task.termination.max_quat_error == pytest.approx((1.2 / 2) ** 2)
    assert task.initial_velocity == "reference"


def test_every_key_of_the_task_can_be_set(tmp_path):
    config = load_teacher_config(
        [
            "task.walker.end_effector_names=[foot_L,skull]",
            "task.reference=[reference_joints]",
            "task.reward.angvel_weight=0.5",
            "task.termination.pos_axis_scale=[1,1,0.5]",
            "task.quirks.joint_row_shift=1",
            "task.randomization.num_variants=3",
            "reference_config.paths=[a.h5,with space.h5]",
        ]
    )
    assert config.task.walker.end_effector_names == ("foot_L", "skull")
    assert config.task.reference == ("reference_joints",)
    assert config.task.termination.pos_axis_scale == (1.0, 1.0, 0.5)
    assert (config.task.quirks.joint_row_shift, config.task.randomization.num_variants) == (1, 3)
    assert config.reference_config.paths == ("a.h5", "with space.h5")
    file = tmp_path / "again.yaml"
    file.write_text(to_yaml(config))
    assert load_teacher_config([], file) == config


def test_the_gpu_preset_lies_under_file_and_overrides(tmp_path):
    gpu = load_teacher_config([], preset="gpu")
    assert (gpu.physics_config.backend, gpu.ppo.num_envs) == ("auto", 4096)
    assert gpu.network.encoder_hidden_sizes == (1024, 512, 512, 512, 512)
    assert gpu.task == TeacherTrainingConfig().task
    file = tmp_path / "mine.yaml"
    file.write_text("ppo: {num_envs: 64, num_epochs: 2}\n")
    mine = load_teacher_config(["ppo.num_epochs=5"], file, preset="gpu").ppo
    assert (mine.num_envs, mine.num_epochs, mine.unroll_length) == (64, 5, gpu.ppo.unroll_length)


def test_the_torque_preset_begins_in_no_pose():
    torque = load_teacher_config([], preset="torque")
    assert torque.task.walker.torque_actuators and torque.has_guidance
    assert torque.task.initial_activation == "zero"


def test_a_range_of_another_family_is_not_judged():
    termination = "task.termination={family: mimic, healthy_z_range: [1, 0.5]}"
    found = load_teacher_config([termination]).task
    assert found.termination.family == "mimic" and found.reward.family == "track_mjx"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["num_envs=3"], ["unknown key num_envs", "ppo.num_envs"]),
        (["task.reward.pos_weigt=1"], ["did you mean task.reward.pos_weight?"]),
        (["ppo.num_minibatches=7"], ["ppo.num_minibatches", "found 7; the nearest is"]),
        (["ppo.num_steps=100"], ["ppo.num_steps", "at least one update", "found 100"]),
        (["ppo.discount=1"], ["ppo.discount", "below 1"]),
        (
            ["ppo.latent_kl={start: 0.1, end_step: 0}"],
            ["ppo.latent_kl.end_step", "found 0"],
        ),
        (
            ["ppo.adaptive_rate.target_kl=0.1", "ppo.learning_rate=1"],
            ["ppo.learning_rate", "highest ="],
        ),
        (
            ["task.walker.torque_actuators=true"],
            ["torque_actuators", "initial_activation=pose", "--preset torque"],
        ),
        (["task.termination.healthy_z_range=[1]"], ["a list of 2", "[1]"]),
        (["task.termination.healthy_z_range=[1,0.5]"], ["healthy_z_range", "[1, 0.5]"]),
        (
            [
                "task.reward.family=vnl_playground",
                "task.reward.vnl_playground.healthy_z_range=[1,0.5]",
            ],
            ["task.reward.vnl_playground.healthy_z_range", "[1, 0.5]"],
        ),
        (["task.mocap_hz=0"], ["task.mocap_hz", "above 0"]),
        (["task.physics.solver=euler"], ["task.physics.solver", "newton"]),
        (["network.activation=sulu"], ["network.activation", "silu"]),
        (["sampling.failure_weighting=2"], ["sampling.failure_weighting", "at most 1"]),
    ],
)
def test_a_bad_override_is_one_line_that_names_it(overrides, words):
    with pytest.raises(UserError) as caught:
        load_teacher_config(overrides)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ppo.learning_rate.initial", "ppo.learning_rate.value"),
        ("ppo.learning_rate.schedule", "ppo.adaptive_rate.target_kl"),
        ("ppo.learning_rate.highest", "ppo.adaptive_rate.highest"),
        ("ppo.entropy.weight", "ppo.entropy.value"),
        ("ppo.guidance.start_weight", "ppo.guidance.value, .start"),
        ("ppo.action_std.target", "ppo.action_std_target"),
    ],
)
def test_a_key_of_an_older_version_is_refused_by_the_name_it_has_now(old, new, tmp_path):
    _, section, name = old.split(".")
    file = tmp_path / "old.yaml"
    file.write_text(f"ppo: {{{section}: {{{name}: 1}}}}\n")
    for overrides, given in (([f"{old}=1"], None), ([], file)):
        with pytest.raises(UserError) as caught:
            load_teacher_config(overrides, given)
        message = str(caught.value)
        assert f"{old} is" in message and new in message and "\n" not in message


def test_terms_of_ones_own_are_set_by_their_names(tmp_path):
    given = [
        "task.reward.terms.whisking.function=my lab/terms.py:whisking",
        "task.reward.terms.whisking.weight=-0.5",
        "task.termination.terms.fallen.arguments={lowest: 0.02}",
    ]
    config = load_teacher_config(given)
    reward = RewardTermSection("my lab/terms.py:whisking", -0.5)
    assert config.task.reward.terms == {"whisking": reward}
    assert config.task.termination.terms == {"fallen": TerminationTermSection("", {"lowest": 0.02})}
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_teacher_config([], file) == config
    with pytest.raises(UserError, match=r"task\.reward\.terms\.whisking\.wait.*weight"):
        load_teacher_config([*given, "task.reward.terms.whisking.wait=1"])


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("clips.h5", ("clips.h5",)),
        ("~/clips.h5", ("~/clips.h5",)),
        ("[~/a b.h5,c.h5]", ("~/a b.h5", "c.h5")),
        ("[a#1.h5,é.h5,a=b(1).h5]", ("a#1.h5", "é.h5", "a=b(1).h5")),
        ("[it's.h5]", ("it's.h5",)),
        ("['a,b.h5',\"c\"]", ("a,b.h5", "c")),
        ("[]", ()),
    ],
)
def test_paths_in_lists_are_read_as_they_are_written(given, paths):
    """TRIALS T13."""
    assert load_teacher_config([f"reference_config.paths={given}"]).reference_config.paths == paths


def test_default_minibatches_fit_the_environments():
    """TRIALS T22."""
    few = load_distillation_config(["training_config.num_envs=8"])
    assert few.training_config.batch_size == 160
    assert load_teacher_config(["ppo.num_envs=6"]).ppo.num_minibatches == 3
    with pytest.raises(UserError, match="batch_size: expected a divisor"):
        load_distillation_config(["training_config.num_envs=8", "training_config.batch_size=256"])
