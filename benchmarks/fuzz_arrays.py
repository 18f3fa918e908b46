"""Damages names, shapes, types and values in files of arrays: HDF5, NumPy, MATLAB and pickles."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from fuzz_bytes import HUGE, SCALARS, TEXTS, Random, damage_bytes, pick


def _array(random: Random, values: Any) -> tuple[Any, str]:
    """Returns a damaged array, never an array of objects."""
    values = np.array(values)
    kind = pick(
        random,
        "nan inf huge tiny zero negative retype retype flat axis swap empty scalar short long text same "
        "column big".split(),
    )
    if kind in ("nan", "inf", "huge", "zero", "negative", "tiny") and values.dtype.kind in "fiub":
        to = {
            "nan": np.nan,
            "inf": -np.inf,
            "huge": 1e30,
            "zero": 0,
            "negative": -3,
            "tiny": 1e-40,
        }[kind]
        values = values.astype(float) if values.dtype.kind != "f" else values
        where = random.random(values.shape) < pick(random, (0.01, 0.3, 1.1))
        with np.errstate(all="ignore"):
            values = np.where(where, to, values).astype(values.dtype)
    elif kind == "retype":
        to = pick(random, ("f2", "f4", ">f8", "i1", "u8", "?", "c8", "S3", "U4", "f8"))
        with np.errstate(all="ignore"):
            values = (
                np.nan_to_num(values).astype(to) if values.dtype.kind == "f" else values.astype(to)
            )
    elif kind == "flat":
        values = values.ravel()
    elif kind == "axis":
        values = values[None] if random.random() < 0.5 else values[..., None]
    elif kind == "swap":
        values = values.T
    elif kind == "empty":
        values = values[:0] if values.ndim else values
    elif kind == "scalar":
        values = values.ravel()[:1].reshape(()) if values.size else values
    elif kind == "short" and values.ndim:
        values = values[:-1]
    elif kind == "column" and values.ndim:
        values = values[..., : max(values.shape[-1] - 1, 0)]
    elif kind == "long" and values.ndim:
        values = np.concatenate([values, values[-1:]])
    elif kind == "big" and values.ndim and values.size:
        values = np.resize(values, (20 * len(values), *values.shape[1:]))
    elif kind == "text":
        values = np.array(
            [pick(random, TEXTS).encode()[:2000] or b"-"] * max(len(np.ravel(values)), 1)
        )
    else:
        values = values.copy()
    return values, kind


def damage_hdf5(random: Random, path: Path) -> str:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        names = sorted(names)
        attributes = [(name, key) for name in ("/", *names) for key in sorted(file[name].attrs)]
        if attributes and random.random() < 0.3:
            return _hdf5_attribute(random, file, *pick(random, attributes))
        if not names:
            file["x"] = 1
            return "made not empty"
        name = pick(random, names)
        item = file[name]
        kind = pick(
            random,
            "array array array delete rename claim claim link group vlen records move".split(),
        )
        if kind == "rename":
            file.move(name, name + pick(random, ("_", "2", " ", "é", "/x")))
        elif kind == "move":
            other = pick(random, names)
            del file[name]
            if other in file:
                file[name] = file[other]
        elif kind == "link":
            del file[name]
            other = pick(random, names)
            file[name] = pick(
                random,
                (
                    h5py.SoftLink(f"/{name}"),
                    h5py.SoftLink(f"/{other}"),
                    h5py.ExternalLink("no.h5", "/x"),
                ),
            )
            return f"{name} linked to {other}"
        elif kind == "group" or isinstance(item, h5py.Group):
            is_group = isinstance(item, h5py.Group)
            del file[name]
            if random.random() < 0.6:
                file[name] = 3.0 if is_group else np.zeros(0)
            else:
                file.create_group(name)
        else:
            is_claim = item.size is not None and item.size * item.dtype.itemsize > 2**26
            attrs, values = dict(item.attrs), np.zeros(3) if is_claim else item[()]
            shape, dtype = item.shape, item.dtype
            del file[name]
            if kind == "array":
                values, kind = _array(random, values)
                file[name] = values
            elif kind == "claim" and dtype.kind in "fiu":  # chunks that were never written
                rows = int(pick(random, (10_000_000, HUGE, 2**40)))
                file.create_dataset(
                    name,
                    shape=(rows, *shape[1:]),
                    maxshape=(None, *shape[1:]),
                    dtype=dtype,
                    chunks=(256, *(max(n, 1) for n in shape[1:])),
                )
            elif kind == "vlen":
                text = pick(random, TEXTS).replace("\0", "")
                file.create_dataset(name, data=[text] * 3, dtype=h5py.string_dtype())
            elif kind == "records":
                file[name] = np.zeros(3, [("a", "f4"), ("b", "S3")])
            for key, value in attrs.items():
                if name in file:
                    file[name].attrs[key] = value
        return f"{name} {kind}"


def _hdf5_attribute(random: Random, file: h5py.File, name: str, key: str) -> str:
    attrs = file[name].attrs
    values = attrs[key]
    del attrs[key]
    kind = pick(random, ("gone", "array", "array", "text", "number", "bytes"))
    if kind == "array" and not isinstance(values, str | h5py.Empty):
        attrs[key], kind = _array(random, values)
    elif kind == "text":
        attrs[key] = pick(random, TEXTS).replace("\0", "")[:60_000]
    elif kind == "bytes":
        attrs[key] = np.bytes_(b"\xff\xfe\x80")
    elif kind == "number":
        attrs[key] = pick(random, (np.nan, -1, 0, 2**40, np.inf, True))
    return f"attribute {key} of {name} {kind}"


def damage_npz(random: Random, path: Path) -> str:
    if random.random() < 0.25:
        return _npz_member(random, path)
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    name, done = _mapping(random, held)
    np.savez(path, **{key or "_": value for key, value in held.items()})
    return f"{name} {done}"


def _npz_member(random: Random, path: Path) -> str:
    """Damages the bytes of one array in the archive, or claims a size in its header."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    name = pick(random, sorted(held))
    member = path.with_name("member")
    member.write_bytes(held[name])
    done = damage_npy(random, member)
    held[name] = member.read_bytes()
    member.unlink()
    with zipfile.ZipFile(
        path, "w", pick(random, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for key, data in held.items():
            archive.writestr(key, data)
    return f"{name} {done}"


def damage_npy(random: Random, path: Path) -> str:
    kind = pick(random, ("claim", "claim", "header", "bytes", "array"))
    if kind == "array":
        values, kind = _array(random, np.load(path))
        with path.open("wb") as file:
            np.save(file, values)
    elif kind == "bytes":
        return damage_bytes(random, path)
    else:
        values = np.load(path)
        shape = (int(pick(random, (10_000_000, HUGE, 2**40, -1))), *values.shape[1:])
        header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
        if kind == "header":
            header["descr"] = pick(
                random, ("O", "|V4", "<f4", "[('a','O')]", "<U999999999", "<M8[ns]")
            )
            header["shape"] = values.shape
        with path.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            file.write(values.tobytes())
    return kind


def _mapping(random: Random, held: dict) -> tuple[str, str]:
    """Damages one value of a dictionary of arrays."""
    name = pick(random, sorted(held))
    done = pick(random, ("array", "array", "array", "gone", "renamed", "added"))
    if done == "gone":
        del held[name]
    elif done == "renamed":
        held[f"{name}2"] = held.pop(name)
    elif done == "added":
        held[
            pick(random, ("pred", "spike_times_index", "take_lengths", "names", "time", "a/b"))
        ] = held[name]
    else:
        held[name], done = _array(random, held[name])
    return name, done


def damage_mat(random: Random, path: Path) -> str:
    held = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    name, done = _mapping(random, held)
    scipy.io.savemat(path, {key.replace("/", "_"): value for key, value in held.items()})
    return f"{name} {done}"


def damage_pickle(random: Random, path: Path) -> str:
    held = pickle.loads(path.read_bytes())  # which this program wrote
    name, done = _mapping(random, held)
    if random.random() < 0.2:
        held[name], done = (
            pick(random, (*SCALARS, *TEXTS, [[[[]]]], {1: 2}, {"a": {}})),
            "other value",
        )
    if random.random() < 0.05:
        held[name], done = held, "itself"
    path.write_bytes(pickle.dumps(held, int(random.integers(6))))
    return f"{name} {done}"
