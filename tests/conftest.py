"""Fixtures that several test files share."""

from pathlib import Path

import numpy as np
import pytest

from vnl_mjx.config.imitation import WalkerConfig
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
