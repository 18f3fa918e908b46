"""Damages keys and values in JSON, YAML, command lines, tables and MJCF."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from fuzz_bytes import SCALARS, TEXTS, Random, pick


def _tree(random: Random, tree: Any) -> str:
    """Damages one place in nested dictionaries and lists."""
    holder, key, trail = None, None, []
    node = tree
    while (
        isinstance(node, dict | list) and len(node) and (holder is None or random.random() < 0.85)
    ):
        holder = node
        key = (
            pick(random, list(node)) if isinstance(node, dict) else int(random.integers(len(node)))
        )
        node, trail = node[key], [*trail, str(key)]
    if holder is None:
        raise ValueError("nothing in it")
    kind = pick(
        random, "scalar scalar scalar text text gone renamed list mapping deep number twice".split()
    )
    if kind == "gone":
        del holder[key]
    elif kind == "renamed" and isinstance(holder, dict):
        holder[pick(random, (f"{key}s", str(key)[:-1], str(key).upper(), "", 7, None))] = (
            holder.pop(key)
        )
    elif kind == "text":
        holder[key] = pick(random, TEXTS)
    elif kind == "list":
        holder[key] = [node] * int(pick(random, (0, 1, 3, 1000)))
    elif kind == "mapping":
        holder[key] = {pick(random, ("value", "a", "", 3)): node}
    elif kind == "deep":
        for _ in range(int(pick(random, (5, 200)))):
            node = [node] if random.random() < 0.5 else {"a": node}
        holder[key] = node
    elif kind == "number" and isinstance(node, int | float):
        holder[key] = node * pick(random, (-1, 0, 1000, 1e9, 0.37, 1e-9))
    elif kind == "twice" and isinstance(node, list) and node:
        holder[key] = [*node, node[0]]
    else:
        holder[key] = pick(random, SCALARS)
    return f"{'.'.join(trail)} {kind}"


def damage_json(random: Random, path: Path) -> str:
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
        path.write_text(pick(random, wild))
        return "other JSON"
    lines = (
        [json.loads(line) for line in text.splitlines()]
        if path.suffix == ".jsonl"
        else [json.loads(text)]
    )
    done = _tree(random, pick(random, lines))
    path.write_text("\n".join(json.dumps(line, indent=None) for line in lines))
    return done


def damage_yaml(random: Random, path: Path) -> str:
    text = path.read_text()
    if random.random() < 0.3:
        key = pick(random, [line.split(":")[0] for line in text.splitlines() if line[:1].isalpha()])
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
        kind = pick(random, sorted(wild))
        path.write_text(wild[kind])
        return kind
    tree = yaml.safe_load(text)
    done = _tree(random, tree)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    return done


def damage_arguments(random: Random, path: Path) -> str:
    lines = path.read_text().splitlines()
    place = int(random.integers(len(lines)))
    key, joint, value = lines[place].partition("=")
    kind = pick(
        random, "value value value key gone twice scalar brackets quote swap file text".split()
    )
    if kind == "value":
        value = str(pick(random, (*SCALARS, *TEXTS)))
    elif kind == "scalar":
        value = str(pick(random, SCALARS))
    elif kind == "key":
        key = pick(
            random,
            (key[:-1], key.upper(), key + ".x", "~" + key, "+" + key, "++" + key + ".y", "@a"),
        )
    elif kind == "brackets":
        value = pick(
            random, ("[" * 500, "{" * 50, "[a,[b]]", "{a:b}", "[,]", "[']", "[1,2,3]", "{value: 1}")
        )
    elif kind == "quote":
        value = pick(random, ("'", '"', "\\", "a'b", "'a' b", "${a}", "${", "$(x)", "\\'", "'\\"))
    elif kind == "file":
        value = pick(
            random, ("/dev/null", "/etc/passwd", "/proc/self/mem", ".", "/", "no/such", "a" * 5000)
        )
    elif kind == "swap":
        value = pick(random, lines).partition("=")[2]
    elif kind == "text":
        key, joint, value = (
            pick(random, ("--", "-m", "=", "a=b", "--config", "x" * 9000, "--help2")),
            "",
            "",
        )
    line = f"{key}{joint}{value}".replace("\n", " ")
    lines[place : place + 1] = {"gone": [], "twice": [line, line]}.get(kind, [line])
    path.write_text("\n".join(lines))
    return f"{key[:40]}{joint}{value[:40]} {kind}"


def damage_table(random: Random, path: Path) -> str:
    text = path.read_text()
    split = pick(random, ("\t",)) if path.suffix == ".tsv" else ","
    rows = list(csv.reader(io.StringIO(text), delimiter=split))
    row = int(random.integers(len(rows))) if random.random() < 0.6 else 0
    column = int(random.integers(max(len(rows[row]), 1)))
    kind = pick(random, "cell cell column row header cells delimiter quote blank huge only".split())
    if kind == "cell":
        rows[row][column] = str(pick(random, (*TEXTS[:6], *SCALARS)))
    elif kind == "column":
        rows = [[cell for k, cell in enumerate(line) if k != column] for line in rows]
    elif kind == "row":
        del rows[row][column:]
    elif kind == "header":
        rows[0] = pick(
            random, (["a"] * len(rows[0]), rows[0][::-1], [], [""] * len(rows[0]), rows[-1])
        )
    elif kind == "cells":
        for line in rows[1:]:
            if column < len(line):
                line[column] = str(pick(random, SCALARS))
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


def damage_xml(random: Random, path: Path) -> str:
    tree = ElementTree.parse(path)
    root = tree.getroot()
    if random.random() < 0.1:
        nested = "<body>" * 3000
        grid = "<replicate count='1000'><geom size='1'/></replicate>"
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
            "grid": f"<mujoco><worldbody>{grid}</worldbody></mujoco>",
            "nothing": "<mujoco/>",
        }
        kind = pick(random, sorted(wild))
        path.write_text(wild[kind])
        return kind
    elements = list(root.iter())
    element = pick(random, elements)
    kind = pick(
        random, "attribute attribute attribute lost gone twice tag new include inside".split()
    )
    if kind in ("attribute", "lost") and element.attrib:
        key = pick(random, sorted(element.attrib))
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
            element.set(key, pick(random, new).replace("\0", ""))
        return f"{element.tag} {key} {kind}"
    if kind == "new":
        key = pick(
            random,
            ("pos", "quat", "size", "mass", "range", "type", "mesh", "file", "class", "nstack"),
        )
        element.set(
            key,
            pick(
                random,
                ("nan", "0", "-1 -1 -1", "1e30 1 1", "mesh", "x", "2147483647", "4000000000"),
            ),
        )
    elif kind == "include":
        element.append(
            ElementTree.Element("include", file=pick(random, (path.name, "/etc/passwd", "no.xml")))
        )
    else:
        parent = next((p for p in elements if element in list(p)), root)
        if kind in ("gone", "tag"):
            if kind == "tag":
                element.tag = pick(random, ("geom", "joint", "x", "body", "freejoint"))
            elif parent is not element and element in list(parent):
                parent.remove(element)
        else:
            (parent if kind == "twice" else element).append(
                ElementTree.fromstring(ElementTree.tostring(element))
            )
    tree.write(path)
    return f"{element.tag} {kind}"
