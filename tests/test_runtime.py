import io
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from rich.console import Console
from toy_run import write_toy_run

from vnl_mjx.commands import compile_cache, doctor, runtime
from vnl_mjx.commands.train import compiling
from vnl_mjx.commands.train.compiling import CompileProgress
from vnl_mjx.commands.train.experiment import build_experiment
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.loading import load_distillation_config
from vnl_mjx.errors import UserError
from vnl_mjx.physics import backends
from vnl_mjx.physics.backends import resolve_backend
from vnl_mjx.training.compiled import CompileCost

_SET = ("jax_platforms", "jax_default_matmul_precision", "jax_compilation_cache_dir")


@pytest.fixture
def jax_config(monkeypatch):
    """JAX's configuration, put back afterwards; no variable says anything."""
    for name in ("JAX_DEFAULT_MATMUL_PRECISION", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VNL_MJX_CACHE", "off")
    before = {name: getattr(jax.config, name) for name in _SET}
    yield jax.config
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("platform", "has_warp", "expected"),
    [
        ("cpu", True, "mujoco"),
        ("gpu", True, "warp"),
        ("gpu", False, "mjx"),
        ("tpu", True, "mjx"),
    ],
)
def test_auto_is_the_fastest_back_end_here(monkeypatch, platform, has_warp, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(backends, "find_spec", lambda name: has_warp or None)
    assert resolve_backend("auto") == expected
    assert [resolve_backend(name) for name in backends.BACKENDS] == list(backends.BACKENDS)
    given = runtime.simulation(PhysicsSection(num_threads=3, njmax=7))
    assert given == {
        "backend": expected,
        "num_threads": 3,
        "naconmax_per_env": None,
        "njmax": 7,
    }


def test_the_device_is_what_was_asked_for(jax_config, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    with pytest.raises(
        UserError, match="device: expected gpu.*uv sync --inexact --extra cuda12"
    ) as caught:
        runtime.prepare_jax("gpu")
    assert "\n" not in str(caught.value)
    runtime.prepare_jax("cpu")
    assert jax_config.jax_platforms == "cpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    runtime.prepare_jax("gpu")
    with pytest.raises(ValueError, match="before it was prepared"):
        runtime.prepare_jax("cpu")  # too late


def test_a_precision_that_is_asked_for_wins_over_the_variable(jax_config, monkeypatch):
    def precision(asked):
        runtime.prepare_jax(matmul_precision=asked)
        found = runtime.describe_runtime(PhysicsSection("mjx"))
        assert found["matmul_precision"] == jax_config.jax_default_matmul_precision
        assert runtime.runtime_rows(found)["simulation"] == "MJX-JAX"
        return found["matmul_precision"]

    assert precision("auto") == "float32"
    assert precision("bfloat16") == "bfloat16"
    assert precision("auto") == "float32"  # what an earlier command wanted is forgotten
    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "tensorfloat32")
    assert precision("auto") == "tensorfloat32"
    assert precision("float32") == "float32"


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="on a GPU the precision matters")
def test_on_a_cpu_the_precision_changes_no_bit():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 130)), jnp.float32)

    def results(precision):
        with jax.default_matmul_precision(precision):
            loss = jax.jit(jax.value_and_grad(lambda x: jnp.sum(jnp.tanh(x @ x.T) @ x)))
            return [np.asarray(part).tobytes() for part in loss(x)]

    assert results(None) == results("float32") == results("tensorfloat32") == results("bfloat16")


def test_compiled_programs_are_kept_where_the_variables_say(jax_config, monkeypatch, tmp_path):
    def kept_in():
        jax_config.update("jax_compilation_cache_dir", None)
        runtime.prepare_jax()
        return jax_config.jax_compilation_cache_dir

    assert kept_in() is None and compile_cache.cache_folder() is None
    monkeypatch.setenv("VNL_MJX_CACHE", str(tmp_path / "a" / "b"))
    monkeypatch.setattr(runtime, "loads_what_it_compiles", lambda: True)
    assert kept_in() == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(runtime, "loads_what_it_compiles", lambda: False)
    assert kept_in() is None
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    assert kept_in() is None  # JAX read it at its import, and is left alone
    assert compile_cache.cache_folder() == tmp_path / "jax"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("VNL_MJX_CACHE")
    assert compile_cache.cache_folder().parts[-2:] == ("vnl-mjx", "jax")


def test_a_cache_that_cannot_be_written_is_one_warning(jax_config, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VNL_MJX_CACHE", str(tmp_path / "file" / "cache"))
    runtime.prepare_jax()
    assert jax_config.jax_compilation_cache_dir is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / "file") in said and "VNL_MJX_CACHE" in said
    finding = doctor.compiled_programs()
    assert finding.status == "note" and "VNL_MJX_CACHE" in finding.advice


def test_xla_s_refusal_to_load_is_seen_and_not_shown(monkeypatch, capfd):
    line = b"Machine type used for XLA:CPU compilation doesn't match\n"
    monkeypatch.setattr(runtime, "serialize", lambda compiled: [compiled])
    monkeypatch.setattr(runtime, "deserialize_and_load", lambda _: os.write(2, line))
    assert not runtime.loads_what_it_compiles()
    monkeypatch.setattr(runtime, "deserialize_and_load", lambda _: 1 / 0)
    assert not runtime.loads_what_it_compiles()
    monkeypatch.setattr(runtime, "deserialize_and_load", lambda _: None)
    assert runtime.loads_what_it_compiles()
    os.write(2, b"as before\n")
    assert capfd.readouterr().err == "as before\n"


def test_the_programs_not_used_for_longest_are_forgotten(tmp_path):
    for age, name in enumerate(("newest", "middle", "oldest")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - 10))
    (tmp_path / "other").write_bytes(bytes(1000))
    assert compile_cache.cached_bytes(tmp_path) == 300
    compile_cache.forget_oldest(tmp_path, 250)
    assert {p.name for p in tmp_path.iterdir()} == {"newest-cache", "middle-cache", "other"}
    compile_cache.forget_oldest(tmp_path, 250)
    assert compile_cache.cached_bytes(tmp_path) == 200


_KEEPS = """
import jax, jax.numpy as jnp
from vnl_mjx.commands.runtime import prepare_jax
prepare_jax("cpu")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rpartition("/")[2]))
y = jax.jit(lambda x: jnp.tanh(x) @ x)(jnp.eye(3))
print(float(y.sum()).hex(), "cache_hits" in events)
"""


@pytest.mark.slow
def test_a_second_process_loads_what_the_first_compiled(tmp_path):
    said = [_python(_KEEPS, tmp_path).split() for _ in range(2)]
    if not any(tmp_path.iterdir()):
        pytest.skip("XLA does not take back what it compiles for this CPU")
    assert [hit for _, hit in said] == ["False", "True"]
    assert said[0][0] == said[1][0]


_WARP = """
import sys
import jax, jax.numpy as jnp
import warp as wp
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(
    lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None
)
wp.config.quiet = True

@wp.kernel
def scale(x: wp.array(dtype=float), factor: float, y: wp.array(dtype=float)):
    i = wp.tid()
    y[i] = factor * x[i]

def make(factor):
    def scaled(x: wp.array(dtype=float), y: wp.array(dtype=float)):
        wp.launch(scale, dim=x.shape[0], inputs=[x, factor], outputs=[y])
    return wp.jax_callable(scaled, num_outputs=1, graph_mode=wp.JaxCallableGraphMode.NONE)

x = jnp.ones(2)
for call in [make(float(text)) for text in sys.argv[2:]]:
    before = len(hits)
    y = jax.jit(lambda x: call(x)[0])(x)
    print("RESULT", float(y[0]), len(hits) > before)
"""


@pytest.mark.warp
def test_a_kept_program_calls_the_warp_function_of_its_own_process(tmp_path):
    """Programs name Warp's functions by qualified name and number, in the order of registration."""
    pytest.importorskip("warp")
    script = tmp_path / "script.py"  # Warp reads the source of its kernels
    script.write_text(_WARP)
    for factors, hits in ((("2", "3"), "False"), (("3", "2"), "True")):
        done = subprocess.run(
            [sys.executable, script, tmp_path, *factors], capture_output=True, text=True, check=True
        )
        found = [line.split()[1:] for line in done.stdout.splitlines() if line[:6] == "RESULT"]
        assert found == [[f"{float(factor)}", hits] for factor in factors]


def test_doctor_says_what_auto_is(monkeypatch, tmp_path):
    found = json.dumps({"devices": ["gpu: NVIDIA H200"], "backend": "warp"})
    rows = {row.name: row.found for row in doctor.jax_findings(True, found)}
    assert rows["JAX devices"] == "gpu: NVIDIA H200"
    assert rows["simulation"].startswith("mujoco, mjx, ")
    assert rows["simulation"].endswith("backend=auto is warp here")
    assert [row.status for row in doctor.jax_findings(False, "crashed")] == ["problem"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("VNL_MJX_CACHE", str(tmp_path))
    (tmp_path / "x-cache").write_bytes(bytes(1_500_000))
    assert doctor.compiled_programs().found == f"1.5 MB in {tmp_path}"
    monkeypatch.setenv("VNL_MJX_CACHE", "off")
    assert "not kept" in doctor.compiled_programs().found


class _Compiling:
    """Stands in for a trainer whose programs are ready after so many seconds; None: never, they fail."""

    num_envs, mesh = 8, SimpleNamespace(size=2)

    def __init__(self, **ready_after):
        started = time.monotonic()

        class Stage:
            def __init__(self, seconds):
                self.seconds = seconds

            @property
            def program(self):
                if self.seconds is None:
                    raise RuntimeError("out of memory")
                is_ready = time.monotonic() - started > self.seconds
                return CompileCost(self.seconds, 2_000_000, 0, 2_000_000) if is_ready else None

        self.programs = {name: Stage(seconds) for name, seconds in ready_after.items()}


def _console(**options):
    return Console(file=io.StringIO(), width=200, **options)


def wait_for_summary(console: Console) -> None:
    """Until the line that ends it is written."""
    deadline = time.monotonic() + 10
    while "compiled " not in console.file.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_compiling_is_shown_in_lines(monkeypatch):
    monkeypatch.setattr(compiling, "PLAIN_INTERVAL_S", 0.3)
    monkeypatch.setattr(compiling, "POLL_S", 0.02)
    console = _console()
    with CompileProgress(_Compiling(rollout=0.4, update=0.8), console) as progress:
        assert progress.figures() == {}
        started = time.monotonic()
        progress.wait()  # there is something to run, while the rest is compiled
        assert time.monotonic() - started < 0.75
        wait_for_summary(console)
    assert console.file.getvalue().splitlines() == [
        "compiling",
        "compiling rollout: 0 s",
        "compiling update: 1 s",
        "compiled rollout 0.4 s, update 0.8 s; 4.0 MB on each device, 1 MB per environment",
    ]
    assert progress.figures() == {
        "compile/rollout_seconds": 0.4,
        "compile/update_seconds": 0.8,
        "memory/device_bytes": 4_000_000,
        "memory/bytes_per_env": 1_000_000,
    }


def test_compiling_is_shown_in_a_live_line_on_a_terminal():
    console = _console(force_terminal=True)
    with CompileProgress(_Compiling(rollout=0.3, update=0.3), console) as progress:
        console.print("a table meanwhile")
        progress.wait()
        with console.status("another live line"):
            wait_for_summary(console)
    text = console.file.getvalue()
    assert "compiling rollout: 0 s" in text and "a table meanwhile" in text
    assert "compiled rollout 0.3 s" in text


def test_what_does_not_compile_holds_nobody_up():
    console = _console()
    with CompileProgress(_Compiling(rollout=None), console) as progress:
        progress.wait()
    assert console.file.getvalue() == "compiling\n"
    with pytest.raises(KeyError), CompileProgress(_Compiling(rollout=1e9), console):
        raise KeyError


def test_another_solver_than_the_teachers(tmp_path, toy_config):
    overrides = write_toy_run(tmp_path, toy_config)
    build = lambda *more: build_experiment(load_distillation_config([*overrides, *more]))  # noqa: E731
    before, other = build(), build("solver_config.solver=newton", "solver_config.iterations=9")
    assert before.identity() != other.identity()  # a run does not go on with another one
    assert other.identity()["task"]["physics"]["solver"] == "newton"
    options = other.env.task.physics.model.opt
    assert (options.solver, options.iterations) == (mujoco.mjtSolver.mjSOL_NEWTON, 9)
    assert options.ls_iterations == before.env.task.physics.model.opt.ls_iterations
    with pytest.raises(UserError, match="solver_config.solver: expected cg or newton or null"):
        load_distillation_config(["solver_config.solver=pgs"])


def _python(code, cache):
    variables = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=variables | {"VNL_MJX_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
