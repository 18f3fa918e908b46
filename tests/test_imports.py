import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import vnl_mjx

PACKAGE = Path(vnl_mjx.__file__).parent


def _modules_after(code: str) -> set[str]:
    code = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"jax", "mujoco", "flax", "numpy", "hydra", "omegaconf", "rich"}
    assert not heavy & _modules_after("import vnl_mjx, vnl_mjx.cli")


def test_importing_the_configuration_loads_no_hydra():
    code = "import vnl_mjx.config.schema, vnl_mjx.config.loading, vnl_mjx.config.imitation"
    assert not {"jax", "mujoco", "hydra", "omegaconf"} & _modules_after(code)


def test_no_module_beside_the_scripts_bears_a_standard_name():
    """`python train_vae.py` puts the package's own folder first on the path."""
    names = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert not names & sys.stdlib_module_names


@pytest.mark.slow
def test_importing_changes_no_environment_variable():
    modules = sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        # These need extras; of them Gymnasium sets a variable when it is imported.
        if path.name not in ("__init__.py", "gymnasium_env.py", "gymnasium_ids.py", "onnx_graph.py")
    )
    code = "\n".join(
        [
            "import os, logging; before = dict(os.environ)",
            "import jax, mujoco, matplotlib; before = dict(os.environ)",
            f"import {', '.join(modules)}",
            "from jax._src import xla_bridge",
            "assert dict(os.environ) == before",
            "assert not xla_bridge.backends_are_initialized(), 'an import asked JAX for its devices'",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@cache
def _names_in(module: Path) -> set[str]:
    """What can be imported from a module: its own names and, of a package, its modules."""
    names = {path.stem for path in module.parent.glob("*") if module.name == "__init__.py"}
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_what_is_imported_exists():
    """Also in scripts that no other test runs."""
    root, missing = PACKAGE.parent, []
    scripts = [path for part in ("benchmarks", "examples") for path in (root / part).rglob("*.py")]
    for path in [*PACKAGE.rglob("*.py"), *scripts]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vnl_mjx"):
                source = root.joinpath(*node.module.split("."))
                file = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
                names = {alias.name for alias in node.names}
                missing += [(path.name, name) for name in names - _names_in(file)]
    assert not missing
