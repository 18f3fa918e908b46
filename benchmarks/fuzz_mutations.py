"""Damages files: bytes anywhere, and values, names and shapes where the format is known.

Every function takes a NumPy generator and a path, changes the file and says what it did. The same generator
and file give the same damage.
"""

import csv
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import scipy.io
import yaml

Random = np.random.Generator
HUGE = 300_000_000  # elements that a damaged file claims to have

LONG = "x" * 100_000
TEXTS = (
    "",
    " ",
    LONG,
    "\0",
    "../../../etc/passwd",
    "a\nb",
    "é\u202e\U0001f400",
    "nan",
    "-1",
    "1e400",
)
TEXTS += ("${run_dir}", "${oc.env:HOME}", "{a: [", "%s%n", "null", "9" * 400, "/dev/null", "~", "*")
SCALARS = (None, True, -1, 0, 1, 2**31, -(2**63), 10**30, 0.5, 1e308, float("nan"), float("inf"))


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
            done = f"(no structure: {type(error).__name__}) {_bytes(random, path)}"
    else:
        done = _bytes(random, path)
    if depth < 2 and random.random() < 0.2 and path.is_file():
        done += "; " + damage(random, path, canary, depth + 1)
    return done if done.startswith(path.name) else f"{path.name}: {done}"


def damage_folder(random: Random, folder: Path, canary: Path) -> str:
    """Damages a folder of files: one file in it, or what it holds."""
    places = sorted(path for path in folder.rglob("*"))
    place = places[random.integers(len(places))]
    name = str(place.relative_to(folder))
    if place.is_dir() or random.random() < 0.25:
        done = _pick(random, ("removed", "emptied", "renamed", "file or folder", "copied inside"))
        if done == "renamed":
            place.rename(place.with_name(_pick(random, ("0", "x", place.name + "9", "tmp.tmp"))))
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


def _pick(random: Random, choices: Any) -> Any:
    return choices[int(random.integers(len(choices)))]


def _structure(path: Path) -> Callable[[Random, Path], str]:
    """Returns the function for a file's content."""
    head = path.read_bytes()[:512]
    if h5py.is_hdf5(path):
        return _hdf5
    if head.startswith(b"PK"):
        return _npz
    if head.startswith(b"\x93NUMPY"):
        return _npy
    if head.startswith(b"MATLAB 5"):
        return _mat
    if head.startswith(b"\x80") and path.suffix in (".p", ".pkl", ".pickle"):
        return _pickle
    if head.lstrip().startswith(b"<"):
        return _xml
    if path.suffix in (".yaml", ".yml"):
        return _yaml
    if head.lstrip().startswith((b"{", b"[")):
        return _json
    if path.suffix == ".arguments":
        return _arguments
    if b"\0" not in head and path.suffix in (".csv", ".tsv", ".txt", ".jsonl"):
        return _table
    return _bytes


# --- bytes -------------------------------------------------------------------------------------------


def _bytes(random: Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    kind = _pick(
        random, ("flip", "flip", "cut", "zero", "insert", "remove", "repeat", "ones", "empty")
    )
    if kind == "empty" and random.random() < 0.7:
        kind = "bits"
    start = int(random.integers(len(data) + 1))
    if random.random() < 0.4:  # headers and tables of contents lie at the ends
        start = min(int(random.exponential(64)), len(data))
        start = len(data) - start if random.random() < 0.3 else start
    num = int(min(len(data) - start, 2 ** random.integers(0, 12)))
    if kind in ("flip", "bits"):
        for place in random.integers(0, max(len(data), 1), int(random.integers(1, 16))):
            if len(data):
                data[place] = int(random.integers(256)) if kind == "flip" else data[place] ^ 1
    elif kind == "cut":
        del data[start:]
    elif kind in ("zero", "ones"):
        data[start : start + num] = (b"\0" if kind == "zero" else b"\xff") * num
    elif kind == "insert":
        data[start:start] = random.bytes(int(2 ** random.integers(0, 10)))
    elif kind == "remove":
        del data[start : start + num]
    elif kind == "repeat":
        data[start:start] = data[start : start + num] * int(random.integers(1, 5))
    else:
        data.clear()
    path.write_bytes(data)
    return f"{kind} at {start}"


def _foreign(random: Random, path: Path, canary: Path) -> str:
    """Puts something else under the name of the file."""
    kind = _pick(
        random, ("pickle", "joblib", "objects.npz", "objects.npy", "folder", "loop", "zip", "text")
    )
    payload = Payload(canary)
    path.unlink()
    if kind == "pickle":
        value = _pick(random, (payload, {"qpos": payload}, {payload.canary: [payload]}))
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
        path.write_text(_pick(random, TEXTS[1:]) * 50, encoding="utf-8")
    return f"replaced by {kind}"


# --- arrays ------------------------------------------------------------------------------------------


def _array(random: Random, values: Any) -> tuple[Any, str]:
    """Returns a damaged array, never an array of objects."""
    values = np.array(values)
    kind = _pick(
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
        where = random.random(values.shape) < _pick(random, (0.01, 0.3, 1.1))
        with np.errstate(all="ignore"):
            values = np.where(where, to, values).astype(values.dtype)
    elif kind == "retype":
        to = _pick(random, ("f2", "f4", ">f8", "i1", "u8", "?", "c8", "S3", "U4", "f8"))
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
        values = np.resize(values, (20_000, *values.shape[1:])) if values[0].size < 100 else values
    elif kind == "text":
        values = np.array(
            [_pick(random, TEXTS).encode()[:2000] or b"-"] * max(len(np.ravel(values)), 1)
        )
    else:
        values = values.copy()
    return values, kind


def _hdf5(random: Random, path: Path) -> str:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        names = sorted(names)
        attributes = [(name, key) for name in ("/", *names) for key in sorted(file[name].attrs)]
        if attributes and random.random() < 0.3:
            return _hdf5_attribute(random, file, *_pick(random, attributes))
        if not names:
            file["x"] = 1
            return "made not empty"
        name = _pick(random, names)
        item = file[name]
        kind = _pick(
            random,
            "array array array delete rename claim claim link group vlen records move".split(),
        )
        if kind == "rename":
            file.move(name, name + _pick(random, ("_", "2", " ", "é", "/x")))
        elif kind == "move":
            other = _pick(random, names)
            del file[name]
            if other in file:
                file[name] = file[other]
        elif kind == "link":
            del file[name]
            other = _pick(random, names)
            file[name] = _pick(
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
            attrs, values = dict(item.attrs), item[()]
            shape, dtype = item.shape, item.dtype
            del file[name]
            if kind == "array":
                values, kind = _array(random, values)
                file[name] = values
            elif kind == "claim" and dtype.kind in "fiu":  # chunks that were never written
                rows = int(_pick(random, (10_000_000, HUGE, 2**40)))
                file.create_dataset(
                    name,
                    shape=(rows, *shape[1:]),
                    maxshape=(None, *shape[1:]),
                    dtype=dtype,
                    chunks=(256, *(max(n, 1) for n in shape[1:])),
                )
            elif kind == "vlen":
                text = _pick(random, TEXTS).replace("\0", "")
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
    kind = _pick(random, ("gone", "array", "array", "text", "number", "bytes"))
    if kind == "array" and not isinstance(values, str | h5py.Empty):
        attrs[key], kind = _array(random, values)
    elif kind == "text":
        attrs[key] = _pick(random, TEXTS).replace("\0", "")[:60_000]
    elif kind == "bytes":
        attrs[key] = np.bytes_(b"\xff\xfe\x80")
    elif kind == "number":
        attrs[key] = _pick(random, (np.nan, -1, 0, 2**40, np.inf, True))
    return f"attribute {key} of {name} {kind}"


def _npz(random: Random, path: Path) -> str:
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
    name = _pick(random, sorted(held))
    member = path.with_name("member")
    member.write_bytes(held[name])
    done = _npy(random, member)
    held[name] = member.read_bytes()
    member.unlink()
    with zipfile.ZipFile(
        path, "w", _pick(random, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for key, data in held.items():
            archive.writestr(key, data)
    return f"{name} {done}"


def _npy(random: Random, path: Path) -> str:
    kind = _pick(random, ("claim", "claim", "header", "bytes", "array"))
    if kind == "array":
        values, kind = _array(random, np.load(path))
        with path.open("wb") as file:
            np.save(file, values)
    elif kind == "bytes":
        return _bytes(random, path)
    else:
        values = np.load(path)
        shape = (int(_pick(random, (10_000_000, HUGE, 2**40, -1))), *values.shape[1:])
        header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
        if kind == "header":
            header["descr"] = _pick(
                random, ("O", "|V4", "<f4", "[('a','O')]", "<U999999999", "<M8[ns]")
            )
            header["shape"] = values.shape
        with path.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            file.write(values.tobytes())
    return kind


def _mapping(random: Random, held: dict) -> tuple[str, str]:
    """Damages one value of a dictionary of arrays."""
    name = _pick(random, sorted(held))
    done = _pick(random, ("array", "array", "array", "gone", "renamed", "added"))
    if done == "gone":
        del held[name]
    elif done == "renamed":
        held[f"{name}2"] = held.pop(name)
    elif done == "added":
        held[
            _pick(random, ("pred", "spike_times_index", "take_lengths", "names", "time", "a/b"))
        ] = held[name]
    else:
        held[name], done = _array(random, held[name])
    return name, done


def _mat(random: Random, path: Path) -> str:
    held = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    name, done = _mapping(random, held)
    scipy.io.savemat(path, {key.replace("/", "_"): value for key, value in held.items()})
    return f"{name} {done}"


def _pickle(random: Random, path: Path) -> str:
    held = pickle.loads(path.read_bytes())  # which this program wrote
    name, done = _mapping(random, held)
    if random.random() < 0.2:
        held[name], done = (
            _pick(random, (*SCALARS, *TEXTS, [[[[]]]], {1: 2}, {"a": {}})),
            "other value",
        )
    if random.random() < 0.05:
        held[name], done = held, "itself"
    path.write_bytes(pickle.dumps(held, int(random.integers(6))))
    return f"{name} {done}"


# --- text --------------------------------------------------------------------------------------------


def _tree(random: Random, tree: Any) -> str:
    """Damages one place in nested dictionaries and lists."""
    holder, key, trail = None, None, []
    node = tree
    while (
        isinstance(node, dict | list) and len(node) and (holder is None or random.random() < 0.85)
    ):
        holder = node
        key = (
            _pick(random, list(node)) if isinstance(node, dict) else int(random.integers(len(node)))
        )
        node, trail = node[key], [*trail, str(key)]
    if holder is None:
        raise ValueError("nothing in it")
    kind = _pick(
        random, "scalar scalar scalar text text gone renamed list mapping deep number twice".split()
    )
    if kind == "gone":
        del holder[key]
    elif kind == "renamed" and isinstance(holder, dict):
        holder[_pick(random, (f"{key}s", str(key)[:-1], str(key).upper(), "", 7, None))] = (
            holder.pop(key)
        )
    elif kind == "text":
        holder[key] = _pick(random, TEXTS)
    elif kind == "list":
        holder[key] = [node] * int(_pick(random, (0, 1, 3, 1000)))
    elif kind == "mapping":
        holder[key] = {_pick(random, ("value", "a", "", 3)): node}
    elif kind == "deep":
        for _ in range(int(_pick(random, (5, 200)))):
            node = [node] if random.random() < 0.5 else {"a": node}
        holder[key] = node
    elif kind == "number" and isinstance(node, int | float):
        holder[key] = node * _pick(random, (-1, 0, 1000, 1e9, 0.37, 1e-9))
    elif kind == "twice" and isinstance(node, list) and node:
        holder[key] = [*node, node[0]]
    else:
        holder[key] = _pick(random, SCALARS)
    return f"{'.'.join(trail)} {kind}"


def _json(random: Random, path: Path) -> str:
    text = path.read_text()
    if random.random() < 0.1:
        wild = (
            "[" * 100_000,
            '{"a":' * 5000,
            "NaN",
            "null",
            "[]",
            text[:-1] + ',"a":1}',
            text + text,
        )
        path.write_text(_pick(random, wild))
        return "other JSON"
    lines = (
        [json.loads(line) for line in text.splitlines()]
        if path.suffix == ".jsonl"
        else [json.loads(text)]
    )
    done = _tree(random, _pick(random, lines))
    path.write_text("\n".join(json.dumps(line, indent=None) for line in lines))
    return done


def _yaml(random: Random, path: Path) -> str:
    text = path.read_text()
    if random.random() < 0.3:
        key = _pick(
            random, [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()]
        )
        laughs = "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 9))
        wild = {
            "cycle": f"{text}\n{key}: &a\n  b: *a\n",
            "cyclic list": f"{key}: &a [*a, *a]\n",
            "laughs": f"b0: &b0 [x]\n{laughs}{key}: *b8\n",
            "object": f"{key}: !!python/object/apply:os.system ['touch canary']\n",
            "deep": f"{key}: {'[' * 5000}",
            "deep closed": f"{key}: {'{a: ' * 500}1{'}' * 500}\n",
            "twice": text + text,
            "two documents": f"{text}\n---\n{text}",
            "merge": f"<<: *no\n{text}",
            "date": f"{key}: 2001-12-14t21:59:43.10-05:00\n",
            "binary": f"{key}: !!binary R0lGODlhDA\n",
            "set": f"{key}: !!set {{a, b}}\n",
            "list key": f"? [a, b]\n: 1\n{text}",
            "tab": text.replace("  ", "\t"),
            "list": "- 1\n- 2\n",
            "interpolation": f"{key}: ${{{key}}}\n",
            "other interpolation": f"{key}:\n  a: ${{oc.env:HOME}}\n",
            "resolver": f"{key}: ${{nothing:1}}\n",
            "missing": f"{key}: ???\n",
            "defaults": f"defaults: [/no, {{a: b}}]\n{text}",
            "hydra": f"hydra: {{run: {{dir: /tmp}}}}\n{text}",
        }
        kind = _pick(random, sorted(wild))
        path.write_text(wild[kind])
        return kind
    tree = yaml.safe_load(text)
    done = _tree(random, tree)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    return done


def _arguments(random: Random, path: Path) -> str:
    lines = path.read_text().splitlines()
    place = int(random.integers(len(lines)))
    key, joint, value = lines[place].partition("=")
    kind = _pick(
        random, "value value value key gone twice scalar brackets quote swap file text".split()
    )
    if kind == "value":
        value = str(_pick(random, (*SCALARS, *TEXTS)))
    elif kind == "scalar":
        value = str(_pick(random, SCALARS))
    elif kind == "key":
        key = _pick(
            random,
            (key[:-1], key.upper(), key + ".x", "~" + key, "+" + key, "++" + key + ".y", "@a"),
        )
    elif kind == "brackets":
        value = _pick(
            random, ("[" * 500, "{" * 50, "[a,[b]]", "{a:b}", "[,]", "[']", "[1,2,3]", "{value: 1}")
        )
    elif kind == "quote":
        value = _pick(random, ("'", '"', "\\", "a'b", "'a' b", "${a}", "${", "$(x)", "\\'", "'\\"))
    elif kind == "file":
        value = _pick(
            random, ("/dev/null", "/etc/passwd", "/proc/self/mem", ".", "/", "no/such", "a" * 5000)
        )
    elif kind == "swap":
        value = _pick(random, lines).partition("=")[2]
    elif kind == "text":
        key, joint, value = (
            _pick(random, ("--", "-m", "=", "a=b", "--config", "x" * 9000, "--help2")),
            "",
            "",
        )
    line = f"{key}{joint}{value}".replace("\n", " ")
    lines[place : place + 1] = {"gone": [], "twice": [line, line]}.get(kind, [line])
    path.write_text("\n".join(lines))
    return f"{key[:40]}{joint}{value[:40]} {kind}"


def _table(random: Random, path: Path) -> str:
    text = path.read_text()
    split = _pick(random, ("\t",)) if path.suffix == ".tsv" else ","
    rows = list(csv.reader(io.StringIO(text), delimiter=split))
    row = int(random.integers(len(rows))) if random.random() < 0.6 else 0
    column = int(random.integers(max(len(rows[row]), 1)))
    kind = _pick(
        random, "cell cell column row header cells delimiter quote blank huge only".split()
    )
    if kind == "cell":
        rows[row][column] = str(_pick(random, (*TEXTS[:6], *SCALARS)))
    elif kind == "column":
        rows = [[cell for k, cell in enumerate(line) if k != column] for line in rows]
    elif kind == "row":
        del rows[row][column:]
    elif kind == "header":
        rows[0] = _pick(
            random, (["a"] * len(rows[0]), rows[0][::-1], [], [""] * len(rows[0]), rows[-1])
        )
    elif kind == "cells":
        for line in rows[1:]:
            if column < len(line):
                line[column] = str(_pick(random, SCALARS))
    elif kind == "blank":
        rows[row] = [""] * len(rows[row])
    elif kind == "huge":
        rows[row] = rows[row] * 2000
    elif kind == "only":
        rows = rows[: int(random.integers(3))]
    out = io.StringIO()
    csv.writer(out, delimiter=";" if kind == "delimiter" else split).writerows(rows)
    text = out.getvalue()
    if kind == "quote":
        place = int(random.integers(len(text)))
        text = text[:place] + '"' + text[place:]
    path.write_text(text, encoding="utf-8")
    return f"row {row}, column {column} {kind}"


def _xml(random: Random, path: Path) -> str:
    tree = ElementTree.parse(path)
    root = tree.getroot()
    if random.random() < 0.1:
        nested = "<body>" * 3000
        entity = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">' + "".join(
            f'<!ENTITY b{i} "{f"&b{i - 1 if i > 1 else chr(0)};".replace(chr(0), "") * 10}">'
            for i in range(1, 9)
        )
        wild = {
            "nested": f"<mujoco><worldbody>{nested}",
            "entities": entity + "]><mujoco model='&b8;'/>",
            "file": "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><mujoco>&b;</mujoco>",
            "itself": f"<mujoco><include file='{path.name}'/></mujoco>",
            "root": "<robot name='a'><link name='b'/></robot>",
            "grid": "<mujoco><worldbody><replicate count='100000'><geom size='1'/></replicate></worldbody></mujoco>",
            "nothing": "<mujoco/>",
        }
        kind = _pick(random, sorted(wild))
        path.write_text(wild[kind])
        return kind
    elements = list(root.iter())
    element = _pick(random, elements)
    kind = _pick(
        random, "attribute attribute attribute lost gone twice tag new include inside".split()
    )
    if kind in ("attribute", "lost") and element.attrib:
        key = _pick(random, sorted(element.attrib))
        old = element.attrib.pop(key)
        if kind == "attribute":
            new = (
                *TEXTS[:4],
                *map(str, SCALARS),
                "0",
                "0 0",
                "1 2 3 4 5 6 7 8 9",
                "nan nan nan",
                "1e-300",
                old * 2,
            )
            element.set(key, _pick(random, new).replace("\0", ""))
        return f"{element.tag} {key} {kind}"
    if kind == "new":
        key = _pick(
            random,
            ("pos", "quat", "size", "mass", "range", "type", "mesh", "file", "class", "nstack"),
        )
        element.set(
            key,
            _pick(
                random,
                ("nan", "0", "-1 -1 -1", "1e30 1 1", "mesh", "x", "2147483647", "4000000000"),
            ),
        )
    elif kind == "include":
        element.append(
            ElementTree.Element("include", file=_pick(random, (path.name, "/etc/passwd", "no.xml")))
        )
    else:
        parent = next((p for p in elements if element in list(p)), root)
        if kind in ("gone", "tag"):
            if kind == "tag":
                element.tag = _pick(random, ("geom", "joint", "x", "body", "freejoint"))
            elif parent is not element and element in list(parent):
                parent.remove(element)
        else:
            (parent if kind == "twice" else element).append(
                ElementTree.fromstring(ElementTree.tostring(element))
            )
    tree.write(path)
    return f"{element.tag} {kind}"


def size_of(folder: Path) -> int:
    """Returns the bytes of the files in a folder, links not followed."""
    return sum(
        os.lstat(Path(at, name)).st_size for at, _, names in os.walk(folder) for name in names
    )
