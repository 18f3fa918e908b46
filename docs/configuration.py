"""Writes one page per command with all its configuration keys, read from the dataclasses."""

import inspect
import re
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from vnl_mjx.config import loading
from vnl_mjx.config.renamed import GRAMMARS

PAGES = {
    "preprocess": loading.load_preprocess_config,
    "train-teacher": loading.load_teacher_config,
    "distill": loading.load_distillation_config,
    "eval": lambda: loading.load_evaluation_config(["run=RUN"]),
    "train-task": loading.load_task_config,
}
ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.MULTILINE)


def write_pages(folder: Path) -> None:
    """Writes `<command>.md` for each command into a folder, where their text has changed."""
    folder.mkdir(exist_ok=True)
    for command, load in PAGES.items():
        lines = [f"# Keys of `vnl-mjx {command}`", ""]
        lines += [f"`vnl-mjx {command} --show-config` prints them with their defaults.", ""]
        for name, key in GRAMMARS[command].keys.items():
            lines += [f"`{name}` stands for `{key}`.", ""] if name != key else []
        lines += section(load(), "")
        path, text = folder / f"{command}.md", "\n".join(lines) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def section(config: Any, prefix: str) -> list[str]:
    """Returns a table of the keys of one dataclass, and the sections of those within it."""
    meanings, kinds = described(type(config)), get_type_hints(type(config))
    rows, below = [], []
    for field in fields(config):
        value, key = getattr(config, field.name), f"{prefix}{field.name}"
        meaning = meanings.get(field.name, "")
        if is_dataclass(value):
            below += [
                f"## `{key}`",
                "",
                meaning[:1].upper() + meaning[1:],
                "",
                *section(value, f"{key}."),
            ]
            continue
        rows.append(f"| `{key}` | {typed(kinds[field.name])} | `{shown(value)}` | {meaning} |")
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    return table + below


def described(cls: type) -> dict[str, str]:
    """Returns what the docstring of a dataclass, or of one that it inherits from, says of each attribute."""
    found: dict[str, str] = {}
    for own in reversed(cls.__mro__):
        text = inspect.cleandoc(own.__doc__ or "")
        for name, words in ATTRIBUTE.findall(text.partition("Attributes:")[2]):
            found[name] = " ".join(words.split()).replace("|", r"\|")
    return found


def typed(kind: Any) -> str:
    """Returns a type as YAML's users would say it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(typed(one) for one in inner))
    if origin in (tuple, list):
        return f"list of {typed(inner[0])}"
    if dict in (origin, kind) or is_dataclass(kind):
        return "mapping"
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
    name = getattr(kind, "__name__", str(kind))
    return "null" if kind is type(None) else words.get(name, name)


def shown(value: Any) -> str:
    """Returns a default as YAML writes it."""
    if isinstance(value, tuple):
        value = list(value)
    if value is None:
        return "null"
    text = OmegaConf.to_yaml(OmegaConf.create({"key": value})).removeprefix("key:").strip()
    return str(value) if "\n" in text else text
