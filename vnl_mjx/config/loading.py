"""Composes YAML files, `key=value` overrides and the user's file into typed configurations, with Hydra.

No other module below the command line uses Hydra and OmegaConf; both are imported on use.
"""

import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from vnl_mjx.config.conversion import (
    from_dict,
    is_mapping,
    is_number_section,
    known_keys,
    to_dict,
    type_options,
    unknown_key_message,
)
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.config.preprocessing import PreprocessConfig
from vnl_mjx.config.presets import presets
from vnl_mjx.config.renamed import GRAMMARS
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.task import TaskTrainingConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.config.validation import nearest_divisor
from vnl_mjx.config.walker import RODENT_SOURCE, is_body_file, package_path, read_body, resolved
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow_in
from vnl_mjx.parsing import check_yaml

T = TypeVar(
    "T",
    DistillationConfig,
    EvaluationConfig,
    PreprocessConfig,
    TaskTrainingConfig,
    TeacherTrainingConfig,
)
_SOURCE = "task.walker.source"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# One text of a list, quoted if it has a comma.
_PART = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,]+)\s*(?:,|$)""")


def to_yaml(config: Any) -> str:
    """Returns a configuration as YAML text, which `config_file` reads back."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def as_overrides(config: Any, default: Any) -> list[str]:
    """Returns the `key=value` overrides that turn `default` into `config`, in the order of the fields."""
    given, plain = to_dict(config), to_dict(default)

    def differing(ours: Any, theirs: Any, key: str) -> Iterator[str]:
        if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
            for name, value in ours.items():
                yield from differing(value, theirs[name], f"{key}.{name}" if key else name)
        elif ours != theirs:
            yield f"{key}={_typed(ours)}"

    return list(differing(given, plain, ""))


def _typed(value: Any) -> str:
    """Returns a value as a user types it in an override."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, str):
        return _quoted(value) if re.search(r"[,\[\]{}'\"]", value) else value
    return json.dumps(value)


def _load(
    cls: type[T],
    command: str,
    name: str,
    overrides: Sequence[str] = (),
    config_file: Path | str | None = None,
    preset_file: Path | None = None,
    paths: Sequence[str] = (),
    found_body: str | None = None,
) -> T:
    """Composes and validates a configuration, and allows the code that the user's settings name.

    Args:
        cls: class of the configuration.
        command: whose short names (`GRAMMARS`) may stand for keys, in overrides and files.
        name: name of our YAML file beside this module.
        overrides: "key=value" with dotted keys; the last one of a key wins.
        config_file: YAML or JSON file over the defaults and under the overrides.
        preset_file: likewise, under `config_file`.
        paths: paths that the user gave without a key.
        found_body: YAML file of a body that was found and not named by the user; its code is not allowed.

    Raises:
        UserError: an unknown key, a value of another type or out of bounds, a file that is no YAML, too
            many paths, or two values for one key under different names.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    keys, short = known_keys(cls), GRAMMARS[command].keys
    overrides = _in_full(command, overrides, paths, keys)
    overrides += [f"{_SOURCE}={_quoted(found_body)}"] if found_body else []
    parsed = [_checked_override(text, keys, short) for text in overrides]
    # Hydra merges in this order: all defaults, our file (which may omit rarely changed keys), what the
    # body's file says of the task, the user's file, the overrides.
    store = ConfigStore.instance()
    store.store(name=f"_{name}_schema", node=to_dict(cls()))
    layers, named = (
        [f"_{name}_schema", name],
        {text.lstrip("+").partition("=")[0] for text in overrides},
    )
    files = {
        str(file): _file_in_full(_read_file(Path(file)), keys, short, f"{file}: ")
        for file in (preset_file, config_file)
        if file is not None
    }
    if cls is TeacherTrainingConfig and (body := _body_file(overrides, files.values())):
        files = {body: {"task": read_body(body).task}, **files}
    for i, (file, given) in enumerate(files.items()):
        from_dict(cls, given, f"{file}: ", short)
        given = _expanded(cls, given)
        sections = {name: own for name, own in given.items() if isinstance(own, dict)}
        named |= {f"{section}.{key}" for section, own in sections.items() for key in own}
        store.store(name=f"_{name}_file_{i}", node=given)
        layers.append(f"_{name}_file_{i}")
    store.store(name=f"_{name}", node={"defaults": [*layers, "_self_"]})
    try:
        with initialize_config_module(config_module="vnl_mjx.config", version_base="1.3"):
            composed = OmegaConf.to_container(compose(f"_{name}", overrides=parsed), resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        given = " ".join(overrides)
        raise UserError(f"{given}: expected key=value as Hydra reads it, found: {cause}") from error
    if found_body is None:
        allow_in(composed)
    config = from_dict(cls, cast(dict[str, Any], composed))
    if isinstance(config, TeacherTrainingConfig):
        # so that a checkpoint holds the contents of its body's file
        walker = resolved(config.task.walker)
        config = replace(config, task=replace(config.task, walker=walker))
    config = _fitted(config, named)
    config.validate()
    return config


def _body_file(overrides: Sequence[str], files: Iterable[Mapping[str, Any]]) -> str | None:
    """Returns the YAML file of the body that the user's settings name; None if they name none."""
    sources: list[Any] = [*files]
    for key in _SOURCE.split("."):  # what is no section is refused later
        sources = [part.get(key) if isinstance(part, Mapping) else None for part in sources]
    sources += [text.partition("=")[2] for text in overrides if text.startswith(f"{_SOURCE}=")]
    source = next((source for source in reversed(sources) if source), RODENT_SOURCE)
    path = package_path(str(source).strip("'\""))
    return path if is_body_file(path) else None


def _fitted(config: T, named: Collection[str]) -> T:
    """Fits the default minibatch size to the number of environments, unless the user gave a size."""
    if isinstance(config, DistillationConfig) and "training_config.batch_size" not in named:
        training = config.training_config
        total, segment = training.steps_per_update, training.segment_length
        if total > 0 and segment > 0 and total % segment == 0 and total % training.batch_size:
            size = segment * nearest_divisor(total // segment, training.batch_size // segment)
            return replace(config, training_config=replace(training, batch_size=size))
    if (
        isinstance(config, TeacherTrainingConfig | TaskTrainingConfig)
        and "ppo.num_minibatches" not in named
        and config.ppo.num_envs > 0
    ):
        num = nearest_divisor(config.ppo.num_envs, config.ppo.num_minibatches)
        return replace(config, ppo=replace(config.ppo, num_minibatches=num))
    return config


load_evaluation_config = partial(_load, EvaluationConfig, "eval", "vae_evaluation")
load_preprocess_config = partial(_load, PreprocessConfig, "preprocess", "preprocessing")
load_task_config = partial(_load, TaskTrainingConfig, "train-task", "task_ppo")


def load_distillation_config(
    overrides: Sequence[str] = (),
    config_file: Path | str | None = None,
    preset: str | None = None,
    paths: Sequence[str] = (),
) -> DistillationConfig:
    """Composes and validates the configuration of a distillation, see `_load`.

    `config_file` overrides the settings of `preset` (`presets("distill")`).
    """
    file = None if preset is None else presets("distill")[preset]
    ours = DistillationConfig, "distill", "vae_distillation"
    return _load(*ours, overrides, config_file, file, paths)


def load_teacher_config(
    overrides: Sequence[str] = (),
    config_file: Path | str | None = None,
    preset: str = "cpu",
    paths: Sequence[str] = (),
    body_of: Callable[[Sequence[str]], str | None] = lambda _: None,
) -> TeacherTrainingConfig:
    """Composes and validates the configuration of a teacher's training, see `_load`.

    `config_file` overrides the settings of `preset` (`presets("train-teacher")`, or "cpu"). If the user names
    no body, `body_of` may find its YAML file from the paths of the clips.
    """
    file = None if preset == "cpu" else presets("train-teacher")[preset]
    ours = TeacherTrainingConfig, "train-teacher", "teacher_ppo"
    config = _load(*ours, overrides, config_file, file, paths)
    if config.task.walker.source == RODENT_SOURCE and (found := config.reference_config.paths):
        if body := body_of(found):
            return _load(*ours, overrides, config_file, file, paths, body)
    return config


def _in_full(
    command: str, overrides: Sequence[str], paths: Sequence[str], keys: dict[str, Any]
) -> list[str]:
    """Returns the overrides, and those for the paths, with full keys."""
    grammar = GRAMMARS[command]
    places = grammar.places
    if key := next((path for path in paths if "." in path and path in keys), None):
        raise UserError(f"{key}: expected key=value, for example {key}=...")
    if len(paths) > len(places) and not grammar.takes_several:
        raise UserError(
            f"{command}: expected {grammar.paths} and settings as key=value, found {len(paths)} paths: "
            f"{', '.join(paths)}"
        )
    values = [_quoted(path) for path in paths]
    if len(values) > len(places):  # the last place takes the rest
        last = len(places) - 1
        values[last:] = [f"[{','.join(values[last:])}]"]
    given = [
        (f"{name.upper()} ", grammar.keys[name], value)
        for name, value in zip(places, values, strict=False)
    ]
    full = [f"{key}={value}" for _, key, value in given]
    for text in overrides:
        name, joint, value = text.lstrip("+").partition("=")
        key = grammar.keys.get(name, name)
        given.append((f"{name}{joint}", key, value))
        full.append(f"{key}={value}" if joint else name)
    said: dict[str, dict[str, str]] = {}
    for spelling, key, value in given:
        if key in grammar.keys.values():  # of repeats with one spelling, the last wins
            said.setdefault(key, {})[spelling] = value
    for key, values in said.items():
        parts = [_parts(value) if _is_texts(keys[key]) else [value] for value in values.values()]
        if len({tuple(part.strip("'\"") for part in one) for one in parts}) > 1:
            name = next(name for name, own in grammar.keys.items() if own == key)
            found = " and ".join(f"{spelling}{value}" for spelling, value in values.items())
            raise UserError(f"{name}: expected one value, found {found}; give one of them")
    return full


def _file_in_full(
    given: dict[str, Any], keys: dict[str, Any], short: dict[str, str], source: str
) -> dict[str, Any]:
    """Returns the contents of a file with full keys in place of short names."""
    for name in short.keys() & given.keys() - keys.keys():
        section, _, last = short[name].rpartition(".")
        value = given.pop(name)
        if isinstance(value, str) and _is_texts(keys[short[name]]):
            value = [value]
        holder = given.setdefault(section, {}) if section else given
        if not isinstance(holder, dict):
            continue  # refused below
        if holder.setdefault(last, value) != value:
            raise UserError(
                f"{source}{name}: expected one value, found {value} and {short[name]}: {holder[last]}; give "
                "one of them"
            )
    return given


def _checked_override(text: str, keys: dict[str, Any], short: dict[str, str]) -> str:
    """Returns an override with a known key; quotes a text value, so that any path works."""
    match = re.fullmatch(r"\+{0,2}([^=~\s]+)=(.*)", text, flags=re.DOTALL)
    if match is None:
        example = next(iter(short), "segmentation_config.clip_s")
        raise UserError(f"{text}: expected key=value, for example {example}=...")
    key, value = match.groups()
    if key not in keys:
        holder = next((k for k in keys if is_mapping(keys[k]) and key.startswith(f"{k}.")), None)
        if holder is None:
            raise UserError(unknown_key_message(key, [*keys, *short]))
        return f"++{key}={value}"  # a name that the user chose, which Hydra's schema does not hold
    if is_mapping(keys[key]):
        return f"++{key}={value}"  # whose names the user chooses
    if is_number_section(keys[key]) and _NUMBER.fullmatch(value):
        # Sets the whole section, so that nothing of a default schedule is left.
        rest = {f.name: f.default for f in fields(keys[key]) if f.name != "value"}
        parts = [f"value: {value}", *(f"{k}: {json.dumps(v)}" for k, v in rest.items())]
        return f"{key}={{{', '.join(parts)}}}"
    if _is_text(keys[key]) and value != "null":
        value = _quoted(value)
    elif _is_texts(keys[key]) and value != "null":
        value = f"[{','.join(_quoted(part) for part in _parts(value))}]"
    return f"{key}={value}"


def _parts(value: str) -> list[str]:
    """Returns the parts of a typed list, with or without brackets."""
    inside = value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value
    return [part.strip() for part in _PART.findall(inside)]


def _quoted(text: str) -> str:
    """Returns text quoted for Hydra; quoted text stays as it is."""
    if text[:1] in ("'", '"'):
        return text
    # Hydra reads \' as a quote, and doubled backslashes before one as backslashes.
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _expanded(cls: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Replaces every plain number that stands for a section by that section."""
    expanded = {}
    kinds = {key: kind for key, kind in known_keys(cls).items() if "." not in key}
    for key, value in given.items():
        kind = kinds[key]
        if is_number_section(kind) and not isinstance(value, dict):
            value = asdict(kind(value=value))
        elif is_dataclass(kind) and isinstance(value, dict):
            value = _expanded(kind, value)
        expanded[key] = value
    return expanded


def _is_text(kind: Any) -> bool:
    options = type_options(kind)
    if float in options:
        return False  # a number, or a word in its place
    return any(option is str or get_origin(option) is Literal for option in options)


def _is_texts(kind: Any) -> bool:
    return any(get_origin(one) is tuple and get_args(one)[0] is str for one in type_options(kind))


def _read_file(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        loaded = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{path}: expected a YAML file of configuration keys: {reason}") from error
    except (YAMLError, OmegaConfBaseException, ValueError) as error:  # of numbers and dates, too
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: expected YAML, found a mistake{line}: {problem}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: expected a section of keys, found a list")
    return cast(dict[str, Any], loaded)
