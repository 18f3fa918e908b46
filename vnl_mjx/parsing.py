"""Parses JSON and YAML that may be damaged or made to harm: no recursion without end, no expansion."""

import json
from typing import Any

_DEEPEST, _MOST_NODES = 100, 1_000_000


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text; raises ValueError where it is no JSON or nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets are nested too deep") from None


def check_yaml(text: str) -> None:
    """Checks that a YAML text is small when its aliases are written out, before it is read.

    Aliases of aliases can stand for more values than any memory holds, and nested brackets exhaust Python's
    stack.

    Raises:
        yaml.YAMLError: the text is no YAML, is nested too deep, or an alias holds itself or too much.
    """
    import yaml

    sizes: dict[str, int] = {}  # values under each anchor whose end was read
    stack: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append((anchor, 0))
            size = 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, inside = stack.pop()
            size += inside
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor, _MOST_NODES)
        elif anchor is not None and size:
            sizes[anchor] = size
        stack[-1] = (stack[-1][0], stack[-1][1] + size)
        if stack[-1][1] >= _MOST_NODES or len(stack) > _DEEPEST:
            problem = "values are nested too deep, or aliases repeat too much or themselves"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
