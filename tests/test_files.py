"""Paths as users write them."""

import os
import subprocess
import sys

import pytest

from vnl_mjx.errors import UserError
from vnl_mjx.files import matching, replacing, with_user, without_user


def test_folders_patterns_and_the_users_folder_are_files(tmp_path, monkeypatch):
    """TRIALS T13."""
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {name: tmp_path / name for name in ("a.h5", "b.h5", "c[1].h5")}
    for path in named.values():
        path.touch()
    assert matching(["~/a.h5"]) == [named["a.h5"]]
    assert matching([tmp_path]) == list(named.values())
    assert matching([tmp_path / "[ab].h5"]) == [named["a.h5"], named["b.h5"]]
    assert matching([named["c[1].h5"]]) == [named["c[1].h5"]]  # a file of that very name
    assert matching([tmp_path / "no.h5"]) == [
        tmp_path / "no.h5"
    ]  # its reader says that it is not there
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "x*.h5"):
        with pytest.raises(UserError, match="expected .*, found none"):
            matching([tmp_path / wrong])


def test_what_a_killed_process_left_is_removed_at_the_next_write(tmp_path):
    """TRIALS T22. A running process keeps its file, and so may one of another machine that wrote just now."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, new, running, other = (
        tmp_path / f".{name}.{process}.partial"
        for name, process in (
            ("a.h5", ended.pid),
            ("a.h5", 2**22 + 1),
            ("a.h5", 1),
            ("b.h5", ended.pid),
        )
    )
    for file in (left, new, running, other):
        file.write_bytes(b"0")
        if file != new:
            os.utime(file, (1e9, 1e9))
    with replacing(tmp_path / "a.h5") as partial:
        partial.write_text("1")
    assert not left.exists() and all(file.exists() for file in (new, running, other))


def test_a_path_that_is_shared_hides_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setenv("LOGNAME", "jdoe")
    assert without_user("../../home/jane/jdoe/a.h5") == "../../home/$USER/$USER/a.h5"
    assert without_user("../janet/a.h5") == "../janet/a.h5"
    assert with_user("../../home/$USER/a.h5") == "../../home/jane/a.h5"
