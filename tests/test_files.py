"""Paths as users write them."""

import pytest

from vnl_mjx.errors import UserError
from vnl_mjx.files import matching


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
