import importlib.util
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest

from vnl_mjx.cli import main
from vnl_mjx.clips.file import write_clip_file
from vnl_mjx.clips.hdf5 import append_clips
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.body_files import body_files, keep_body, kept_path
from vnl_mjx.walkers.walker import build_walker

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


def test_files_that_an_included_file_names_beside_itself_are_kept(tmp_path):
    scene = tmp_path / "lab" / "scene"
    scene.mkdir(parents=True)
    mjcf = tmp_path / "lab" / "arm" / "arm.xml"
    mjcf.parent.mkdir()
    vertices = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    scene.joinpath("rock.obj").write_text(f"{vertices}f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    inner = "<mujoco><asset><mesh name='rock' file='rock.obj'/></asset></mujoco>"
    scene.joinpath("scene.xml").write_text(inner)
    body = "<body><geom type='mesh' mesh='rock'/></body>"
    mjcf.write_text(
        f"<mujoco><include file='../scene/scene.xml'/><worldbody>{body}</worldbody></mujoco>"
    )
    own = mujoco.MjModel.from_xml_path(str(mjcf))
    keep_body(mjcf, tmp_path / "run")
    shutil.rmtree(tmp_path / "lab")
    kept = mujoco.MjModel.from_xml_path(str(tmp_path / "run" / "body" / "arm" / "arm.xml"))
    np.testing.assert_array_equal(kept.mesh_vert, own.mesh_vert)


@pytest.fixture
def own_clips(tmp_path, monkeypatch, toy_walker, toy_clips):
    """Clips of the toy walker, whose MJCF is gone; and the cache of nobody."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lab = tmp_path / "lab"
    lab.mkdir()
    mjcf = lab / "animal.xml"
    shutil.copyfile(toy_walker.config.source, mjcf)
    config = replace(toy_walker.config, source=str(mjcf))
    metadata = {"options": {"walker_config": to_dict(BodySection.of(config))}}
    path = tmp_path / "clips.h5"
    with write_clip_file(path, build_walker(config), toy_clips.rate_hz, metadata) as writer:
        append_clips(writer, toy_clips)
    shutil.rmtree(lab)
    return path


def test_commands_on_a_clip_file_know_its_body(own_clips, tmp_path, toy_walker, capsys):
    walker = body_of_file(own_clips)
    assert walker.joint_names == toy_walker.joint_names
    assert tmp_path / "cache" in Path(walker.config.source).parents
    assert (
        main(["clips", "split", str(own_clips), str(tmp_path / "parts.h5"), "--seconds=0.1"]) == 0
    )
    assert body_of_file(tmp_path / "parts.h5").fingerprint() == walker.fingerprint()


def test_an_unwritable_cache_is_done_without(own_clips, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert body_of_file(own_clips).nq == 11


def test_a_body_that_would_be_written_elsewhere_is_refused(own_clips, tmp_path):
    with h5py.File(own_clips, "r+") as file:
        content = file["body/animal.xml"][()]
        group = file["body"].create_group("..").create_group("..")
        group.create_dataset("evil.xml", data=content)
    with pytest.raises(
        UserError, match=r"names the file '\.\./\.\./evil\.xml'.*give the body with --mjcf"
    ):
        body_of_file(own_clips)
    assert not list(tmp_path.rglob("evil.xml"))
    with h5py.File(own_clips, "r+") as file:
        del file["body"].attrs["mjcf"]
    with pytest.raises(UserError, match="damaged"):
        body_of_file(own_clips)


def test_xml_that_only_mujoco_reads_is_one_line(tmp_path):
    path = tmp_path / "toy.xml"
    content = (Path(__file__).parent / "fixtures" / "toy_walker.xml").read_bytes()
    path.write_bytes(content.replace(b"<!-- A", b"<!-- \xff", 1))
    with pytest.raises(UserError, match="toy.xml: expected XML in UTF-8"):
        body_files(path)
