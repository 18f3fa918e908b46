"""The `replay-nan` command: shows where a step of a training stopped being finite, by a file of the run."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
from rich.table import Table

from vnl_mjx.commands.console import Console, print_table
from vnl_mjx.commands.train.divergence_files import FORMAT, FORMAT_VERSION
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.physics.base import STATE_FIELDS, excitation
from vnl_mjx.physics.mujoco_batch import without_warnings

_BAD = ("BADQPOS", "BADQVEL", "BADQACC", "BADCTRL")  # of mujoco.mjtWarning


def run(args: argparse.Namespace) -> int:
    """Prints what the file holds and replays its simulation in MuJoCo C; returns the exit status."""
    path = args.file.expanduser()
    facts, arrays = read_divergence(path)
    substeps = replay(facts, arrays, path) if "model" in arrays else []
    verdict = judge(facts, arrays, substeps)
    if args.json:
        rows = {name: _summary(value) for name, value in _shown(arrays).items()}
        print(
            json.dumps(
                {**facts, "arrays": rows, "substeps": substeps, "verdict": verdict}, indent=2
            )
        )
        return 0
    console = Console()
    print_table(console, "Divergence", _rows(facts, arrays))
    if arrays:
        print_table(
            console, "First step", {name: _line(value) for name, value in _shown(arrays).items()}
        )
    if substeps:
        console.print(_table(substeps))
    console.print(verdict, markup=False, highlight=False, soft_wrap=True)
    return 0


def read_divergence(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads facts and arrays of a file that a training wrote.

    Raises:
        UserError: it is missing, damaged, or another kind of file.
    """
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']!r}")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; see the folder nan of a run") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: expected a file that a training wrote to the folder nan of its run, found "
            f"another or a damaged one ({first_line(error)})"
        ) from error
    if facts["format_version"] > FORMAT_VERSION:
        raise UserError(
            f"{path}: format {facts['format_version']}, this version reads up to {FORMAT_VERSION}; update "
            "vnl-mjx"
        )
    return facts, arrays


def replay(
    facts: dict[str, Any], arrays: dict[str, np.ndarray], path: Path
) -> list[dict[str, Any]]:
    """Makes the control step again in MuJoCo C, up to the first substep that is not finite.

    Returns:
        Per substep: largest speed and acceleration with the names of their joints, contacts, deepest
        penetration in mm, and MuJoCo's warnings.

    Raises:
        UserError: another version of MuJoCo wrote the model.
    """
    if facts["mujoco"] != mujoco.__version__:
        raise UserError(
            f"{path}: its model was written by mujoco {facts['mujoco']}, found {mujoco.__version__}; "
            "install that version to replay it"
        )
    try:
        files = {"model.mjb": arrays["model"].tobytes()}
        model = mujoco.MjModel.from_binary_path("model.mjb", files)
        data = mujoco.MjData(model)
        for name in STATE_FIELDS:
            getattr(data, name)[:] = arrays[f"physics.{name}"]
        data.ctrl[:] = np.asarray(excitation(model, jnp.asarray(arrays["control"])))
    except (ValueError, KeyError, mujoco.FatalError) as error:
        raise UserError(
            f"{path}: cannot be replayed ({first_line(error)}); it is damaged"
        ) from error
    rows = []
    with without_warnings():
        for number in range(facts["num_substeps"] * facts["action_repeat"]):
            mujoco.mj_step(model, data)
            rows.append({"substep": number + 1, **_measured(model, data)})
            if rows[-1]["warnings"]:
                break
    return rows


def judge(
    facts: dict[str, Any], arrays: dict[str, np.ndarray], substeps: list[dict[str, Any]]
) -> str:
    """Returns one sentence: what stopped being finite first."""
    if not arrays:
        terms = [name for name, value in facts["loss"].items() if isinstance(value, str)]
        found = ", ".join(terms) or "the gradient alone"
        return (
            f"Every visited step was finite; the loss was not: {found}. Look at that term, at the "
            "learning rate and at max_grad_norm; a run that resumes from the checkpoint before repeats it."
        )
    bad = [name for name, value in _shown(arrays).items() if not np.isfinite(value).all()]
    for start, sentence in {
        "physics": "The simulation was not finite before the step: {}.",
        "observation": "The observation was not finite: {}. Look at the terms of that part.",
        "action": "The observation was finite, and the policy's action was not: look at its parameters.",
        "control": "The policy's action was finite, and the control that the task made of it was not.",
    }.items():
        names = [name for name in bad if name.startswith(start)]
        if names:
            return sentence.format(", ".join(names))
    if substeps and substeps[-1]["warnings"]:
        last = substeps[-1]
        return (
            f"The simulation diverges in substep {last['substep']} ({', '.join(last['warnings'])}), first at "
            f"{last['fastest']}: shorten the time step, or look at the gains, masses and contacts there."
        )
    if bad:
        return (
            f"Simulation, observation and action were finite; what learning reads was not: {', '.join(bad)}. "
            "A teacher's action or a reward term gave it."
        )
    return (
        "The step is finite in MuJoCo C. Either a reward or a distance was not finite, or only the back end "
        f"of the run ({facts['backend']}) diverges here."
    )


def _measured(model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, Any]:
    kinds = {name: int(getattr(mujoco.mjtWarning, f"mjWARN_{name}")) for name in _BAD}
    warnings = [name for name, kind in kinds.items() if data.warning[kind].number]
    values = np.concatenate([data.qpos, data.qvel, data.qacc])
    if not warnings and not np.isfinite(values).all():
        warnings = ["not finite"]
    fastest, hardest = (_largest(values) for values in (data.qvel, data.qacc))
    depths = [max(-contact.dist, 0.0) for contact in data.contact[: data.ncon]]
    return {
        "largest_speed": float(np.abs(data.qvel[fastest])) if model.nv else 0.0,
        "fastest": _joint(model, fastest),
        "largest_acceleration": float(np.abs(data.qacc[hardest])) if model.nv else 0.0,
        "hardest": _joint(model, hardest),
        "contacts": int(data.ncon),
        "deepest_mm": 1e3 * max(depths, default=0.0),
        "warnings": warnings,
    }


def _largest(values: np.ndarray) -> int:
    """Returns the index of the first value that is not finite, else of the largest."""
    return int(np.argmax(np.where(np.isfinite(values), np.abs(values), np.inf)))


def _joint(model: mujoco.MjModel, dof: int) -> str:
    return model.joint(int(model.dof_jntid[dof])).name or f"coordinate {dof}"


def _shown(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays worth a line: state, observation, action, control and what learning reads."""
    state = tuple(f"physics.{name}" for name in STATE_FIELDS)
    starts = (*state, "observation.", "action", "control", "recorded.")
    return {
        name: value
        for name, value in arrays.items()
        if name.startswith(starts) and value.size and np.issubdtype(value.dtype, np.floating)
    }


def _summary(value: np.ndarray) -> dict[str, Any]:
    finite = np.isfinite(value)
    entries = np.flatnonzero(~finite).tolist()
    largest = float(np.abs(value[finite]).max()) if finite.any() else None
    return {"size": value.size, "largest": largest, "not_finite": entries}


def _line(value: np.ndarray) -> str:
    found = _summary(value)
    largest = "none finite" if found["largest"] is None else f"at most {found['largest']:.4g}"
    bad = found["not_finite"]
    if not bad:
        return largest
    more = " ..." if len(bad) > 8 else ""
    return (
        f"{largest}; {len(bad)} of {found['size']} not finite: {' '.join(map(str, bad[:8]))}{more}"
    )


def _rows(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, str]:
    rows = {"update that ended at": f"{facts['env_steps']:,} environment steps"}
    if arrays:
        rows |= {
            "steps left out": f"{int(arrays['count']):,}",
            "first": f"control step {int(arrays['step'])} of environment {int(arrays['env'])}",
        }
    if "physics.variant" in arrays:
        rows["variant of the body"] = str(int(arrays["physics.variant"]))
    return rows | {"minibatches skipped": f"{facts['skipped_share']:.0%}"}


def _table(substeps: list[dict[str, Any]]) -> Table:
    table = Table(title="Replay in MuJoCo C", title_justify="left")
    columns = ("substep", "speed", "of", "acceleration", "of", "contacts", "mm deep", "warnings")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in substeps:
        table.add_row(
            str(row["substep"]),
            f"{row['largest_speed']:.4g}",
            row["fastest"],
            f"{row['largest_acceleration']:.4g}",
            row["hardest"],
            str(row["contacts"]),
            f"{row['deepest_mm']:.2f}",
            " ".join(row["warnings"]),
        )
    return table
