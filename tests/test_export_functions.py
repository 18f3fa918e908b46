"""`vnl-mjx export --to onnx, npz, stablehlo`: what other software reads does what JAX does."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from toy_run import toy_task

from vnl_mjx.cli import main
from vnl_mjx.compat.function_contract import build_contract, start_of, write_body
from vnl_mjx.compat.function_files import FORMATS, largest_difference, write_function
from vnl_mjx.compat.functions import student_functions, teacher_functions
from vnl_mjx.compat.observation_contract import observation_parts
from vnl_mjx.config.imitation import ImitationConfig, UpstreamQuirks, WalkerConfig
from vnl_mjx.demo import DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig, IntentionNetwork
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.models.layers import ACTIVATIONS
from vnl_mjx.models.student import Student
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.terms.observations import BODY_TERMS
from vnl_mjx.utils.vae_checkpointing import load_student
from vnl_mjx.walkers.walker import build_walker

ROOT = Path(__file__).parents[1]
DRIVE = ROOT / "examples/export/drive_onnx.py"
HAS_ONNX = bool(find_spec("onnx") and find_spec("onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra `onnx`")
KINDS = [pytest.param(kind, marks=needs_onnx) if kind == "onnx" else kind for kind in FORMATS]


def read_with_numpy(folder, function):
    """What `docs/export.md` shows: a function of an npz file, by NumPy and JSON alone."""
    layers = json.loads((folder / "contract.json").read_text())["functions"][function]["layers"]
    arrays = np.load(folder / f"{function}.npz")
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    activations = {"silu": lambda x: x * sigmoid(x), "tanh": np.tanh, "sigmoid": sigmoid}

    def evaluate(**values):
        for layer in layers:
            x, *others = (values[name] for name in layer["reads"])
            a = {name: arrays[key] for name, key in layer["arrays"].items()}
            if layer["kind"] == "normalise":
                x = (x - a["mean"]) / a["std"]
            elif layer["kind"] == "join":
                x = np.concatenate([x, *others], axis=-1)
            elif layer["kind"] == "dense":
                x = x @ a["kernel"] + a["bias"]
            elif layer["kind"] == "activation":
                x = activations[layer["function"]](x)
            elif layer["kind"] == "layer_norm":
                spread = np.sqrt(x.var(-1, keepdims=True) + layer["epsilon"])
                x = (x - x.mean(-1, keepdims=True)) / spread * a["scale"] + a["bias"]
            elif layer["kind"] == "clip":
                x = np.clip(x, layer["low"], layer["high"])
            elif layer["kind"] == "add":
                x = x + others[0]
            elif layer["kind"] == "half_exp":
                x = np.exp(0.5 * x)
            values[layer["writes"]] = x
        return values

    return evaluate


def read_with_onnx(folder, function):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{function}.onnx")
    names = [one.name for one in session.get_outputs()]
    return lambda **values: dict(zip(names, session.run(None, values), strict=True))


def read_with_jax(folder, function):
    stored = jax.export.deserialize(bytearray((folder / f"{function}.stablehlo").read_bytes()))
    told = json.loads((folder / "contract.json").read_text())["functions"][function]

    def call(**values):
        found = stored.call(*(values[one["name"]] for one in told["inputs"]))
        return dict(zip([one["name"] for one in told["outputs"]], found, strict=True))

    return call


READERS = {"npz": read_with_numpy, "onnx": read_with_onnx, "stablehlo": read_with_jax}


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_is_read_by_others(distilled, kind, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(distilled[0] / "run"), str(out), "--to", kind]) == 0
    assert "read back, values equal to" in capsys.readouterr().out
    names = ("encoder", "prior", "decoder")
    assert {p.name for p in out.iterdir()} == {f"{n}.{kind}" for n in names} | {
        "contract.json",
        "body.xml",
    }
    assert list(tmp_path.iterdir()) == [out]
    loaded = load_student(distilled[0] / "run")
    student, config = loaded.for_use(), loaded.student.config
    for batch in (1, 5):
        rng = np.random.default_rng(batch)
        reference, body, latent = (
            rng.normal(size=(batch, size)).astype(np.float32)
            for size in (config.reference_size, config.proprioception_size, config.latent_dim)
        )
        posterior = student.encode(body, reference)
        found = READERS[kind](out, "encoder")(reference=reference, proprioception=body)
        np.testing.assert_allclose(found["mean"], posterior.mean, atol=1e-5)
        np.testing.assert_allclose(found["std"], jnp.exp(0.5 * posterior.logvar), atol=1e-5)
        prior, found = student.prior(body), READERS[kind](out, "prior")(proprioception=body)
        np.testing.assert_allclose(found["mean"], prior.mean, atol=1e-5)
        np.testing.assert_allclose(found["std"], jnp.exp(0.5 * prior.logvar), atol=1e-5)
        found = READERS[kind](out, "decoder")(proprioception=body, latent=latent)
        np.testing.assert_allclose(found["control"], student.decode(body, latent), atol=1e-5)


def test_the_contract_says_what_is_there(distilled, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(distilled[0] / "run"), str(out), "--to", "npz"]) == 0
    told = json.loads((out / "contract.json").read_text())
    loaded = load_student(distilled[0] / "run")
    assert told["source"] == {
        "kind": "student",
        "sha256": loaded.sha256,
        "env_steps": loaded.env_steps,
    }
    slices = loaded.metadata["identity"]["observation"]
    first = loaded.student.config.reference_size
    for part in told["observation"]["reference"]:
        assert [part["start"], part["stop"]] == slices[part["name"]]
    for part in told["observation"]["proprioception"]:
        assert [part["start"] + first, part["stop"] + first] == slices[part["name"]]
        assert part["unit"] and part["frame"] and part["formula"] and part["meaning"]
    model = mujoco.MjModel.from_xml_path(str(out / "body.xml"))
    names = [actuator["name"] for actuator in told["control"]["actuators"]]
    assert names == [model.actuator(i).name for i in range(model.nu)]
    assert told["control"]["rate_hz"] == pytest.approx(100)
    assert model.opt.timestep == told["physics"]["timestep_s"] and told["physics"]["substeps"] == 5
    assert (model.opt.iterations, model.opt.ls_iterations) == (5, 5)
    assert model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    assert told["latent"] == {"size": 3, "prior": "gaussian, learned"}


def test_a_teacher_has_no_prior(distilled, tmp_path):
    folder, out = distilled[0], tmp_path / "out"
    clips = ["--clips", str(folder / "clips.h5")]
    assert main(["export", str(folder / "teacher"), str(out), "--to", "npz", *clips]) == 0
    assert {p.stem for p in out.iterdir()} == {"encoder", "decoder", "contract", "body"}
    assert json.loads((out / "contract.json").read_text())["latent"]["prior"] is None


SIZES = {"reference_size": 7, "proprioception_size": 5, "action_size": 2}
NETWORK = IntentionConfig(
    **SIZES, latent_dim=3, encoder_hidden_sizes=(6, 4), decoder_hidden_sizes=(8,)
)


def made_teacher(**changes):
    config = replace(NETWORK, **changes)
    memory = config.initial_memory((1,))
    init = jax.jit(IntentionNetwork(config).init)
    params = init(jax.random.key(0), jnp.zeros((1, 12)), memory)
    mean, std = jnp.linspace(-2, 2, 12), jnp.linspace(0, 3, 12)
    return FrozenPolicy(params, mean, std, config)


def unmade_student(teacher=None, **changes):
    """A student without parameters."""
    teacher = teacher or made_teacher()
    given = {"latent_dim": 3, "encoder_hidden_sizes": (6, 5), "decoder_hidden_sizes": (7, 6)}
    given |= {"prior_hidden_sizes": (4,), "activation": "silu"}
    networks = StudentVAE(VaeConfig(**SIZES, **given | changes), teacher.config)
    return Student({}, teacher, networks)


def made_student(teacher=None, **changes):
    student = unmade_student(teacher, **changes)
    init = jax.jit(student.networks.init)
    return student.replace(params=init(jax.random.key(1), student.teacher))


VARIED = {
    "residual": lambda: student_functions(
        made_student(posterior="residual", logvar_min=-0.1, logvar_max=0.1)
    ),
    "without layer norm": lambda: student_functions(made_student(layer_norm=False)),
    "of a teacher": lambda: student_functions(made_student(network="teacher")),
    "whole": lambda: student_functions(
        made_student(
            made_teacher(encoder_reads_body=True, logvar_range=(-0.2, None)), network="teacher"
        )
    ),
    "sigmoid": lambda: teacher_functions(made_teacher(squash="sigmoid", observation_clip=0.7)),
}
VARIED |= {
    name: lambda name=name: teacher_functions(made_teacher(activation=name))
    for name in sorted(ACTIVATIONS.keys() - {"silu"})
}


@pytest.mark.parametrize("variant", VARIED)
def test_every_network_comes_back(variant, tmp_path):
    for function in VARIED[variant]():
        for kind in ["npz", *(["onnx"] if HAS_ONNX else [])]:
            file = tmp_path / f"{function.name}.{kind}"
            write_function(kind, function, file)
            assert largest_difference(kind, function, file, 20) < 1e-5, file.name


def test_a_teachers_functions_are_its_policy():
    teacher = made_teacher()
    encoder, decoder = teacher_functions(teacher)
    inputs = encoder.draw(9) | decoder.draw(9)
    obs = np.concatenate([inputs["reference"], inputs["proprioception"]], axis=1)
    mean, _ = encoder(inputs["reference"], inputs["proprioception"])
    np.testing.assert_allclose(
        decoder(inputs["proprioception"], mean)[0], teacher.act(obs).action, atol=1e-6
    )


class OwnFamily:
    """A Gaussian of the user's own."""

    def __init__(self, config):
        self.size = config.latent_dim

    def posterior(self, features):
        mean = features[..., : self.size]
        return Gaussian(mean, jnp.zeros_like(mean))

    prior = posterior


def test_networks_of_ones_own_go_to_stablehlo(tmp_path):
    from vnl_mjx.compat.function_files import check_format

    allow("test_export_functions:OwnFamily")
    functions = student_functions(made_student(latent="test_export_functions:OwnFamily"))
    check_format("stablehlo", functions)
    with pytest.raises(UserError, match="--to npz: expected networks of vnl-mjx.*--to stablehlo"):
        check_format("npz", functions)
    for function in functions:
        write_function("stablehlo", function, tmp_path / function.name)
        assert largest_difference("stablehlo", function, tmp_path / function.name, 20) < 1e-5


def test_what_cannot_be_held_is_refused(monkeypatch):
    with pytest.raises(UserError, match="expected a teacher without a memory, found a recurrent"):
        teacher_functions(made_teacher(memory_sizes=(4,)))
    monkeypatch.chdir(ROOT)
    allow("examples/extend/recurrent.py", "examples/extend/laplace.py")
    with pytest.raises(UserError, match="expected a student without a memory, found a recurrent"):
        student_functions(unmade_student(network="examples/extend/recurrent.py:GruStudent"))
    with pytest.raises(UserError, match=r"expected a student with a Gaussian latent.*laplace"):
        student_functions(unmade_student(latent="examples/extend/laplace.py:Family"))
    with pytest.raises(UserError, match=r"expected a student with a Gaussian latent.*fsq"):
        student_functions(unmade_student(latent="fsq"))


def refused(*arguments, capsys):
    assert main(["export", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_bad_arguments_get_one_line(distilled, tmp_path, capsys, monkeypatch):
    run = distilled[0] / "run"
    error = refused(run, tmp_path / "out", "--to", "tflite", capsys=capsys)
    assert "invalid choice: 'tflite'" in error and "onnx" in error
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    assert "full exists already" in refused(run, full, "--to", "npz", capsys=capsys)
    assert [p.name for p in full.iterdir()] == ["mine"]
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    for step in (damaged / "checkpoints").iterdir():
        shutil.rmtree(step / "student" / "d")
    error = refused(damaged, tmp_path / "out", "--to", "npz", capsys=capsys)
    assert "damaged" in error
    here = importlib.util.find_spec
    without = lambda name: None if name.startswith("onnx") else here(name)  # noqa: E731
    monkeypatch.setattr("vnl_mjx.compat.function_files.find_spec", without)
    error = refused(run, tmp_path / "out", "--to", "onnx", capsys=capsys)
    assert "needs the extra 'onnx', found no onnx and no onnxruntime; run `uv sync" in error
    assert not (tmp_path / "out").exists()


def test_a_difference_is_an_error_and_leaves_nothing(distilled, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vnl_mjx.commands.data.export.largest_difference", lambda *_: float("nan"))
    error = refused(distilled[0] / "run", tmp_path / "out", "--to", "npz", capsys=capsys)
    assert "encoder.npz: read back, its values are off by nan" in error
    assert not list(tmp_path.iterdir())


def driven_body(task, folder):
    """The example's body of a task, without functions."""
    spec = importlib.util.spec_from_file_location("drive_onnx", DRIVE)
    drive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drive)
    write_body(task, folder / "body.xml")
    told = build_contract("onnx", [], task, {}, {}, start_of(task, None))
    (folder / "contract.json").write_text(json.dumps(told))
    return drive.Body(folder)


def of_every_term(config, terms, **quirks):
    physics = replace(config.physics, sensors=True)
    changed = replace(config.quirks, **quirks)
    config = replace(config, proprioception=tuple(terms), physics=physics, quirks=changed)
    return build_task(config, build_walker(config.walker))


RODENT = ImitationConfig(
    walker=WalkerConfig(torque_actuators=False, touch_sensors=True), quirks=UpstreamQuirks()
)


@needs_onnx
@pytest.mark.parametrize("root_lags", [False, True])
def test_the_example_sees_what_the_environment_sees(root_lags, tmp_path):
    task = of_every_term(RODENT, BODY_TERMS, root_lags=root_lags)
    body = driven_body(task, tmp_path)
    assert {p["name"] for p in observation_parts(task)["proprioception"]} == set(BODY_TERMS)
    data, model = body.data, body.model
    data.qpos[2] = 0.05
    mujoco.mj_forward(model, data)
    state = task.physics.reset(jnp.asarray(data.qpos), jnp.zeros(model.nv))
    previous, actions = state.qpos, jnp.zeros((2, model.nu))
    body.previous_qpos = np.asarray(state.qpos)
    observe, step = jax.jit(task.proprioception), jax.jit(task.physics.step)
    rng = np.random.default_rng(0)
    for _ in range(15):
        expected = observe(state, previous, actions)
        np.testing.assert_allclose(body.proprioception()[0], expected, rtol=1e-5, atol=1e-5)
        # the environment keeps float32 between control steps; the same model on both sides
        for name in ("qpos", "qvel", "act", "qacc_warmstart"):
            setattr(data, name, np.asarray(getattr(state, name)))
        control = rng.uniform(-1, 1, model.nu).astype(np.float32)
        body.model = task.physics.model
        body.step(control)
        previous, state = state.qpos, step(state, control)
        actions = jnp.stack([actions[1], control])


TRIANGLES = "v 0 0 0\nv .01 0 0\nv 0 .01 0\nv 0 0 .01\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def test_a_body_takes_its_meshes_along(toy_config, tmp_path):
    text = Path(toy_config.source).read_text()
    asset = '<compiler meshdir="parts"/><asset><mesh file="tail.obj"/></asset>'
    text = re.sub(r"(<mujoco[^>]*>)", rf"\1{asset}", text, count=1)
    geom = '<geom type="mesh" mesh="tail" contype="0" conaffinity="0"/>'
    text = re.sub(r"(<body[^>]*>)", rf"\1{geom}", text, count=1)
    source = tmp_path / "source"
    (source / "parts").mkdir(parents=True)
    (source / "parts/tail.obj").write_text(TRIANGLES)
    (source / "body.xml").write_text(text)
    config = toy_task(replace(toy_config, source=str(source / "body.xml")))
    task = build_task(config, build_walker(config.walker))
    (tmp_path / "out").mkdir()
    write_body(task, tmp_path / "out/body.xml")
    shutil.rmtree(source)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "elsewhere/body.xml"))
    assert model.nmesh == 1 and model.nmeshvert == 4


ALONE = (
    "import sys, runpy; sys.modules |= dict.fromkeys(('jax', 'vnl_mjx', 'flax')); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@needs_onnx
def test_the_example_drives_the_rodent_without_jax(tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(DEMO_TEACHER), str(out), "--to", "onnx"]) == 0
    command = [sys.executable, "-c", ALONE, str(DRIVE), str(out), "--seconds", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("up for 0.50 s of 0.5 s, went ")
