"""Writes the contract of an exported folder: observation, control, physics, and the body as MJCF."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import jax
import mujoco
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.compat.function_files import described_layers
from vnl_mjx.compat.functions import Function
from vnl_mjx.compat.observation_contract import NAMES, observation_parts
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.tasks.downstream.goal import Goal
from vnl_mjx.tasks.downstream.task import AVERAGED_S
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.versions import installed_versions
from vnl_mjx.walkers.walker import walker_spec

VERSION = 1
BODY_FILE, CONTRACT_FILE, ASSET_FOLDER = "body.xml", "contract.json", "assets"
_OPTIONS = ("timestep", "solver", "iterations", "ls_iterations", "jacobian", "disableflags")
_PACKAGES = ("vnl-mjx", "jax", "mujoco", "numpy", "onnx", "onnxruntime")


def build_contract(
    kind: str,
    functions: list[Function],
    task: ImitationTask,
    source: dict[str, Any],
    latent: dict[str, Any],
    start: dict[str, list[float]],
    goal: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns `contract.json`.

    Args:
        kind: kind of the files, a key of `function_files.FORMATS`.
        functions: exported functions.
        task: task that the policy was trained in.
        source: kind, sha256 and steps of the exported checkpoint.
        latent: size of the latent and kind of its prior.
        start: initial qpos, qvel and act.
        goal: result of `described_goal`, for a policy of a task.
    """
    model, physics = task.physics.model, task.config.physics
    return {
        "format": "vnl-mjx functions",
        "version": VERSION,
        "source": source,
        "versions": installed_versions(_PACKAGES),
        "functions": {one.name: _function(kind, one) for one in functions},
        "latent": latent,
        "goal": goal,
        "observation": {
            **observation_parts(task),
            "names": NAMES,
            "root_body": task.walker.config.root_body,
            "reference_frames": {"ahead": task.config.traj_length, "rate_hz": task.config.mocap_hz},
        },
        "control": {
            "rate_hz": 1.0 / physics.control_timestep,
            "meaning": "written to data.ctrl (as `actuators` says), and held for all substeps",
            "actuators": [_actuator(model, row) for row in range(model.nu)],
        },
        "physics": {
            "body": BODY_FILE,
            "timestep_s": physics.timestep,
            "substeps": physics.num_substeps,
            "solver": physics.solver,
            "iterations": physics.iterations,
            "ls_iterations": physics.ls_iterations,
            "jacobian": "dense",
            "sensors": physics.sensors,
        },
        "start": start,
    }


def described_goal(goal: Goal, action_repeat: int) -> dict[str, Any]:
    """Returns the contract's entry on a goal: its observation, and how long an action lasts."""
    return {
        "name": goal.name,
        "size": goal.observation_size,
        "meaning": " ".join((inspect.getdoc(goal.observe) or "").split()),
        "averaged_s": 2 * [AVERAGED_S],  # one average after the other
        "action_repeat": action_repeat,
    }


def _function(kind: str, function: Function) -> dict[str, Any]:
    sizes = function.output_sizes()
    found: dict[str, Any] = {
        "file": f"{function.name}.{kind}",
        "inputs": [{"name": one.name, "size": one.size} for one in function.inputs],
        "outputs": [
            {"name": name, "size": size} for name, size in zip(function.outputs, sizes, strict=True)
        ],
    }
    return found | ({"layers": described_layers(function)} if kind == "npz" else {})


def _actuator(model: mujoco.MjModel, row: int) -> dict[str, Any]:
    kind = "force, a share of the gain"
    if model.actuator_dyntype[row] == mujoco.mjtDyn.mjDYN_MUSCLE:
        kind = "muscle: data.ctrl is half of (control + 1)"
    elif model.actuator_biastype[row] != mujoco.mjtBias.mjBIAS_NONE:
        kind = "position, a servo's goal"
    has_range = bool(model.actuator_ctrllimited[row])
    return {
        "name": model.actuator(row).name,
        "control": kind,
        "range": model.actuator_ctrlrange[row].tolist() if has_range else None,
        "gain": float(model.actuator_gainprm[row, 0]),
    }


def start_of(task: ImitationTask, clips: ReferenceClips | None) -> dict[str, list[float]]:
    """Returns qpos, qvel and act at the first frame of the first clip, or in the model's default pose."""
    model = task.physics.model
    if clips is None:
        values = {"qpos": model.qpos0, "qvel": np.zeros(model.nv), "act": np.zeros(model.na)}
    else:
        key = jax.random.key(0)
        physics = task.reset_to(key, clips, 0, 0, key).physics  # pyright: ignore[reportArgumentType]
        values = {name: getattr(physics, name) for name in ("qpos", "qvel", "act")}
    return {name: np.asarray(value).tolist() for name, value in values.items()}


def write_body(task: ImitationTask, path: Path) -> None:
    """Writes the body with the task's physics as MJCF, with meshes and images beside it, and compiles it.

    MJCF has six digits, so numbers have a relative error of up to 1e-6. MuJoCo's binary format is exact,
    but only the MuJoCo version that wrote it can read it.

    Raises:
        UserError: the MJCF does not compile because it needs further files.
    """
    wanted = task.physics.model
    spec = walker_spec(task.walker.config)
    for name in _OPTIONS:
        setattr(spec.option, name, getattr(wanted.opt, name))
    _copy_assets(spec, path.parent)
    spec.compile()
    path.write_text(spec.to_xml())
    try:
        found = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise UserError(
            f"{task.walker.config.source}: expected a body that needs no files but meshes, height fields and "
            f"textures, found another ({first_line(error)}); leave it out of the MJCF"
        ) from error
    _check_body(found, wanted, path)


def _copy_assets(spec: mujoco.MjSpec, folder: Path) -> None:
    """Copies the files that a body needs into `<folder>/assets`, where `spec` then finds them."""
    assets = folder.resolve() / ASSET_FOLDER
    kinds = (
        (spec.meshes, spec.meshdir),
        (spec.hfields, spec.meshdir),
        (spec.textures, spec.texturedir),
    )
    for kind, place in kinds:
        for asset in kind:
            if asset.file:
                source = Path(spec.modelfiledir, place, asset.file)
                # one folder each, because an asset without a name is named after its file
                own = assets / str(len(list(assets.glob("*"))))
                own.mkdir(parents=True)
                shutil.copy(source, own)
                asset.file = f"{own.name}/{source.name}"
    spec.modelfiledir, spec.meshdir, spec.texturedir = str(folder), ASSET_FOLDER, ASSET_FOLDER


def _check_body(found: mujoco.MjModel, wanted: mujoco.MjModel, path: Path) -> None:
    """Raises UserError if the model that was read back differs from the simulated one."""
    sizes = ("nq", "nv", "nu", "na", "nbody", "ngeom", "nsensordata")
    differs = [name for name in sizes if getattr(found, name) != getattr(wanted, name)]
    differs += [name for name in _OPTIONS if getattr(found.opt, name) != getattr(wanted.opt, name)]
    for name in ("body_mass", "jnt_range", "actuator_gainprm", "actuator_gear", "qpos0"):
        if not differs and not np.allclose(getattr(found, name), getattr(wanted, name), 1e-4, 1e-7):
            differs.append(name)
    if differs:
        raise UserError(
            f"{path}: read back, its {', '.join(differs)} differ; this is a fault of vnl-mjx"
        )
