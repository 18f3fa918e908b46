"""A user's own functions by path: found as a module or a file, mistakes told in one line."""

import sys

import pytest

from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow, load_object, without_folders

SOURCE = "def twice(x):\n    return 2 * x\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_of_the_working_folder_and_its_file_are_the_same(folder):
    (folder / "my_lab_a").mkdir()
    (folder / "my_lab_a" / "terms.py").write_text(SOURCE)
    allow("my_lab_a.terms", "my_lab_a/terms.py", "math:sqrt")
    by_name = load_object("my_lab_a.terms:twice", "key")
    assert by_name(3) == 6
    assert load_object("my_lab_a/terms.py:twice", "key") is by_name
    assert load_object(f"{folder}/my_lab_a/terms.py:twice", "key") is by_name
    assert str(folder) not in sys.path
    assert load_object("math:sqrt", "key")(9.0) == 3.0


def test_a_file_is_imported_once_and_hides_no_installed_module(folder):
    (folder / "json.py").write_text(SOURCE)
    (folder / "with space").mkdir()
    (folder / "with space" / "own_terms_b.py").write_text(SOURCE)
    allow("with space/own_terms_b.py", "json.py:twice")
    twice = load_object("with space/own_terms_b.py:twice", "key")
    assert load_object("with space/own_terms_b.py:twice", "key") is twice
    assert load_object("json.py:twice", "key")(1) == 2
    assert hasattr(sys.modules["json"], "loads")


def test_a_file_that_fails_can_be_mended_and_imported_again(folder):
    file = folder / "mended_c.py"
    file.write_text(SOURCE + "raise RuntimeError('no such rat')\n")
    allow("mended_c.py")
    with pytest.raises(UserError, match=r"reward\.terms\.a: .*mended_c\.py.*no such rat"):
        load_object("mended_c.py:twice", "reward.terms.a")
    file.write_text(SOURCE)
    assert load_object("mended_c.py:twice", "reward.terms.a")(2) == 4


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no_such_lab.terms:whisking", ["no_such_lab", "package.module:name"]),
        ("no/such/file.py:whisking", ["no file", "no/such/file.py"]),
        ("broken_d.py:whisking", ["SyntaxError", "broken_d.py"]),
        ("needs_e.py:whisking", ["no_such_package"]),
        ("needs_e:whisking", ["no_such_package"]),
        ("math:whisking", ["'math' has no 'whisking'"]),
        (":whisking", ["cannot import ''"]),
    ],
)
def test_a_mistake_is_one_line_that_names_key_and_path(folder, path, words):
    (folder / "broken_d.py").write_text("def whisking(:\n")
    (folder / "needs_e.py").write_text("import no_such_package\n")
    allow(path)
    with pytest.raises(UserError) as caught:
        load_object(path, "reward.terms.whisking.function")
    message = str(caught.value)
    assert message.startswith("reward.terms.whisking.function: ") and "\n" not in message
    for word in (path, *words):
        assert word in message


@pytest.mark.parametrize("named", ["other.py", "rat_f.py:other", "os", "rat_f"])
def test_code_that_the_user_did_not_name_does_not_run(folder, named):
    (folder / "rat_f.py").write_text("open('ran', 'w')\n" + SOURCE)
    allow(named)
    with pytest.raises(
        UserError, match=r"^goal: 'rat_f\.py:twice' .*--allow-code rat_f\.py"
    ) as caught:
        load_object("rat_f.py:twice", "goal")
    assert "\n" not in str(caught.value) and not (folder / "ran").exists()


def test_a_file_that_the_user_names_serves_where_it_was_stored_under_another_folder(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "terms_g.py").write_text(SOURCE)
    (folder / "terms_g.py").write_text("open('ran', 'w')\n" + SOURCE)
    allow("mine/terms_g.py")
    for stored in ("terms_g.py:twice", "/home/jane/terms_g.py:twice"):
        assert load_object(stored, "key")(2) == 4
    assert not (folder / "ran").exists()


def test_what_is_shared_names_files_of_code_without_their_folders():
    document = {
        "a": {"function": "/home/jane/lab/terms.py:tail_up"},
        "b": ["lab.terms:f", "x.py: 3"],
    }
    assert without_folders(document) == {"a": {"function": "terms.py:tail_up"}, "b": document["b"]}
