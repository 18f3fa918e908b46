"""What a user adds in files of their own: examples/ as they stand, small, with nothing edited in vnl_mjx."""

import ast
import json
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from toy_run import write_toy_run
from toy_teacher import toy_overrides

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main
from vnl_mjx.extensions import allow, load_object

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST_LINES = {  # but for comments and docstrings
    "reward_term.py": 25,
    "action_change.py": 25,
    "arm.py": 40,
    "muscles.py": 35,
    "latent_task.py": 95,
    "laplace.py": 60,
    "recurrent.py": 80,
}
STEPS = "training_config.num_steps={}"
BRIEFLY = [
    "prior_config.seconds=0.5",
    "prior_config.num_episodes=4",
    "video_config.num_clips=0",
    "latent_config.umap=false",
]


@pytest.fixture(scope="module")
def toy(toy_config, tmp_path_factory):
    """Overrides of a small distillation, four updates long."""
    return [*write_toy_run(tmp_path_factory.mktemp("toy"), toy_config), STEPS.format(128)]


@pytest.fixture
def run_example(monkeypatch, tmp_path):
    """Runs a file of examples/ as `python FILE ARGUMENT ...` does."""
    monkeypatch.chdir(tmp_path)

    def run(file: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [file, *map(str, arguments)])
        try:
            runpy.run_path(str(EXAMPLES / file), run_name="__main__")
        except SystemExit as end:
            assert not end.code

    return run


def last_logged(run_dir: Path) -> dict[str, float]:
    """The last value of every metric."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return {name: value for line in lines for name, value in json.loads(line).items()}


# --- what they are ------------------------------------------------------------------------------


def lines_of_code(file: Path) -> int:
    text = file.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), start=1)
    )


@pytest.mark.parametrize("name", MOST_LINES)
def test_an_extension_is_short(name):
    assert lines_of_code(EXAMPLES / "extend" / name) <= MOST_LINES[name]


def test_every_extension_is_looked_at():
    assert {file.name for file in (EXAMPLES / "extend").glob("*.py")} == MOST_LINES.keys()


@pytest.mark.parametrize("name", MOST_LINES)
def test_an_extension_uses_the_public_interface_and_edits_nothing(name):
    tree, imported = ast.parse((EXAMPLES / "extend" / name).read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            module = getattr(node, "module", None) or ""
            names = {alias.name for alias in node.names}
            if module.startswith("vnl_mjx") or names == {"vnl_mjx"}:
                private = [part for part in (*module.split("."), *names) if part.startswith("_")]
                assert not private
                imported |= names
    assert imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            assert isinstance(root, ast.Name) and root.id not in imported
        assert not (isinstance(node, ast.Name) and node.id in ("setattr", "delattr"))


# --- that they run ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_reward_term_of_ones_own(run_example, toy_config, tmp_path):
    small = [
        *toy_overrides(tmp_path, toy_config),
        "ppo.num_steps=64",
        "eval_config.interval_steps=0",
    ]
    body = "task.reward.terms.tail_up.arguments.body=torso"
    run_example("extend/reward_term.py", f"run_dir={tmp_path / 'run'}", *small, body)
    share = last_logged(tmp_path / "run")["rollout/tail_up"] / 0.2
    assert 0.0 < share < 1.0


@pytest.mark.slow
def test_a_loss_term_of_ones_own_and_a_task_in_the_latent_space(run_example, toy, tmp_path, capsys):
    segments = ["training_config.segment_length=4"]
    for name, weight in (("rough", 0), ("smooth", 10)):
        override = f"training_config.loss_terms.change.weight={weight}"
        run = f"run_dir={tmp_path / name}"
        run_example("extend/action_change.py", run, *toy, *segments, override)
    rough, smooth = (last_logged(tmp_path / name) for name in ("rough", "smooth"))
    assert smooth["loss/change"] < 0.9 * rough["loss/change"]
    capsys.readouterr()
    run_example("extend/latent_task.py", tmp_path / "smooth")
    printed = capsys.readouterr().out
    assert "768 steps: reward 0." in printed and "at the mode: reward 0." in printed
    run_example("load_and_use.py", tmp_path / "smooth")
    assert "a latent from the prior is decoded: (4, 4)" in capsys.readouterr().out


def test_the_kl_of_an_own_latent_is_that_of_its_densities(tmp_path):
    allow(f"{EXAMPLES}/extend/laplace.py")
    laplace = load_object(f"{EXAMPLES}/extend/laplace.py:Laplace", "key")
    posterior, prior = laplace(0.5, np.log(0.4)), laplace(-0.2, np.log(1.3))

    def integrand(x):
        log_q, log_p = (
            scipy.stats.laplace.logpdf(x, d.center, np.exp(d.log_scale)) for d in (posterior, prior)
        )
        return np.exp(log_q) * (log_q - log_p)

    expected = scipy.integrate.quad(integrand, -12, 12, points=[-0.2, 0.5])[0]
    assert float(posterior.kl(prior)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_latent_of_ones_own(run_example, toy, tmp_path):
    run_example("extend/laplace.py", f"run_dir={tmp_path / 'run'}", *toy)
    row = last_logged(tmp_path / "run")
    assert row["loss/kl"] > 0 and "latent/prior_std" not in row


@pytest.mark.slow
def test_a_recurrent_student_goes_on_as_if_never_stopped(run_example, toy, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    saved = ["training_config.segment_length=4", "checkpoint_config.interval_steps=64"]
    run_example("extend/recurrent.py", f"run_dir={whole}", *toy, *saved)
    shutil.copytree(whole, parts)
    for later in ("96", "128"):
        shutil.rmtree(parts / "checkpoints" / later, ignore_errors=True)
    run_example("extend/recurrent.py", f"run_dir={parts}", *toy, *saved)
    found, expected = (flat(read_arrays(run / "checkpoints/128/state")) for run in (parts, whole))
    assert any("gru" in key for key in expected)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def flat(tree: dict, path: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, part in tree.items() for k, v in flat(part, f"{path}/{key}").items()}


# --- in full ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "missing"),
    [
        ("latent=fsq", "the latent is not Gaussian"),
        ("latent={}/extend/laplace.py:Family", "the latent is not Gaussian"),
        ("network={}/extend/recurrent.py:GruStudent", None),
    ],
)
def test_a_student_of_ones_own_is_evaluated(toy, tmp_path, own, missing):
    run = tmp_path / "run"
    assert main(["distill", f"run_dir={run}", *toy, f"vae_config.{own.format(EXAMPLES)}"]) == 0
    assert main(["inspect", str(run)]) == 0
    assert main(["eval", str(run), *BRIEFLY]) == 0
    document = json.loads((run / "report" / "metrics.json").read_text())
    page = (run / "report" / "report.html").read_text()
    assert (missing is None) == ("is not Gaussian" not in page)
    assert missing is None or missing in page
    assert document["latent"]["kl"] > 0 and "probe" in document["latent"]
    assert ("aggregate" in document["latent"]) == (missing is None)
    assert "clips" in document["prior"]["learned"]


@pytest.mark.slow
def test_a_body_with_muscles(run_example, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "extend")
    run_example("extend/muscles.py", tmp_path / "muscles", 6144)
    metrics = json.loads((tmp_path / "muscles/teacher/eval/metrics.json").read_text())
    assert metrics["env_steps"] == 6144


@pytest.mark.slow
def test_a_body_without_a_free_root(run_example, tmp_path, capfd):
    run_example("extend/arm.py", tmp_path / "arm")
    said = capfd.readouterr().out
    printed = next(line for line in said.splitlines() if line.startswith("evaluate: "))
    assert main(shlex.split(printed)[2:]) == 0  # on the user's own clips and body
    document = json.loads((tmp_path / "arm/student/report/metrics.json").read_text())
    figures = document["policies"]["student"]["deterministic"]["sets"]["all"]["figures"]
    assert figures["survival"]["mean"] == 1.0 and figures["root_error_mm"]["mean"] == 0.0
    assert 0.0 < figures["joint_error_rad"]["mean"] < 1.5
