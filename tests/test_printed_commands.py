"""Every command that README, docs, examples, help and messages name can be run as it is written."""

import re
import shlex
from pathlib import Path

import pytest

from vnl_mjx import cli
from vnl_mjx.commands.arguments import ARGUMENTS
from vnl_mjx.commands.descriptions import HELP

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.sh")]
PAGES = [page for page in PAGES if not {"_build", "configuration"} & set(page.parts)]
SOURCES = [*(ROOT / "vnl_mjx").rglob("*.py"), *(ROOT / "vnl_mjx").rglob("*.yaml")]
COMMAND = re.compile(r"(?:uv run (?:--extra \w+ )*)?vnl-mjx (?=[a-z]).*")
CODE = re.compile(r"`((?:uv run (?:--extra \w+ )*)?vnl-mjx [a-z][^`]*)`")
SKETCH = re.compile(
    r"\.\.\.|key=value|KEY=VALUE|COMMAND|LAYOUT|\[options\]"
)  # not to be typed as it is
NAME = re.compile(r"vnl-mjx [a-z-]+( --[a-z]+)?")  # of a command or of its option, in a sentence
# without arguments of argparse's own
KNOWN = {*HELP, *ARGUMENTS, "doctor", "inspect"}


def commands():
    """Each command once, without what is around it, and where it stands."""
    found = {}
    texts = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
    texts |= {f"help of {name}": text for name, text in HELP.items()}
    for where, text in texts.items():
        joined = re.sub(r"\s*\\\n\s*", " ", text)
        lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
        own = [line for line in lines if COMMAND.fullmatch(line)]
        own += [
            re.sub(r"\s+", " ", words)
            for words in CODE.findall(joined)
            if not NAME.fullmatch(words)
        ]
        for command in own:
            if not SKETCH.search(command):
                found.setdefault(command, where)
    return found


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_can_be_run_as_it_is_written(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("{}")
    words = shlex.split(
        command.replace("$folder/", "").replace('"${sessions[@]}"', "a"), comments=True
    )
    words = words[words.index("vnl-mjx") + 1 :]
    words = words[: next((i for i, word in enumerate(words) if word in ("|", "&&", ";")), None)]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            cli.main(words)
        return
    parsed = cli.parse(words)
    if hasattr(parsed, "overrides"):
        assert cli.main([*words, "--show-config"]) == 0, capsys.readouterr().err


def test_messages_name_commands_that_there_are():
    named = {
        (path.name, word)
        for path in SOURCES
        for word in re.findall(r"(?:`|: |\(|run )vnl-mjx ([a-z][a-z-]+)", path.read_text())
    }
    assert len(named) > 20
    assert not [(file, word) for file, word in named if word not in KNOWN]
