"""`docs/evaluation.md` says of every metric what `evaluation/metrics.py` says."""

import itertools
import re
from pathlib import Path

from vnl_mjx.evaluation.metrics import EPISODE_GROUPS, GROUPS, LOGGED, METRICS, log_row, metric

DOCS = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
# A row of a table with columns: names, unit, better, definition.
ROW = re.compile(r"^\| (`[^|]*`) \| ?([^|]*?) ?\| ?(higher|lower|) ?\| ", re.MULTILINE)


def expanded(pattern: str) -> list[str]:
    """`a_{1,2}` to `a_1` and `a_2`."""
    parts = re.split(r"\{(.*?)\}", pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def test_every_metric_stands_in_the_docs_as_in_the_table():
    rows = [
        (name, (unit, better or None))
        for names, unit, better in ROW.findall(DOCS)
        for pattern in re.findall(r"`(.*?)`", names)
        for name in expanded(pattern)
    ]
    assert len(rows) == len(dict(rows))  # each once
    assert dict(rows) == {name: (known.unit, known.better) for name, known in METRICS.items()}


def test_how_groups_are_pooled_stands_in_the_docs():
    for group in GROUPS.values():
        assert f"| {' | '.join(group)} |" in DOCS
    assert {known.group for known in METRICS.values()} == set(GROUPS)


def test_no_label_is_of_two_metrics():
    labels = [known.label for known in METRICS.values()]
    assert len(labels) == len(set(labels))
    assert metric("eval/kl").label != metric("kl").label != metric("loss/kl").label


def test_a_log_says_whose_the_numbers_are_and_leaves_out_what_was_not_measured():
    means = dict.fromkeys(LOGGED, 0.5) | {"root_error_mm": None, "success": 1.0}
    assert log_row(means)["eval/survival"] == 0.5
    row = log_row(means, "student")
    assert set(row) == {f"eval/student_{name}" for name in LOGGED if name != "root_error_mm"}
    assert {METRICS[name].group for name in LOGGED} <= set(EPISODE_GROUPS)
