"""A short training of a teacher on the toy walker, what it leaves on disk, and who reads that."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.toy_teacher import toy_overrides
from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main, parse
from vnl_mjx.commands.data.inspect import describe
from vnl_mjx.commands.train.experiment import build_experiment, unpaired
from vnl_mjx.commands.train.teacher_training import TeacherTraining, next_commands
from vnl_mjx.config.loading import load_distillation_config, load_teacher_config
from vnl_mjx.config.schema import TeacherSection
from vnl_mjx.demo import DEMO_TEACHER
from vnl_mjx.models.value import ValueConfig, ValueNetwork
from vnl_mjx.utils.track_mjx_loader import load_teacher


@pytest.fixture(scope="module")
def toy(tmp_path_factory, toy_config):
    folder = tmp_path_factory.mktemp("toy")
    overrides = toy_overrides(folder, toy_config)
    short = ["ppo.num_steps=96", "checkpoint_config.interval_steps=32"]
    return folder, [*overrides, *short, "eval_config.interval_steps=64"]


@pytest.fixture(scope="module")
def finished(toy):
    """A run of three updates, and its overrides."""
    folder, overrides = toy
    assert main(["train-teacher", f"run_dir={folder / 'done'}", *overrides]) == 0
    return folder / "done", overrides


def build(overrides: list[str], run_dir: Path) -> TeacherTraining:
    return TeacherTraining(load_teacher_config(overrides), run_dir)


def refused(capsys, *argv: str) -> str:
    """Runs the command, which must fail properly; returns its one line."""
    assert main(["train-teacher", *argv]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("vnl-mjx: error: ")
    return line


def digest(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


def strings(document) -> list[str]:
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        return [text for part in document for text in strings(part)]
    return [document] if isinstance(document, str) else []


def test_what_a_run_leaves(finished):
    run_dir, _ = finished
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["env_steps"] for row in rows] == [64, 96, 96]
    assert 0 < rows[1]["rollout/reward_fraction"] <= 1
    assert all(rows[1][f"compile/{name}_seconds"] > 0 for name in ("rollout", "update"))
    assert rows[1]["memory/bytes_per_env"] > 1000 and "memory/bytes_per_env" not in rows[2]
    assert 0 <= rows[0]["eval/reward_fraction"] <= 1
    names = [f"{step}" for step in (32, 64, 96)]
    assert sorted(p.name for p in (run_dir / "checkpoints").iterdir()) == sorted(names)
    assert {p.name for p in (run_dir / "teacher").iterdir()} == {f"PPONetwork_{n}" for n in names}
    summary = json.loads((run_dir / "eval" / "metrics.json").read_text())
    assert summary["env_steps"] == 96 and list(summary["clips"]) == ["clip_2"]  # held out
    assert (run_dir / "plots" / "training.png").stat().st_size > 1000


def test_what_a_run_leaves_names_no_place_of_this_machine(finished):
    run_dir, _ = finished
    for path in run_dir.rglob("*"):
        assert path.is_dir() or str(run_dir.parent).encode() not in path.read_bytes(), path
    for path in (run_dir / "config.json", *run_dir.glob("teacher/*/config/metadata")):
        recorded = strings(json.loads(path.read_text()))
        assert not [text for text in recorded if Path(text).is_absolute()], path


def test_both_layouts_hold_the_same_teacher(finished):
    run_dir, _ = finished
    state = read_arrays(run_dir / "checkpoints" / "64" / "state")
    teacher = load_teacher(run_dir / "teacher", 64)
    np.testing.assert_array_equal(
        state["params.policy.params.encoder.fc2_mean.kernel"],
        teacher.policy.params["params"]["encoder"]["fc2_mean"]["kernel"],
    )
    np.testing.assert_array_equal(state["extra.std"], teacher.policy.obs_std)
    stored = read_arrays(run_dir / "teacher" / "PPONetwork_64" / "train_state")
    np.testing.assert_array_equal(
        stored["params"]["value"]["params"]["hidden_0"]["kernel"],
        state["params.value.params.hidden_0.kernel"],
    )
    assert stored["optimizer_state"]["1"]["0"]["count"] == 2 * 2 * 2  # updates, epochs, minibatches
    assert teacher.warnings == ()


def test_track_mjx_s_loader_reads_it(finished):
    """As its `agent/checkpointing.py` does: with a template of brax's statistics and the variables."""
    run_dir, _ = finished
    teacher = load_teacher(run_dir / "teacher")
    size = teacher.policy.config.observation_size
    shapes = {"count": (), "mean": (size,), "std": (size,), "summed_variance": (size,)}
    statistics = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    options = ocp.CheckpointManagerOptions(create=False, step_prefix="PPONetwork")
    with ocp.CheckpointManager(run_dir / "teacher", options=options) as manager:
        step = manager.latest_step()
        found = manager.restore(
            step,
            args=ocp.args.Composite(
                config=ocp.args.JsonRestore(),
                policy=ocp.args.StandardRestore((statistics, teacher.policy.params)),
            ),
        )
    assert step == 96
    assert found["policy"][0]["count"] == 96
    np.testing.assert_array_equal(found["policy"][0]["mean"], teacher.policy.obs_mean)
    network = found["config"]["network_config"]
    assert network["observation_size"] == size and network["critic_layer_sizes"] == [16]


def test_distillation_takes_the_teacher(finished, toy, toy_config):
    run_dir, _ = finished
    config = load_distillation_config(
        [
            f"teacher_config.checkpoint_path={run_dir / 'teacher'}",
            f"teacher_config.reference_data_path={toy[0] / 'clips.h5'}",
            f"walker_config.mjcf_path={toy_config.source}",
        ]
    )
    experiment = build_experiment(config)
    assert experiment.teacher.task.episode_frames == 20
    assert experiment.env.task.layout.reference_size == 110


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ppo.discount=0.9", "ppo.discount was 0.95, now 0.9"),
        ("ppo.seed=1", "ppo.seed was 0, now 1"),
        ("network.latent_dim=4", "network.latent_dim was 3, now 4"),
        ("sampling.failure_weighting=0", "sampling.failure_weighting was 0.5, now 0.0"),
        ("task.reward.pos_weight=2", "task.reward.pos_weight was 1.0, now 2.0"),
        ("task.walker.torque_actuators=false", "walker"),
        ("reference_config.held_out_fraction=0.5", "held_out"),
        ("init_from={run}/teacher", "init_sha256 was None"),
        ("resume=never", "already holds a run at 96"),
    ],
)
def test_resuming_with_other_settings(capsys, finished, change, expected):
    run_dir, overrides = finished
    before = digest(run_dir)
    change = change.format(run=run_dir)
    assert expected in refused(capsys, f"run_dir={run_dir}", *overrides, change)
    assert digest(run_dir) == before


def test_a_run_of_an_older_format_starts_anew_from_its_teacher(capsys, finished, tmp_path):
    run_dir, overrides = finished
    old = tmp_path / "old"
    shutil.copytree(run_dir, old)
    for path in old.glob("checkpoints/*/metadata/metadata"):
        document = json.loads(path.read_text()) | {"format_version": 1}
        del document["sha256"]  # younger than the format
        path.write_text(json.dumps(document))
    line = refused(capsys, f"run_dir={old}", *overrides)
    assert "expected checkpoints of format 2, found format 1" in line
    (start,) = (word.strip("()") for word in line.split() if word.startswith("(init_from="))
    training = build([*overrides, start], tmp_path / "new")
    assert training.start is not None and training.start.teacher.step == 96


def test_a_start_from_a_teacher(finished, tmp_path):
    run_dir, overrides = finished
    teacher = load_teacher(run_dir / "teacher")
    training = build([*overrides, f"init_from={run_dir / 'teacher'}", "ppo.seed=7"], tmp_path)
    state = training.initial_state()
    for ours, stored in (
        (state.params.policy, teacher.policy.params),
        (state.extra.mean, teacher.policy.obs_mean),
        (state.extra.count, 96.0),
        (
            state.params.value,
            read_arrays(run_dir / "teacher/PPONetwork_96/train_state")["params"]["value"],
        ),
    ):
        jax.tree.map(np.testing.assert_array_equal, ours, stored)
    assert training.metadata["init_source"].endswith("done/teacher")


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["pose", "teacher"])
def test_torques_imitate_a_guide(guide, finished, tmp_path):
    done, overrides = finished
    run = tmp_path / "run"
    change = [
        "ppo.guidance=1000",
        "ppo.adaptive_rate.target_kl=null",
        "ppo.learning_rate=1e-2",
        "ppo.num_steps=960",
        "logging_config.interval_steps=96",
    ]
    if guide == "teacher":
        change.append(f"guide_from={done / 'teacher'}")
    assert main(["train-teacher", f"run_dir={run}", *overrides, *change]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    distance = [row["loss/guidance"] for row in rows if "loss/guidance" in row]
    assert distance[-1] < 0.5 * distance[0]


def test_a_guide_that_cannot_be_read(capsys, finished, tmp_path):
    _, overrides = finished
    given = [f"run_dir={tmp_path / 'run'}", *overrides, "ppo.guidance=1"]
    assert "none" in refused(capsys, *given, f"guide_from={tmp_path / 'none'}")
    line = refused(capsys, *given, f"guide_from={DEMO_TEACHER}")
    assert "guide_from: expected a reference size of 110, found 470" in line


def test_a_guide_of_torques_is_none_for_position_actuators(capsys, finished, tmp_path):
    done, overrides = finished
    given = [f"run_dir={tmp_path / 'run'}", *overrides, "ppo.guidance=1"]
    change = [f"guide_from={done / 'teacher'}", "task.walker.torque_actuators=false"]
    assert "expected a teacher of position actuators" in refused(capsys, *given, *change)


def test_a_start_without_a_value_network_of_this_size(finished, tmp_path):
    run_dir, overrides = finished
    change = [f"init_from={run_dir / 'teacher'}", "network.value_hidden_sizes=[8]"]
    training = build([*overrides, *change], tmp_path)
    assert training.start is not None and training.start.value is None
    assert training.initial_state().params.value["params"]["hidden_0"]["kernel"].shape == (138, 8)
    assert training.trainer.config.value_only_steps == training.config.ppo.num_steps // 10
    assert build([*overrides, change[0]], tmp_path).trainer.config.value_only_steps is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("network.latent_dim=4", ["network.latent_dim = 4", "give network.latent_dim=3"]),
        ("network.activation=relu", ["give network.activation=silu"]),
        ("task.traj_length=4", ["reference size", "found 110"]),
        ("init_from=/no/such/folder", ["does not exist"]),
    ],
)
def test_a_start_that_does_not_fit(capsys, finished, tmp_path, change, words):
    run_dir, overrides = finished
    given = [f"run_dir={tmp_path / 'run'}", *overrides, f"init_from={run_dir / 'teacher'}", change]
    line = refused(capsys, *given)
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_a_recurrent_teacher_can_be_read(toy, tmp_path):
    _, overrides = toy
    lstm = ["network.lstm_num_layers=1", "network.lstm_hidden_size=8"]
    training = build([*overrides, *lstm], tmp_path)
    checkpointer = training.open_checkpointer(tmp_path)
    state = training.initial_state()
    exported = training.exported(state, 32)
    checkpointer.save(32, state, training.metadata, 0.0, exported=exported)
    checkpointer.close()
    policy = load_teacher(tmp_path / "teacher").policy
    ours = training.trainer.frozen_policy(state)
    assert policy.config == ours.config and policy.config.is_recurrent
    obs = jnp.linspace(-1, 1, policy.config.observation_size)
    actions = [p.act(obs, p.initial_memory()).action for p in (policy, ours)]
    np.testing.assert_array_equal(*actions)


def test_guidance_is_refused_for_actuators_without_stiffness(capsys, toy, toy_config, tmp_path):
    _, overrides = toy
    text = Path(toy_config.source).read_text()
    motors = re.sub(
        r'<general name="(\w+)" joint="(\w+)"/>', r'<motor name="\1" joint="\2"/>', text
    )
    (tmp_path / "motors.xml").write_text(motors)
    change = [f"task.walker.source={tmp_path / 'motors.xml'}", "task.walker.torque_actuators=false"]
    given = [f"run_dir={tmp_path / 'run'}", *overrides, *change]
    assert "has no stiffness" in refused(capsys, *given, "ppo.guidance=1")


def test_missing_and_mixed_clips(capsys, toy, tmp_path):
    """TRIALS T16."""
    _, overrides = toy
    given = [f"run_dir={tmp_path / 'run'}", *overrides]
    assert "none.h5" in refused(capsys, *given, "reference_config.paths=[none.h5]")
    line = refused(capsys, *given, "reference_config.rate_hz=100")
    assert "100 Hz" in line and "task.mocap_hz=100" in line
    assert "resampling_config.rate_hz=50" in line and "reference_config" not in line


def test_inspect_describes_the_teacher_of_a_run(finished):
    run_dir, _ = finished
    assert describe(run_dir).kind == "teacher"


def test_the_value_network_s_layer_norm_is_trained(finished):
    run_dir, _ = finished
    value = read_arrays(run_dir / "teacher/PPONetwork_96/train_state")["params"]["value"]
    size = value["params"]["hidden_0"]["kernel"].shape[0]
    network = ValueNetwork(ValueConfig(size, (16,), layer_norm=True))
    assert network.apply(value, jnp.zeros((2, size))).shape == (2,)
    assert np.abs(value["params"]["LayerNorm_0"]["scale"] - 1).max() > 0


@pytest.mark.parametrize("clips", [(), ("a b.h5",), ("a.h5", "b.h5")])
def test_what_is_printed_at_the_end_is_of_the_clips_that_were_trained_on(clips):
    """TRIALS T3."""
    lines = next_commands(Path("runs/x/teacher"), clips, Path("runs/x"))
    commands = [shlex.split(line.partition(": ")[2])[1:] for line in lines]
    *merging, evaluation, distillation = commands
    assert bool(merging) == (len(clips) > 1)
    file = None if not clips else clips[0] if len(clips) == 1 else "runs/x/clips.h5"
    given = parse(evaluation)
    assert given.clips == (file and Path(file))
    config = load_distillation_config(paths=distillation[1:])
    assert config.teacher_config.reference_data_path == file
    if merging:
        assert [str(path) for path in parse(merging[0]).inputs] == [*clips]


def test_half_a_pair_is_said(tmp_path):
    for given, words in (
        (TeacherSection(), ()),
        (TeacherSection(str(DEMO_TEACHER)), ()),
        (TeacherSection("runs/x/teacher"), ("no clips were given",)),
        (TeacherSection(None, "clips.h5"), ("no teacher was given",)),
    ):
        found = unpaired(given)
        assert len(found) == len(words) and all(w in f for w, f in zip(words, found, strict=True))
