import importlib.util
from pathlib import Path

import mujoco
import numpy as np
import pytest

from vnl_mjx.walkers.body_files import keep_body, kept_path

DM_CONTROL = Path(importlib.util.find_spec("dm_control").submodule_search_locations[0])
WALKERS = DM_CONTROL / "locomotion" / "walkers" / "assets"


@pytest.mark.parametrize(
    "mjcf",
    [
        WALKERS / "dog_v2" / "dog.xml",  # its meshes lie in another folder of the package
        WALKERS / "fruitfly_v2" / "fruitfly.xml",
        DM_CONTROL / "suite" / "quadruped.xml",  # which includes files
    ],
    ids=lambda path: path.stem,
)
def test_a_kept_body_is_the_same_body(mjcf, tmp_path):
    keep_body(mjcf, tmp_path)
    copy = kept_path(mjcf, tmp_path)
    assert copy.name == mjcf.name and (tmp_path / "body") in copy.parents
    kept, own = (mujoco.MjModel.from_xml_path(str(path)) for path in (copy, mjcf))
    np.testing.assert_array_equal(kept.body_mass, own.body_mass)
    np.testing.assert_array_equal(kept.mesh_vert, own.mesh_vert)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    keep_body(mjcf, tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_a_kept_body_needs_nothing_of_where_it_came_from(tmp_path):
    parts = tmp_path / "lab" / "parts"
    parts.mkdir(parents=True)
    mjcf = tmp_path / "lab" / "animal" / "animal.xml"
    mjcf.parent.mkdir()
    parts.joinpath("leg.xml").write_text(
        "<mujoco><body name='leg'><geom size='.1'/></body></mujoco>"
    )
    mjcf.write_text("<mujoco><worldbody><include file='../parts/leg.xml'/></worldbody></mujoco>")
    keep_body(mjcf, tmp_path / "run")
    copy = kept_path(mjcf, tmp_path / "run")
    assert copy == tmp_path / "run" / "body" / "animal" / "animal.xml"
    parts.joinpath("leg.xml").unlink()
    assert mujoco.MjModel.from_xml_path(str(copy)).body("leg").id == 1
