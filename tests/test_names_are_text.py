"""Names from files are text: on a page they make no element, in a terminal they steer nothing."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from report_example import example_document
from rich.table import Table

from vnl_mjx.cli import main
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.neurons.tables import write_tables
from vnl_mjx.report.compare import compare_html
from vnl_mjx.report.html import report_html
from vnl_mjx.report.neural import write_neural_report
from vnl_mjx.report.rendering.browser import as_markdown

PLANTED = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script></svg></title>&amp;<b>",
    "$\\frac{$ {{ 7 * 7 }} {% x %}",
)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.handlers, self.texts = Counter(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.texts.append(data)


def renamed(value, text):
    """Appends `text` to every text that may come from a file."""
    if isinstance(value, dict):
        return {name: renamed(item, text) for name, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, text) for item in value]
    return f"{value} {text}" if isinstance(value, str) else value


@pytest.fixture(scope="module")
def document():
    return spoiled("x")


def spoiled(text):
    """A document in which clips, the evaluation and alarms bear the name."""
    found = example_document(3, sampled=False, names=[f"{text} {i}" for i in range(3)])
    for part in ("made", "alarms", "settings"):
        found[part] = renamed(found[part], text)
    for clip in found["clips"]:
        clip |= {"label": text, "made_by": text}
    return found


@pytest.mark.parametrize("text", PLANTED)
def test_a_name_makes_no_element_on_a_report(document, text):
    extras = {"missing": {"prior": text, "videos": text}, "config": text}
    plain = Page(
        report_html(document, {}, missing=dict.fromkeys(extras["missing"], "x"), config="x")
    )
    page = Page(report_html(spoiled(text), {}, **extras))
    assert page.elements == plain.elements and page.handlers == []
    assert text in " ".join(page.texts)


def test_a_name_makes_no_element_on_a_comparison(document):
    text = " ".join(PLANTED)
    plain = Page(compare_html({"a x": document, "b x": document}))
    page = Page(compare_html({f"a {text}": spoiled(text), f"b {text}": spoiled(text)}))
    assert page.elements == plain.elements and page.handlers == []
    assert text in " ".join(page.texts)


@pytest.mark.parametrize("text", PLANTED)
def test_the_name_of_a_unit_makes_no_element_on_the_neural_page(tmp_path, text):
    row = {"group": "reference", "unique_r2": 0.1, "full_r2": 0.2}

    def page(name):
        write_tables(tmp_path, {"partition": [row | {"unit": name, "group": name}] * 2})
        return Page(write_neural_report(tmp_path).read_text())

    found, plain = page(text), page("x")
    assert found.handlers == []
    for tag in ("script", "img", "b", "title"):
        assert found.elements[tag] == plain.elements[tag]


@pytest.mark.parametrize("text", PLANTED)
def test_a_name_is_plain_markdown_in_the_browser_viewer(text):
    shown = as_markdown(f"{text}`*_[x](y)")
    page = Page(shown)
    assert not page.elements and "".join(page.texts) == f"{text}`*_[x](y)"
    assert not set(shown) & set("<>*`[](){}\"'")


# --- the terminal -------------------------------------------------------------------------------

STEERING = "[red]x[/] [/] :smile: \x1b[2J\x1b]0;t\x07 \u202ey"
SHOWN = r"[red]x[/] [/] :smile: \x1b[2J\x1b]0;t\x07 \u202ey"


def test_a_name_is_shown_literally_by_all_that_prints(capsys):
    console = Console(width=200)
    table = Table(STEERING, title=STEERING)
    table.add_row(STEERING)
    console.print(table)
    console.print(STEERING)
    print_table(console, STEERING, {STEERING: STEERING})
    warn(console, STEERING)
    with frame_progress(console) as progress:
        progress(STEERING, 1, 1)
    said = capsys.readouterr().out
    assert said.count(SHOWN) >= 8
    assert not set(said) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("command", ["inspect {}", "preprocess {} out.h5", "compare {} {}"])
def test_an_error_names_a_file_literally(capsys, tmp_path, monkeypatch, command):
    """TRIALS T21, of names."""
    monkeypatch.chdir(tmp_path)
    name = "[red]\x1b[31m\u202e[bold].npz"
    assert main([word.format(name) for word in command.split()]) == 2
    said = capsys.readouterr()
    assert r"[red]\x1b[31m\u202e[bold].npz" in said.err and "\x1b" not in said.err + said.out
    np.savez(name, qpos=np.zeros((3, 74)))
    main([word.format(name) for word in command.split()])
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out and said.err.count("\n") <= 1
