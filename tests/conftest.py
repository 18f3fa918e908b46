"""How the tests run, and the fixtures that several files share."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest
from dm_control_tasks import walking_about
from stac_files import CLIP_LENGTH, RATE_HZ, smooth_poses, stac_datasets, write_h5
from toy_run import toy_task, write_toy_run
from toy_student import ToyStudent, untrained_student

from vnl_mjx.cli import main
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.config.walker import read_body
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.report.rendering import gl
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.walkers.walker import Walker, build_walker

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"
SHARED_DATA = TESTS.parent.parent / "shared" / "data"
# Compiling is most of what the tests do. Without LLVM's optimisations and with XLA's older, leaner code
# generator it takes a quarter of the time, and results differ in their last bits.
QUICK_COMPILING = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (
    0,
    11,
):  # later ones end at a flag unknown to them
    QUICK_COMPILING += " --xla_cpu_use_fusion_emitters=false"
MOST_WORKERS = 4  # each loads JAX and MuJoCo: at most about 1.5 GB


def pytest_configure(config: pytest.Config) -> None:
    """Tests compile quickly, here and in the processes that they start (not so on a GPU).

    Slow tests start many processes that run the same programs: each is compiled once, in a folder of this
    session. The user's folder is no place for tests.
    """
    os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # messages are those of a shell without `uv run`
    marks = config.option.markexpr
    if not re.search(r"(?<!not )\bgpu\b", marks):
        os.environ.setdefault("XLA_FLAGS", QUICK_COMPILING)
    if not re.search(r"(?<!not )\b(slow|gpu|warp)\b", marks):
        os.environ.setdefault("VNL_MJX_CACHE", "off")
    elif "VNL_MJX_CACHE" not in os.environ:
        os.environ["VNL_MJX_CACHE"] = tempfile.mkdtemp(prefix="compiled-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ["VNL_MJX_CACHE"], ignore_errors=True))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process for each core, or this one alone (0) where more would be in the way or idle."""
    files = {argument.partition("::")[0] for argument in config.args}
    if re.search(r"(?<!not )\b(gpu|warp)\b", config.option.markexpr) or (
        len(files) == 1 and files.pop().endswith(".py")
    ):
        return 0
    return min(os.cpu_count() or 1, MOST_WORKERS)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled():
    """What the functions of one file compiled is of no use to the next, and fills gigabytes in the end."""
    yield
    jax.clear_caches()


def users_environment() -> dict[str, str]:
    """Variables of a process that compiles as a user's does."""
    return {name: value for name, value in os.environ.items() if value != QUICK_COMPILING}


@pytest.fixture(scope="session")
def run_as_user() -> Callable[..., None]:
    """Runs a command of vnl-mjx in a process that compiles as a user's does.

    How a simulation with contacts goes hangs on the last bits of what a policy computes.
    """

    def run(*arguments: object) -> None:
        command = [sys.executable, "-m", "vnl_mjx.cli", *map(str, arguments)]
        done = subprocess.run(command, env=users_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recorded upstream data, beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the recorded upstream data in ../shared/data, which is not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def rodent() -> Walker:
    """The default walker: track-mjx's rodent at 0.9 with torque actuators."""
    return build_walker(WalkerConfig())


@pytest.fixture(scope="session")
def toy_config() -> WalkerConfig:
    """Configuration of the toy walker: four joints, compiles fast under MJX."""
    return WalkerConfig(
        source=str(FIXTURES / "toy_walker.xml"),
        joint_names=("hip_front", "ankle_front", "hip_back"),
        body_names=("torso", "leg_front", "foot_front", "foot_back"),
        end_effector_names=("foot_front", "foot_back"),
        rescale_factor=1.0,
    )


@pytest.fixture(scope="session")
def toy_walker(toy_config: WalkerConfig) -> Walker:
    """The toy walker, built."""
    return build_walker(toy_config)


@pytest.fixture(scope="session")
def arm() -> Walker:
    """An arm on a table: a slide and three hinges, no free root."""
    return build_walker(read_body(FIXTURES / "arm.yaml"))


@pytest.fixture(scope="session")
def arm_poses(arm: Walker) -> np.ndarray:
    """Two seconds of smooth motion at 50 Hz within the joints' ranges, [frame, nq]."""
    low, high = arm.model.jnt_range.T
    time, speed = np.arange(100)[:, None] / 50.0, 2.0 + 0.7 * np.arange(arm.nq)
    return (low + high) / 2 + 0.4 * (high - low) * np.sin(speed * time)


@pytest.fixture(scope="session")
def toy_clips(toy_walker: Walker) -> ReferenceClips:
    """Two clips of the toy walker standing and swaying, of different lengths."""
    num_frames = (40, 30)
    model = toy_walker.model
    phase = np.concatenate([np.arange(n) for n in num_frames]) / 50.0
    qpos = np.tile(model.qpos0, (sum(num_frames), 1))
    qpos[:, 7:] += 0.1 * np.sin(2 * np.pi * phase)[:, None]
    return clips_from_poses(toy_walker, qpos, num_frames, 50.0, names=("sway_0", "sway_1"))


@pytest.fixture(scope="session")
def toy_motion(toy_walker: Walker) -> ReferenceClips:
    """Two clips of the toy walker walking about, of different lengths."""
    return walking_about(toy_walker, [20, 12])


@pytest.fixture(scope="session")
def distilled(toy_config: WalkerConfig, tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder with `teacher`, `clips.h5` and `run`, a distillation of two updates; and its overrides.

    Copy `run` before you change anything in it.
    """
    folder = tmp_path_factory.mktemp("distilled")
    overrides = [*write_toy_run(folder, toy_config), "training_config.num_steps=64"]
    overrides += ["checkpoint_config.interval_steps=32", "logging_config.interval_steps=32"]
    assert main(["distill", f"run_dir={folder / 'run'}", *overrides]) == 0
    return folder, overrides


@pytest.fixture(scope="module")
def task(toy_config: WalkerConfig, toy_walker: Walker) -> ImitationTask:
    """The imitation task of the toy walker, 100 control steps per second."""
    config = toy_task(toy_config)
    return ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))


@pytest.fixture(scope="module")
def toy(task: ImitationTask) -> ToyStudent:
    """An untrained student of `task`, with its teacher."""
    return untrained_student(task)


@pytest.fixture(scope="session")
def backend():
    """A GL back end that works here."""
    try:
        return gl.choose_backend()
    except UserError as error:
        pytest.skip(f"needs OpenGL: {error}")


@pytest.fixture(scope="session")
def equal_toy_clips(toy_walker: Walker) -> ReferenceClips:
    """Two clips of 12 frames of the toy walker moving."""
    poses = smooth_poses(toy_walker, 2 * CLIP_LENGTH)
    return clips_from_poses(toy_walker, poses, [CLIP_LENGTH] * 2, RATE_HZ, names=("walk", "turn"))


@pytest.fixture
def stac(equal_toy_clips, tmp_path):
    """Writes `equal_toy_clips` as a STAC file, some datasets replaced (None: left out)."""

    def write(**changes: object) -> Path:
        datasets = {
            k: v for k, v in (stac_datasets(equal_toy_clips) | changes).items() if v is not None
        }
        return write_h5(tmp_path / "stac.h5", datasets)

    return write
