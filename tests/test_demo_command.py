"""`vnl-mjx demo`: which commands it runs, and that a failure ends it."""

from pathlib import Path

import pytest

from vnl_mjx.cli import build_parser
from vnl_mjx.commands import demo
from vnl_mjx.commands.output import TERMINATED_EXIT_STATUS
from vnl_mjx.errors import UserError


def finish(words):
    """Leaves what the end of a distillation does."""
    if words[0] == "distill":
        file = Path(words[1].removeprefix("run_dir=")) / "eval" / "metrics.json"
        file.parent.mkdir(parents=True)
        file.touch()
    return 0


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Words of every command that was run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "choose_backend", lambda: "osmesa")
    return []


def test_every_step_is_a_command_that_stands_alone(commands, capsys):
    def run(words):
        commands.append(list(words))
        return finish(words)

    assert demo.run(Path("runs/x"), False, run) == 0
    assert [words[0] for words in commands] == ["inspect", "view", "distill", "eval"]
    for words in commands:
        build_parser(words[0]).parse_args(words)  # it would be understood
    shown = capsys.readouterr().out
    for words in commands:
        assert f"$ vnl-mjx {words[0]}" in shown
    assert "runs/x/report/report.html" in shown and "what next" in shown


def test_a_folder_that_cannot_be_made(commands, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--run-dir"):
        demo.run(tmp_path / "file" / "x", True, lambda words: 0)


def test_quick_is_shorter(commands):
    demo.run(Path("runs/x"), True, lambda words: commands.append(list(words)) or finish(words))
    assert f"training_config.num_steps={demo.QUICK_STEPS}" in commands[1]
    assert [words[0] for words in commands] == ["inspect", "distill", "eval"]


def test_a_failure_ends_it(commands, capsys):
    assert demo.run(Path("runs/x"), False, lambda words: 2 if words[0] == "distill" else 0) == 2
    assert "what next" not in capsys.readouterr().out


def test_a_training_that_was_stopped_ends_it(commands, monkeypatch, capsys):
    """SIGTERM stops a training with status 0."""
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    status = demo.run(Path("runs/x"), True, lambda words: commands.append(words[0]) or 0)
    assert status == TERMINATED_EXIT_STATUS and commands == ["inspect", "distill"]
    shown = capsys.readouterr().out
    assert "run the same command again to continue" in shown and "$ uv run vnl-mjx distill" in shown


def test_without_gl_only_the_film_is_left_out(commands, monkeypatch, capsys):
    def nothing() -> str:
        raise UserError("install libegl1")

    monkeypatch.setattr(demo, "choose_backend", nothing)
    assert (
        demo.run(Path("runs/x"), False, lambda words: commands.append(words[0]) or finish(words))
        == 0
    )
    assert commands == ["inspect", "distill", "eval"]
    assert "install libegl1" in capsys.readouterr().out
