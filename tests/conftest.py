"""Fixtures that several test files share."""

from pathlib import Path

import numpy as np
import pytest
from dm_control_tasks import walking_about
from stac_files import CLIP_LENGTH, RATE_HZ, smooth_poses, stac_datasets, write_h5

from vnl_mjx.analysis.rendering import gl
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.reference.assembly import clips_from_poses
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.walkers.walker import Walker, build_walker

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"
SHARED_DATA = TESTS.parent.parent / "shared" / "data"


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
