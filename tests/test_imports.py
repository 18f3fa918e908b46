import subprocess
import sys
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
        if path.name != "__init__.py"
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
