import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vnl_mjx import __version__, cli
from vnl_mjx.commands import doctor
from vnl_mjx.commands.data import inspect
from vnl_mjx.commands.evaluate import eval_student as evaluate
from vnl_mjx.commands.train import training_run
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import resolve_backend
from vnl_mjx.report.rendering import gl


@pytest.fixture
def calls(monkeypatch):
    """Stands in for the sub-commands and records their arguments."""
    seen = []
    for module, name in ((training_run, "train"), (evaluate, "run"), (inspect, "run")):
        monkeypatch.setattr(module, name, lambda *a, **k: seen.append((a, k)) or 0)
    return seen


def test_distill_takes_overrides_around_options(calls, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training_config: {num_envs: 256}\n")
    arguments = ["training_config.seed=1", "--config", str(file), "vae_config.latent_dim=8"]
    assert cli.main(["distill", *arguments]) == 0
    config = calls[0][0][0]
    assert (config.training_config.seed, config.vae_config.latent_dim) == (1, 8)
    assert config.training_config.num_envs == 256


def test_each_command_reaches_its_module(calls):
    assert cli.main(["eval", "checkpoint_path=runs/x", "eval_config.starts_per_clip=3"]) == 0
    assert cli.main(["inspect", "clips.h5", "--json"]) == 0
    evaluation, inspection = calls
    assert evaluation[0][0].eval_config.starts_per_clip == 3
    (args,) = inspection[0]
    assert (args.path, args.json) == (Path("clips.h5"), True)


WORKED_ON = {  # as paths, by short keys, and by the keys of before
    "distill": (
        ["my teacher", "a,b.h5"],
        ["teacher=my teacher", "clips=a,b.h5"],
        ["teacher_config.checkpoint_path=my teacher", "teacher_config.reference_data_path=a,b.h5"],
    ),
    "train-teacher": (
        ["a.h5", "b c.h5"],
        ["clips=[a.h5, b c.h5]"],
        ["reference_config.paths=[a.h5, b c.h5]"],
    ),
    "train-task": (
        ["gaps", "runs/x"],
        ["student=runs/x", "goal=gaps"],
        ["low_level=runs/x", "goal=gaps"],
    ),
    "eval": (["runs/x"], ["run=runs/x"], ["checkpoint_path=runs/x"]),
}


@pytest.mark.parametrize("command", WORKED_ON)
def test_paths_and_keys_short_or_long_say_the_same(command, tmp_path, capsys):
    paths, short, old = WORKED_ON[command]
    file = tmp_path / "mine.yaml"
    file.write_text("".join(": ".join(word.split("=")) + "\n" for word in short))
    shown = set()
    for words in (paths, short, paths + short, ["--config", str(file)]):
        assert cli.main([command, *words, "--show-config"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        shown.add(captured.out)
    assert cli.main([command, *old, *short, "--show-config"]) == 0
    captured = capsys.readouterr()
    (config,) = shown | {captured.out}
    assert paths[0] in config and paths[-1] in config
    new = {o.partition("=")[0]: s.partition("=")[0] for o, s in zip(old, short, strict=True)}
    said = ", ".join(f"{key}= is now {name}=" for key, name in new.items() if key != name)
    assert captured.err == f"vnl-mjx: {said}\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            ["distill", "a", "teacher=b"],
            "teacher: expected one value, found TEACHER 'a' and teacher=b",
        ),
        (
            ["distill", "clips=a", "teacher_config.reference_data_path=b"],
            "clips: expected one value",
        ),
        (["eval", "a", "checkpoint_path=b"], "found RUN 'a' and checkpoint_path=b; give one"),
        (["train-teacher", "a", "b", "clips=a"], "found CLIPS ['a','b'] and clips=a; give one"),
        (["train-task", "gaps", "goal=bowl"], "found GOAL 'gaps' and goal=bowl; give one"),
        (["eval", "a", "b"], "eval: expected RUN and settings as key=value, found 2 paths: a, b"),
        (["distill", "techer=a"], "unknown key techer; did you mean teacher?"),
        (["eval", "teacher=a"], "unknown key teacher"),
        (["distill", "training_config.seed"], "training_config.seed: expected key=value"),
        (["distill", "no/such"], "no/such does not exist"),
    ],
)
def test_what_a_command_works_on_is_said_once(arguments, found, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert found in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["eval-teacher", "runs/x", "--clips", "a.h5", "--episodes", "3"],
        ["view", "runs/x", "--browser", "--clip", "a=b"],
        ["clips", "select", "a.h5", "b.h5", "--clips", "0,4-7", "--overwrite"],
        ["distill", "runs/x", "--preset", "pulse", "device=cpu", "--config", "mine.yaml"],
    ],
)
def test_what_an_option_says_is_a_setting_too(words):
    pairs = " ".join(words).replace("--clip a=b", "clip=a=b")
    for name in ("clips", "episodes", "preset", "config"):
        pairs = pairs.replace(f"--{name} ", f"{name}=")
    settings, options = (vars(cli.parse(given)) for given in (pairs.split(), words))
    assert "--clip" not in pairs
    for key in options.keys() - {"command"}:
        assert settings[key] == options[key], key


def test_a_file_says_once_what_a_command_works_on(calls, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    given = ["distill", "--config", str(file)]
    file.write_text("teacher: a\nteacher_config: {checkpoint_path: b}\n")
    assert cli.main(given) == 2
    expected = f"{file}: teacher: expected one value, found a and teacher_config.checkpoint_path: b"
    assert expected in capsys.readouterr().err
    file.write_text("techer: a\n")
    assert cli.main(given) == 2
    assert "did you mean teacher?" in capsys.readouterr().err
    # the command line lies above the file, whatever the names
    file.write_text("teacher: a\n")
    assert cli.main([*given, "teacher_config.checkpoint_path=b"]) == 0
    assert calls[0][0][0].teacher_config.checkpoint_path == "b"


def test_the_command_alone_prints_its_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([])
    assert "train-teacher" in capsys.readouterr().out


def test_a_command_that_is_nearly_right_is_named(capsys):
    assert cli.main(["distil"]) == 2
    assert "did you mean distill" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    ["foo", *(pytest.param(value, marks=pytest.mark.slow) for value in ("osmesa", "off"))],
)
def test_what_draws_nothing_needs_no_drawing(tmp_path, value):
    """TRIALS T1, T2: a notebook's Matplotlib, and a MUJOCO_GL that this machine may not serve."""
    program = "import sys; from vnl_mjx.cli import main; sys.exit(main(sys.argv[1:]))"
    inline = "module://matplotlib_inline.backend_inline"
    done = subprocess.run(
        [sys.executable, "-c", program, "preprocess", str(DEMO_CLIPS), str(tmp_path / "out.h5")],
        env=os.environ | {"MUJOCO_GL": value, "MPLBACKEND": inline},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert (tmp_path / "out.quality.png").is_file()


@pytest.mark.parametrize(
    "variable",
    ["JAX_PLATFORMS=nonesuch", "JAX_DEFAULT_MATMUL_PRECISION=bogus"],
)
def test_a_wrong_variable_of_jax_gets_one_line(variable):
    """TRIALS T15."""
    name, _, value = variable.partition("=")
    done = subprocess.run(
        [sys.executable, "-m", "vnl_mjx.cli", "eval-teacher"],
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr[-1000:]
    assert name.lower() in done.stderr.lower()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_output_that_cannot_be_printed_gets_one_line():
    """TRIALS T21."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vnl_mjx.cli", "inspect", str(DEMO_CLIPS)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2 and done.stderr.splitlines() == [
        "vnl-mjx: error: cannot print (No space left on device); send the output elsewhere"
    ]


def test_show_config_prints_yaml_and_runs_nothing(calls, capsys):
    assert cli.main(["distill", "--show-config", "training_config.seed=3"]) == 0
    assert "  seed: 3\n" in capsys.readouterr().out
    smooth = "training_config.loss_terms.smooth"
    own = [f"{smooth}.function=lab/terms.py:smooth", f"{smooth}.weight=0.5"]
    assert cli.main(["distill", "--show-config", *own]) == 0
    assert "      function: lab/terms.py:smooth\n" in capsys.readouterr().out
    assert not calls


@pytest.mark.parametrize(
    "arguments",
    [
        ["distill", "num_env=3"],
        ["distill", "--cofnig", "x"],
        ["distill", "--config", "no/such/file.yaml"],
        ["distill", "--config"],
        ["distill", "teacher", "clips.h5", "stray"],
        ["distill", "training_config.seed", "1"],
        ["train-task", "joystick", "student", "stray"],
        ["eval"],
        ["eval", "runs/x", "runs/y"],
        ["inspect"],
        ["inspect", "a", "b"],
        ["doctor", "stray"],
        ["nothing"],
        ["distill", "-m", "training_config.seed=1,2"],
    ],
)
def test_a_mistake_is_one_line_and_status_2(calls, arguments, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vnl-mjx: error: ")
    assert captured.err.count("\n") == 1
    assert not calls


def test_exit_statuses_of_a_command(monkeypatch, capsys):
    def raises(error):
        def run(config):
            raise error

        return run

    monkeypatch.setattr(training_run, "train", raises(UserError("two\nlines")))
    assert cli.main(["distill"]) == 2
    assert capsys.readouterr().err == "vnl-mjx: error: two lines\n"
    monkeypatch.setattr(training_run, "train", raises(KeyboardInterrupt()))
    assert cli.main(["distill"]) == 130
    monkeypatch.setattr(training_run, "train", lambda config: 7)
    assert cli.main(["distill"]) == 7


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["distill", "--help"], ["eval", "--help"], ["train-teacher", "--help"]],
)
def test_help_has_examples_and_loads_nothing_heavy(arguments):
    code = (
        "import sys; from vnl_mjx.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'jax', 'mujoco', 'hydra', 'omegaconf'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "vnl-mjx" in done.stdout
    if len(arguments) > 1:
        assert f"vnl-mjx {arguments[0]}" in done.stdout.partition("examples:")[2]


@pytest.mark.parametrize("script", ["train_vae.py", "eval_vae.py", "train_teacher.py"])
def test_scripts_run_from_the_package_folder(script):
    folder = Path(cli.__file__).parent
    done = subprocess.run(
        [sys.executable, script, "num_env=3"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vnl-mjx: error: unknown key num_env")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["train_vae.py", "eval_vae.py", "train_teacher.py"])
def test_scripts_say_what_to_install(script):
    folder = Path(cli.__file__).parent
    done = subprocess.run(
        [sys.executable, "-S", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "has no module vnl_mjx; run `uv run python" in done.stderr


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("train_vae.py", ["given", "clips.h5"]),
        ("train_vae.py", ["teacher_config.checkpoint_path=given"]),
        ("train_vae.py", ["teacher=given"]),
        ("eval_vae.py", ["given"]),
        ("eval_vae.py", ["checkpoint_path=given"]),
    ],
)
def test_scripts_take_paths_and_keys_of_old(script, words):
    done = subprocess.run(
        [sys.executable, script, *words, "--show-config"],
        cwd=Path(cli.__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "checkpoint_path: given\n" in done.stdout
    assert done.stderr.count("is now") == ("checkpoint_path=given" in words[0])


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"vnl-mjx {__version__}\n"


def test_doctor_reports_this_machine(monkeypatch, capsys):
    monkeypatch.setattr(gl, "GL_PROBE", "raise OSError('no screen')")
    status = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    findings = {row["name"]: row for row in report["findings"]}
    assert report["ok"] is (status == 0)
    assert findings["JAX devices"]["status"] != "problem"
    assert "cpu" in findings["JAX devices"]["found"] or "gpu" in findings["JAX devices"]["found"]
    assert f"backend=auto is {resolve_backend('auto')} here" in findings["simulation"]["found"]
    assert int(findings["cores"]["found"]) >= 1
    assert findings["packages"]["status"] == "ok"
    for name in gl.GL_BACKENDS:
        row = findings[f"rendering with {name}"]
        assert (row["found"], row["status"]) == ("OSError: no screen", "note")
    assert findings["video"]["advice"]


def test_doctor_probe_survives_a_hang_and_a_crash(monkeypatch):
    monkeypatch.setattr(gl, "PROBE_TIMEOUT_S", 0.5)
    assert gl.probe("import time; time.sleep(30)") == (False, "no answer in 0.5 s")
    monkeypatch.setattr(gl, "PROBE_TIMEOUT_S", 30)
    assert gl.probe("import os; os.abort()") == (False, "crashed with signal 6")
    assert gl.probe("print('a'); print('b')") == (True, "b")


def test_doctor_table_shows_problems(monkeypatch, capsys):
    rows = [doctor.Finding("thing", "[broken]", "problem", "mend it")]
    monkeypatch.setattr(doctor, "examine", lambda: rows)
    assert doctor.run(argparse.Namespace(json=False)) == 1
    text = capsys.readouterr().out
    assert "[broken]" in text and "mend it" in text and "Not ready" in text


def test_a_full_memory_gets_one_line(monkeypatch, capsys):
    def fill(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(inspect, "run", fill)
    assert cli.main(["inspect", "x"]) == 2
    assert capsys.readouterr().err.startswith("vnl-mjx: error: the memory is full; ")
