import io
import json
import sys
import types

import pytest
from rich.console import Console

from vnl_mjx.commands.train import training_run
from vnl_mjx.commands.train.loggers import ConsoleLogger, JsonlLogger, Loggers, OptionalLogger
from vnl_mjx.config.schema import DistillationConfig, LoggingSection, WandbSection
from vnl_mjx.errors import UserError


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _console():
    return Console(file=io.StringIO(), width=200)


def test_jsonl_lines_are_there_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    logger = JsonlLogger(path)
    logger.log(20, {"loss/total": 0.5, "bad": float("nan"), "worse": float("inf")})
    assert _rows(path) == [{"env_steps": 20, "loss/total": 0.5, "bad": None, "worse": None}]
    logger.close()


def test_jsonl_forgets_what_a_resumed_run_will_write_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    logger = JsonlLogger(path)
    for steps in (10, 20, 30):
        logger.log(steps, {"x": steps})
    logger.close()
    with path.open("a") as file:
        file.write('{"env_steps": 20, "x"')  # killed in the middle of a line
    resumed = JsonlLogger(path)
    resumed.truncate_after(20)
    resumed.log(30, {"x": 31})
    resumed.close()
    assert [(row["env_steps"], row["x"]) for row in _rows(path)] == [(10, 10), (20, 20), (30, 31)]
    assert list(tmp_path.iterdir()) == [path]


def test_jsonl_names_a_file_it_cannot_write(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot write metrics"):
        JsonlLogger(tmp_path / "none" / "metrics.jsonl")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_jsonl_names_a_full_disk(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/full")
    logger = JsonlLogger(path)
    with pytest.raises(UserError, match="No space left on device"):
        logger.log(1, {"x": 1.0})
    logger.close()


def test_console_prints_plain_lines_where_there_is_no_terminal():
    console = _console()
    logger = ConsoleLogger(console, total_steps=1000)
    logger.log(250, {"loss/total": 0.125, "loss/kl": 3.0, "other": 1.0})
    logger.log(250, {"eval/ratio": 0.5})
    logger.note("[not markup]")
    logger.close()
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("250/1,000 steps (25%)  loss 0.125  kl 3  ")
    assert "steps/s" in lines[0] and lines[0].endswith("left")
    assert lines[1:] == ["at 250 steps: eval/ratio 0.5", "[not markup]"]


def test_console_draws_a_bar_on_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    logger = ConsoleLogger(console, total_steps=1000, start_steps=100)
    logger.log(500, {"loss/total": 0.125})
    logger.close()
    text = console.file.getvalue()
    assert " 50%" in text and "loss 0.125" in text


class _Broken:
    def __init__(self):
        self.calls = 0

    def log(self, env_steps, metrics):
        self.calls += 1
        raise ConnectionError("gone\nand more")

    def close(self):
        raise AssertionError("a broken logger is not closed")


def test_a_service_that_fails_costs_one_warning():
    """TRIALS T23 (W&B without a network)."""
    warnings, broken = [], _Broken()
    logger = OptionalLogger("Service", lambda: broken, warnings.append)
    logger.log(1, {})
    logger.log(2, {})
    logger.close()
    assert warnings == ["Service is off for this run: gone"]
    assert broken.calls == 1


def _asks_for_everything(mode="online"):
    return DistillationConfig(
        wandb_config=WandbSection(mode=mode), logging_config=LoggingSection(tensorboard=True)
    )


def test_online_without_the_extra_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(training_run, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="wandb_config.mode: online needs .*--extra wandb"):
        training_run.train(_asks_for_everything())


def test_a_run_goes_on_without_the_extras(tmp_path, monkeypatch):
    """TRIALS T23."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    console = _console()
    loggers = Loggers(_asks_for_everything(), tmp_path, console)
    loggers.log(10, {"loss/total": 1.0, "undefined": None})
    loggers.finish()
    loggers.close()
    text = console.file.getvalue()
    assert text.count("warning: ") == 2
    words = " ".join(text.split())
    assert "--extra wandb`" in words and "--extra tensorboard`" in words
    assert _rows(tmp_path / "metrics.jsonl") == [
        {"env_steps": 10, "loss/total": 1.0, "undefined": None}
    ]


def test_wandb_gets_the_configured_run_and_no_keyboard(tmp_path, monkeypatch):
    seen = {}

    class Run:
        def log(self, metrics, step):
            seen.setdefault("rows", []).append((step, metrics))

        def finish(self):
            seen["finished"] = True

    def init(**arguments):
        seen.setdefault("init", []).append(arguments)
        seen["terminal"] = sys.stdin.isatty()
        return Run()

    module = types.SimpleNamespace(init=init, Settings=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    stdin = sys.stdin
    for start in (None, 10):
        loggers = Loggers(_asks_for_everything(), tmp_path, _console(), resume_from=start)
        loggers.log(20, {"x": 1.0})
        loggers.close()
    first, second = seen["init"]
    assert (first["project"], first["name"], first["mode"]) == (
        "vnl-mjx",
        "vae_distillation",
        "online",
    )
    assert first["id"] == second["id"]
    assert first["config"]["training_config"]["num_envs"] == 128
    assert seen["rows"] == [(20, {"x": 1.0})] * 2
    assert seen["finished"] and not seen["terminal"]
    assert sys.stdin is stdin


def test_nothing_is_imported_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    console = _console()
    Loggers(DistillationConfig(), tmp_path, console).close()
    assert console.file.getvalue() == ""


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra `tensorboard`")
    config = DistillationConfig(logging_config=LoggingSection(tensorboard=True))
    console = _console()
    loggers = Loggers(config, tmp_path, console)
    loggers.log(10, {"loss/total": 1.0, "bad": float("nan")})
    loggers.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss/total" in events.read_bytes() and b"bad" not in events.read_bytes()
    assert "warning" not in console.file.getvalue()
