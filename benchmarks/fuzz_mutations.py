"""Damages files: bytes anywhere, and values, names and shapes where the format is known.

Every function takes a NumPy generator and a path, changes the file and says what it did. The same generator
and file give the same damage.
"""

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzz_arrays import damage_hdf5, damage_mat, damage_npy, damage_npz, damage_pickle
from fuzz_bytes import TEXTS, Random, damage_bytes, pick
from fuzz_texts import damage_arguments, damage_json, damage_table, damage_xml, damage_yaml


class Payload:
    """Pickles to a program that makes a file; whoever loads it has run it."""

    def __init__(self, canary: Path):
        """Takes the file to make."""
        self.canary = str(canary)

    def __reduce__(self) -> Any:
        """Returns the call that a careless reader makes."""
        return open, (self.canary, "w")


def damage(random: Random, path: Path, canary: Path, depth: int = 0) -> str:
    """Damages a file in a way that suits its content, or bytes of it; returns what was done."""
    if random.random() < 0.06:
        return f"{path.name}: {_foreign(random, path, canary)}"
    if random.random() < 0.62:
        try:
            done = _structure(path)(random, path)
        except Exception as error:  # the file cannot be changed so, or earlier damage hit it
            done = f"(no structure: {type(error).__name__}) {damage_bytes(random, path)}"
    else:
        done = damage_bytes(random, path)
    if depth < 2 and random.random() < 0.2 and path.is_file():
        done += "; " + damage(random, path, canary, depth + 1)
    return done if done.startswith(path.name) else f"{path.name}: {done}"


def damage_folder(random: Random, folder: Path, canary: Path) -> str:
    """Damages a folder of files: one file in it, or what it holds."""
    places = sorted(path for path in folder.rglob("*"))
    place = places[random.integers(len(places))]
    name = str(place.relative_to(folder))
    if place.is_dir() or random.random() < 0.25:
        done = pick(random, ("removed", "emptied", "renamed", "file or folder", "copied inside"))
        if done == "renamed":
            place.rename(place.with_name(pick(random, ("0", "x", place.name + "9", "tmp.tmp"))))
        elif done == "copied inside" and place.is_dir():
            shutil.copytree(place, place.with_name(place.name + "1"))
        else:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            if done == "emptied":
                place.mkdir()
            elif done == "file or folder":
                place.write_text("{}")
        return f"{name} {done}"
    return f"{name}: {damage(random, place, canary)}"


def _structure(path: Path) -> Callable[[Random, Path], str]:
    """Returns the function for a file's content."""
    head = path.read_bytes()[:512]
    if h5py.is_hdf5(path):
        return damage_hdf5
    if head.startswith(b"PK"):
        return damage_npz
    if head.startswith(b"\x93NUMPY"):
        return damage_npy
    if head.startswith(b"MATLAB 5"):
        return damage_mat
    if head.startswith(b"\x80") and path.suffix in (".p", ".pkl", ".pickle"):
        return damage_pickle
    if head.lstrip().startswith(b"<"):
        return damage_xml
    if path.suffix in (".yaml", ".yml"):
        return damage_yaml
    if head.lstrip().startswith((b"{", b"[")):
        return damage_json
    if path.suffix == ".arguments":
        return damage_arguments
    if b"\0" not in head and path.suffix in (".csv", ".tsv", ".txt", ".jsonl"):
        return damage_table
    return damage_bytes


def _foreign(random: Random, path: Path, canary: Path) -> str:
    """Puts something else under the name of the file."""
    kind = pick(
        random, ("pickle", "joblib", "objects.npz", "objects.npy", "folder", "loop", "zip", "text")
    )
    payload = Payload(canary)
    path.unlink()
    if kind == "pickle":
        value = pick(random, (payload, {"qpos": payload}, {payload.canary: [payload]}))
        path.write_bytes(pickle.dumps(value, int(random.integers(6))))
    elif kind == "joblib":
        path.write_bytes(
            b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n." + pickle.dumps(payload)
        )
    elif kind.startswith("objects"):
        held = io.BytesIO()
        array = np.array([payload], object)
        names = (
            "qpos",
            "keypoints",
            "spike_times",
            "joint_names",
            "names",
            "pred",
            "rate_hz",
            "signals",
        )
        if kind == "objects.npz":
            np.savez(held, **dict.fromkeys(names, array))
        else:
            np.save(held, array)
        path.write_bytes(held.getvalue())
    elif kind == "folder":
        path.mkdir()
        (path / "0").write_bytes(pickle.dumps(payload))
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../qpos.npy", pickle.dumps(payload))
    else:
        path.write_text(pick(random, TEXTS[1:]) * 50, encoding="utf-8")
    return f"replaced by {kind}"


def size_of(folder: Path) -> int:
    """Returns the bytes of the files in a folder, links not followed."""
    return sum(
        os.lstat(Path(at, name)).st_size for at, _, names in os.walk(folder) for name in names
    )
