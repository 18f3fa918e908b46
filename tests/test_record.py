"""Record files: rows on the recording's clock, networks as they act, falls, loops, perturbations."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_helpers import untrained_policy
from toy_run import write_toy_run

from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.activity.networks import RecordingPolicy, StoredValue
from vnl_mjx.activity.noise import spread_std
from vnl_mjx.activity.perturbations import Perturbations, perturbed
from vnl_mjx.activity.record import Recorder, RecordOptions
from vnl_mjx.activity.sessions import plan, windows
from vnl_mjx.cli import main
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.config.imitation import ImitationConfig, TerminationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.models.value import ValueConfig, ValueNetwork
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy

CONTROL_HZ = 100.0


@pytest.fixture(scope="module")
def lasting(task):
    """The task, in which nothing counts as a fall."""
    config = replace(task.config, termination=TerminationConfig(family="none"))
    return ImitationTask(config, task.walker, task.physics)


@pytest.fixture(scope="module")
def clips(toy_clips):
    """Two clips of one recording; the second begins where the first ended."""
    infos = (ClipInfo("day", 10.0, label="sway"), ClipInfo("day", 10.8))
    return toy_clips.replace(info=infos)


@pytest.fixture(scope="module")
def student(toy):
    """Acts as the untrained student, and records."""
    return RecordingPolicy(StudentPolicy(toy.params, toy.teacher, jnp.bool_(False), toy.student))


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Records a policy; returns the rows and the quantities by name."""

    recorders = {}

    def run(task, policy, clips, perturbations=None, **options):
        path = tmp_path_factory.mktemp("record") / "out.h5"
        chosen = RecordOptions(**{"pieces": 1, "warm_up_s": 0.1} | options)
        recorder = recorders.setdefault((id(task), chosen), Recorder(task, chosen))
        if perturbations is not None:
            policy = perturbed(policy, perturbations, recorder, clips)
        recorder.write(path, policy, clips, {"note": "kept"})
        with open_activity_file(path) as file:
            assert file.metadata["note"] == "kept"
            return file.rows, {name: file.read(name) for name in file.names}

    return run


@pytest.fixture(scope="module")
def open_loop(record, lasting, student, clips):
    """The student along the recording."""
    return record(lasting, student, clips, loop="open")


def test_rows_stand_on_the_recordings_clock(open_loop, clips):
    rows, found = open_loop
    frames_ahead = 5
    assert rows.num_rows == 2 * (40 + 30 - frames_ahead)
    np.testing.assert_allclose(rows.time, 10.0 + np.arange(rows.num_rows) / CONTROL_HZ, atol=1e-9)
    assert rows.sessions == ("day",) and rows.start.sum() == 1 and rows.valid.all()
    np.testing.assert_array_equal(rows.clip, np.arange(rows.num_rows) >= 80)
    np.testing.assert_array_equal(rows.labels[[0, -1]], ["sway", "sway_1"])
    starts = np.array([10.0, 10.8])[rows.clip]
    np.testing.assert_allclose(np.floor((rows.time - starts) * 50 + 1e-6), rows.frame)
    # the body is on the frame of the row, and on no other
    reference = np.asarray(clips.qpos())[np.asarray(clips.starts)[rows.clip] + rows.frame]
    np.testing.assert_array_equal(found["kinematics/qpos"], reference)
    np.testing.assert_array_equal(found["reference/joint_angles"], reference[:, 7:])
    assert np.abs(found["kinematics/qpos"][2:] - reference[:-2]).max() > 1e-3
    np.testing.assert_allclose(found["tracking/errors"], 0.0, atol=1e-4)


def test_networks_are_recomputed_from_what_they_saw(open_loop, toy):
    _, found = open_loop
    student, body = toy.student, toy.teacher.config.reference_size
    reference, context = np.split(found["observation/normalized"], [body], axis=1)
    posterior = student.encode(toy.params, context, reference)
    prior = student.prior(toy.params, context)
    action = student.decode(toy.params, context, found["latent/sample"])
    near = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(found["latent/mean"], posterior.mean, **near)
    np.testing.assert_allclose(found["latent/std"], np.exp(0.5 * posterior.logvar), **near)
    np.testing.assert_allclose(found["latent/kl"], posterior.kl(prior), **near)
    np.testing.assert_allclose(found["action/action"], action, **near)
    last = toy.params["encoder"]
    mean = found["layers/encoder.hidden_0"] @ last["mean"]["kernel"] + last["mean"]["bias"]
    np.testing.assert_allclose(found["latent/mean"], mean, **near)
    # raw observations, normalised as the networks do
    raw = np.concatenate([found["reference/input"], found["observation/proprioception"]], axis=1)
    np.testing.assert_allclose(toy.teacher.normalize(raw), found["observation/normalized"], **near)
    teacher = toy.teacher.act(raw)
    np.testing.assert_allclose(found["action/teacher"], teacher.action, **near)


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_pieces_are_put_together_in_the_order_of_time(record, lasting, student, clips, loop):
    one, alone = record(lasting, student, clips, loop=loop)
    many, pieces = record(lasting, student, clips, loop=loop, pieces=3, warm_up_s=0.08)
    np.testing.assert_array_equal(one.time, many.time)
    np.testing.assert_array_equal(one.start, many.start)
    first = 44 if loop == "closed" else one.num_rows  # rows of the first piece
    del alone["tracking/reward"]  # has a term of the last 50 controls, more than the warm-up
    for name, values in alone.items():
        np.testing.assert_allclose(pieces[name][:first], values[:first], rtol=1e-3, atol=1e-3)


def test_clips_apart_and_clips_at_one_time(toy_clips):
    def laid_out(*starts):
        infos = tuple(ClipInfo("day", start) for start in starts)
        return plan(toy_clips.replace(info=infos), 50.0, 5, 1, 0.0)

    apart = laid_out(3.0, 1.0)
    assert apart.rows.sessions == ("day",)
    assert apart.rows.start.sum() == 2 and (np.diff(apart.rows.time) > 0).all()
    assert apart.rows.clip_names == ("sway_1", "sway_0")
    together = laid_out(1.0, 1.0)
    assert together.rows.sessions == ("day: sway_0", "day: sway_1")
    assert set(together.rows.session) == {0, 1}


@pytest.mark.parametrize("control_hz", [25.0, 50.0, 100.0, 150.0])
def test_pieces_make_every_row_once_and_begin_on_a_frame(clips, control_hz):
    found = plan(clips, control_hz, 5, num_pieces=4, warm_up_s=0.05)
    per_step = 50.0 / control_hz
    np.testing.assert_allclose(np.diff(found.rows.time), 1 / control_hz)
    assert found.reference_row[-1] == int((found.rows.num_rows - 1) * per_step + 1e-9) < 65
    made = [np.arange(p.first_row, p.first_row + p.num_rows) for p in found.pieces]
    np.testing.assert_array_equal(np.concatenate(made), np.arange(found.rows.num_rows))
    assert len(made) > 1 and not found.pieces[0].warm_up and found.pieces[1].warm_up
    for piece in found.pieces:
        assert piece.first_step * per_step % 1 == pytest.approx(0.0)
        assert piece.first_step == piece.first_row - piece.warm_up
        seen = windows(found.stretches, [piece], 0, 3, found.frames_per_step)
        first = found.reference_row[piece.first_step]
        np.testing.assert_array_equal(seen.qpos(), np.asarray(clips.qpos())[first : first + 3])


def test_a_fall_is_masked_and_the_body_set_on_the_reference(record, task, student, clips):
    limits = replace(task.config.termination, max_pos_error=1e-5)
    strict = ImitationTask(replace(task.config, termination=limits), task.walker, task.physics)
    rows, found = record(strict, student, clips, settle_s=0.05)
    again = np.flatnonzero(rows.start)[1:]
    assert len(again)
    assert not rows.valid[again].any() and not rows.valid[again - 1].any()
    assert rows.valid[: again[0] - 1].all()
    reference = np.asarray(clips.qpos())[np.asarray(clips.starts)[rows.clip] + rows.frame]
    np.testing.assert_array_equal(found["kinematics/qpos"][again], reference[again])
    assert np.abs(found["kinematics/qpos"][again - 1] - reference[again - 1]).max() > 1e-4


def test_a_recurrent_teacher_its_states_and_its_value(record, lasting, clips):
    teacher = untrained_policy(lasting, lstm_num_layers=2)
    config = ValueConfig(teacher.config.observation_size, (6, 4))
    seen = jnp.zeros((1, config.observation_size))
    value = ValueNetwork(config).init(jax.random.key(1), seen)
    policy = RecordingPolicy(TeacherPolicy(teacher), StoredValue(value, config), samples=4)
    _, found = record(lasting, policy, clips, loop="open")
    sizes = {name: v.shape[1] for name, v in found.items() if name.startswith("layers/")}
    states = {f"layers/decoder.lstm_{i}.{part}": 8 for i in (0, 1) for part in ("cell", "hidden")}
    values = {"layers/value.hidden_0": 6, "layers/value.hidden_1": 4}
    assert sizes == {"layers/encoder.hidden_0": 16, **states, **values}
    memory = teacher.initial_memory((1,))
    raw = np.concatenate([found["reference/input"], found["observation/proprioception"]], axis=1)
    for row in range(20):
        acted = teacher.act(raw[row : row + 1], memory)
        memory = acted.memory
        np.testing.assert_allclose(found["action/action"][row], acted.action[0], atol=1e-5)
    np.testing.assert_allclose(found["layers/decoder.lstm_1.cell"][row], memory[1][0][0], atol=1e-5)
    # without a nonlinearity the last layer of the value would not be what the next one reads
    assert found["layers/value.hidden_0"].min() >= -0.3
    assert (found["latent/sensitivity"] > 0).all() and (found["action/spread"] > 0).all()


def test_a_users_own_recurrent_student(record, lasting, toy, clips):
    network = f"{Path(__file__).parents[1] / 'examples/extend/recurrent.py'}:GruStudent"
    allow(network)
    student = StudentVAE(replace(toy.student.config, network=network, layer_norm=False))
    params = jax.jit(student.init)(jax.random.key(0))
    policy = StudentPolicy(params, toy.teacher, jnp.bool_(False), student)
    _, found = record(lasting, RecordingPolicy(policy), clips, loop="open", groups=("layers",))
    widths = {name: values.shape[1] for name, values in found.items()}
    hidden = {f"layers/{name}.hidden_0": n for name, n in sizes_of(student.config).items()}
    gru = widths.pop("layers/gru.hidden")
    assert widths == hidden and gru == student.initial_memory((1,)).shape[1]
    # without LayerNorm a layer passes on what its nonlinearity gives: silu has a least value
    assert found["layers/decoder.hidden_0"].min() >= -0.28


def sizes_of(config):
    """Width of the only hidden layer of each network."""
    return {n: getattr(config, f"{n}_hidden_sizes")[0] for n in ("encoder", "prior", "decoder")}


def test_a_body_without_a_free_root(record, arm, arm_poses):
    config = ImitationConfig(walker=arm.config, termination=TerminationConfig(family="none"))
    task = build_task(config, arm)
    clips = clips_from_poses(arm, arm_poses, [60, 40], 50.0, names=("reach", "turn"))
    policy = RecordingPolicy(TeacherPolicy(untrained_policy(task)))
    groups = ("kinematics", "dynamics", "reference", "tracking")
    rows, found = record(task, policy, clips, loop="open", groups=groups)
    assert len(rows.sessions) == 2  # clips without times
    assert not {"kinematics/root", "reference/root"} & set(found)
    np.testing.assert_array_equal(found["kinematics/joint_angles"], found["kinematics/qpos"])
    np.testing.assert_array_equal(found["kinematics/qpos"], found["reference/joint_angles"])


def test_sensitivity_is_the_slope_of_the_action(record, lasting, toy, student, clips):
    groups = ("latent", "observation")
    _, found = record(lasting, student.replace(samples=2), clips, loop="open", groups=groups)
    context = found["observation/normalized"][:1, toy.teacher.config.reference_size :]
    latent, step = found["latent/sample"][:1], 1e-3
    for i in range(latent.shape[1]):
        moved = [
            toy.student.decode(toy.params, context, latent + sign * step * np.eye(3)[i])
            for sign in (1, -1)
        ]
        slope = np.linalg.norm(moved[0] - moved[1]) / (2 * step)
        assert found["latent/sensitivity"][0, i] == pytest.approx(slope, rel=1e-2)


def test_what_perturbs_nothing_changes_nothing(record, lasting, student, clips):
    _, plain = record(lasting, student, clips)
    _, none = record(lasting, student, clips, Perturbations(delay_observation=0, delay_action=0))
    _, still = record(lasting, student, clips, Perturbations("uniform", gain=0.0))
    for name, values in plain.items():
        np.testing.assert_array_equal(none[name], values)
        np.testing.assert_allclose(still[name], values, rtol=1e-3, atol=1e-4)


def test_standard_noise_of_gain_1_is_the_sampled_student(lasting, student, clips):
    recorder = Recorder(lasting, RecordOptions())
    noisy = perturbed(student, Perturbations("standard"), recorder, clips)
    sampled = student.policy.replace(sampled=True)
    sizes = lasting.observation_sizes.items()
    seen = Observation.of(**{name: jnp.full((2, size), 0.1) for name, size in sizes})
    key, memory = jax.random.PRNGKey(3), student.initial_memory(2)
    action = noisy.act(seen, memory, key).action
    np.testing.assert_allclose(action, sampled.act(seen, memory, key).action, atol=1e-6)
    assert np.abs(action - student.act(seen, memory, key).action).max() > 1e-3


@pytest.mark.parametrize("scheme", ["standard", "uniform", "inverted"])
def test_schemes_of_noise_have_one_total_variance(scheme):
    std = jnp.sqrt(jnp.array([[1.0, 2.0, 3.0], [0.1, 0.1, 4.0]]))
    variance = spread_std(std, scheme) ** 2
    np.testing.assert_allclose(variance.sum(axis=1), [6.0, 4.2], rtol=1e-5)
    wanted = {"standard": [1, 2, 3], "uniform": [2, 2, 2], "inverted": [36 / 11, 18 / 11, 12 / 11]}
    np.testing.assert_allclose(variance[0], wanted[scheme], rtol=1e-5)


def test_delays(record, lasting, student, clips):
    late = Perturbations(delay_observation=3)
    _, found = record(lasting, student, clips, late, loop="open")
    _, plain = record(lasting, student, clips, loop="open")
    seen, on_time = found["observation/normalized"], plain["observation/normalized"]
    np.testing.assert_allclose(seen[3:], on_time[:-3], atol=1e-5)
    np.testing.assert_allclose(seen[:3], np.repeat(on_time[:1], 3, axis=0), atol=1e-5)
    _, found = record(lasting, student, clips, Perturbations(delay_action=2), loop="open")
    np.testing.assert_allclose(found["action/action"], plain["action/action"], atol=1e-5)
    late, on_time = found["dynamics/torques"], plain["dynamics/torques"]
    assert np.abs(late[2:] - on_time[2:]).max() > 1e-4  # the body gets other actions
    np.testing.assert_allclose(late[0], on_time[0], atol=1e-5)


def test_ablations(record, lasting, toy, student, clips):
    names = "encoder.hidden_0", "joint_angles", "reference:2-3"
    _, found = record(lasting, student, clips, Perturbations(ablate=names), loop="open")
    layer = found["layers/encoder.hidden_0"]
    np.testing.assert_allclose(layer, np.broadcast_to(layer[0], layer.shape), atol=1e-6)
    _, plain = record(lasting, student, clips, loop="open")
    layout, seen = lasting.layout, found["observation/normalized"]
    start, stop = layout.slices()["joint_angles"]
    assert not seen[:, start:stop].any() and plain["observation/normalized"][:, start:stop].any()
    name, size = layout.reference[0]
    start, width = layout.slices()[name][0], size // 5
    assert not seen[:, start + width : start + 3 * width].any()
    whole = plain["observation/normalized"]
    np.testing.assert_array_equal(seen[:, start : start + width], whole[:, start : start + width])
    np.testing.assert_array_equal(found["reference/input"], plain["reference/input"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("encoder.hiden_0", "did you mean encoder.hidden_0"),
        ("reference:2-9", "expected frames of reference from 1 to 5, found 2-9"),
    ],
)
def test_an_unknown_ablation_is_one_line(lasting, student, clips, name, said):
    recorder = Recorder(lasting, RecordOptions())
    with pytest.raises(UserError, match=said) as error:
        perturbed(student, Perturbations(ablate=(name,)), recorder, clips)
    assert "\n" not in str(error.value)


def test_half_precision_and_chosen_groups(record, lasting, student, clips):
    groups = ("latent", "kinematics")
    _, half = record(lasting, student, clips, loop="open", groups=groups, float16=True)
    _, whole = record(lasting, student, clips, loop="open", groups=groups)
    assert {name.partition("/")[0] for name in half} == set(groups)
    np.testing.assert_allclose(half["latent/mean"], whole["latent/mean"], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(half["kinematics/qpos"], whole["kinematics/qpos"])


def test_an_interrupted_run_leaves_no_file(lasting, student, clips, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    recorder = Recorder(lasting, RecordOptions(pieces=1))
    with pytest.raises(KeyboardInterrupt):
        recorder.write(tmp_path / "out.h5", student, clips, progress=stop)
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, toy_config, capsys):
    write_toy_run(tmp_path, toy_config)
    words = [str(tmp_path / name) for name in ("teacher", "clips.h5", "out.h5")]
    assert main(["record", *words, "--only", "latent", "layers", "--pieces", "2"]) == 0
    with open_activity_file(words[-1]) as file:
        assert file.in_group("layers") and not file.in_group("action")
        assert file.metadata["checkpoint"]["kind"] == "teacher"
        assert {row["layer"] for row in file.metadata["layers"]} == {"hidden_0"}
    assert main(["record", *words]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["record", *words, "--gain", "2", "--overwrite"]) == 2
    assert "--latent-noise" in capsys.readouterr().err
