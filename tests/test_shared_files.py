"""What is made to be shared names neither this machine nor its user, nor where its files lie."""

import gzip
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from toy_run import write_toy_run
from toy_teacher import toy_overrides

from vnl_mjx.cli import main
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.demo import DEMO_STUDENT

PLANTED = ("plantedzqfolder", "janezquser", "hostzqname", str(Path(__file__).parents[1]))


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A working folder in the home of a user, whose names are found again where they leak."""
    folder = tmp_path / "plantedzqfolder" / "janezquser"
    folder.mkdir(parents=True)
    for name, value in {"HOME": folder, "USER": "janezquser", "LOGNAME": "janezquser"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("HOSTNAME", "hostzqname")
    monkeypatch.setattr(socket, "gethostname", lambda: "hostzqname")
    monkeypatch.chdir(folder)
    return folder


def contents(path: Path) -> Iterator[bytes]:
    """All bytes of a file, also those that are compressed inside it, and its name."""
    held = path.read_bytes()
    yield path.name.encode() + b" " + held
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name.encode() + archive.read(name)
    if held.startswith(b"\x1f\x8b"):
        yield gzip.decompress(held)
    if held.startswith(b"\x89HDF"):
        with h5py.File(path) as file:
            found: list[bytes] = [repr(dict(file.attrs)).encode()]

            def visit(_: str, item: h5py.HLObject) -> None:
                found.append(repr(dict(item.attrs)).encode())
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "SOu":
                    found.append(np.asarray(item[()]).tobytes() + repr(item[()]).encode())

            file.visititems(visit)
            yield from found


def leaks(*places: Path) -> list[str]:
    files = [f for place in places for f in ([place] if place.is_file() else place.rglob("*"))]
    assert files
    return [
        f"{file}: {word}"
        for file in files
        if file.is_file() and file.suffix != ".pyc"
        for text in contents(file)
        for word in PLANTED
        if word.encode() in text
    ]


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0, words


def test_clips_bodies_and_functions_name_no_machine(planted, arm, arm_poses):
    np.savez("arm.npz", qpos=arm_poses, rate_hz=50.0, joint_names=np.array(arm.joint_names))
    for suffix in (".xml", ".yaml"):
        shutil.copyfile(Path(__file__).parent / f"fixtures/arm{suffix}", planted / f"arm{suffix}")
    body = f"walker_config.mjcf_path={planted / 'arm.yaml'}"
    out = planted / "out"
    out.mkdir()
    run("preprocess", planted / "arm.npz", out / "clips.h5", body)
    run("clips", "split", out / "clips.h5", out / "parts.h5", "--seconds", "0.5")
    run("clips", "merge", out / "clips.h5", out / "parts.h5", out / "all.h5")
    run("gait", out / "gait.h5", "--seconds", "1")
    run("body", planted / "arm.xml", out / "arm_proposed.yaml")
    shutil.copytree(DEMO_STUDENT, planted / "student")
    for layout in ("npz", "stablehlo"):
        run("export", planted / "student", out / layout, "--to", layout)
    assert leaks(out) == []


@pytest.mark.slow
def test_runs_reports_and_exports_name_no_machine(planted, toy_config):
    """A run with a function, a body and clips that are given by absolute paths."""
    shutil.copyfile(toy_config.source, planted / "toy.xml")
    given = {name: getattr(toy_config, name) for name in ("joint_names", "body_names")}
    ends = toy_config.end_effector_names
    walker = WalkerConfig(
        str(planted / "toy.xml"), **given, end_effector_names=ends, rescale_factor=1.0
    )
    terms = planted / "own_terms.py"
    terms.write_text("def one(state, reference, walker):\n    return 1.0\n")
    for name in ("teaching", "distilling"):
        (planted / name).mkdir()
    own = [f"task.reward.terms.own.function={terms}:one", "logging_config.tensorboard=true"]
    settings = [
        *toy_overrides(planted / "teaching", walker),
        "ppo.num_steps=64",
        "eval_config.video_at_end=false",
    ]
    run("train-teacher", f"run_dir={planted / 'teacher'}", *settings, *own)
    settings = write_toy_run(planted / "distilling", walker)
    settings = [one for one in settings if "num_steps" not in one and "checkpoint_path" not in one]
    settings += ["training_config.num_steps=64", f"teacher={planted / 'teacher/teacher'}"]
    allowed = ["--allow-code", terms]
    student, clips = planted / "student", planted / "distilling" / "clips.h5"
    run("distill", f"run_dir={student}", *settings, *allowed)
    quick = ["prior_config.seconds=0.5", "prior_config.num_episodes=2", "latent_config.umap=false"]
    run("eval", student, *quick, "video_config.num_clips=0", *allowed)
    out = planted / "out"
    out.mkdir()
    for layout in ("distill-network", "npz", "stablehlo"):
        run("export", student, out / layout, "--to", layout, *allowed)
    run("export", planted / "teacher", out / "track-mjx", "--to", "track-mjx", *allowed)
    run("record", student, clips, out / "record.h5", *allowed)
    run("similarity", out / "record.h5", out / "similarity")
    run("eval-teacher", out / "track-mjx", "--clips", clips, "--json", out / "e.json", *allowed)
    assert leaks(planted / "teacher", student, out) == []
