"""Thresholds of each family, from both sides."""

from dataclasses import replace

import numpy as np
import pytest
from observation_helpers import state_of
from scipy.spatial.transform import Rotation

from vnl_mjx.config.imitation import UpstreamQuirks
from vnl_mjx.config.rewards import (
    TerminationConfig,
    TerminationTermSection,
    VnlPlaygroundTermination,
)
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow
from vnl_mjx.tasks.terms.errors import tracking_errors
from vnl_mjx.tasks.terms.state import TermState, term_state
from vnl_mjx.tasks.terms.terminations import distances, termination_terms

TRACK_MJX = TerminationConfig()
VNL_PLAYGROUND = TerminationConfig(family="vnl_playground")


@pytest.fixture(scope="module")
def errors_of(toy_walker, toy_motion):
    """The state, with its errors, of a pose that differs from a frame of a clip."""
    frame = toy_motion.at(0, 4)
    quirks = UpstreamQuirks()

    def errors(shift=(0, 0, 0), turn_deg=0.0, joints=0.0) -> TermState:
        qpos = np.array(frame.qpos())
        qpos[:3] += shift
        turn = Rotation.from_euler("y", turn_deg, degrees=True)
        whole = Rotation.from_quat(qpos[3:7], scalar_first=True) * turn
        qpos[3:7] = whole.as_quat(scalar_first=True)
        qpos[7:] += joints
        state = term_state(
            state_of(toy_walker.model, qpos, np.array(frame.qvel())), toy_walker, 0.02
        )
        return state.replace(errors=tracking_errors(state, frame, toy_walker, quirks))

    return errors


@pytest.fixture(scope="module")
def raised(toy_walker):
    """Names of the terms that end an episode in a state, the root body at `height`."""

    def names(state: TermState, config: TerminationConfig, height=0.06) -> set[str]:
        xpos = state.physics.xpos.at[toy_walker.root_body, 2].set(height)
        state = state.replace(
            physics=state.physics.replace(xpos=xpos), distances=distances(state.errors, config)
        )
        terms = termination_terms(config)
        return {name for name, term in terms.items() if bool(term(state, None, toy_walker))}

    return names


@pytest.mark.parametrize(
    ("change", "within", "beyond", "failure"),
    [
        ("shift", (0.0, 0.0999, 0.0), (0.0, 0.1001, 0.0), "root_too_far"),
        ("shift", (0.0, 0.0, 0.0999), (0.0, 0.0, 0.1001), "root_too_far"),
        ("turn_deg", 119.5, 120.5, "root_too_rotated"),  # half of it is measured
        ("turn_deg", -119.5, -120.5, "root_too_rotated"),
        ("joints", 2.249, 2.251, "pose_error"),  # of four joints: 4.5
    ],
)
def test_vnl_playground_fails_beyond_its_thresholds(
    errors_of, raised, change, within, beyond, failure
):
    assert raised(errors_of(**{change: within}), VNL_PLAYGROUND) == set()
    assert raised(errors_of(**{change: beyond}), VNL_PLAYGROUND) == {failure}


def test_vnl_playground_does_not_watch_the_height(errors_of, raised):
    assert raised(errors_of(), VNL_PLAYGROUND, height=-1.0) == set()


def test_vnl_playground_distances_are_in_metres_degrees_and_radians(errors_of, raised):
    found = distances(errors_of((0.03, 0.0, 0.04), 50.0, 0.1).errors, VNL_PLAYGROUND)
    expected = {"root_pos_distance": 0.05, "root_angular_error": 25.0, "joint_l2_error": 0.2}
    assert {name: pytest.approx(float(v), rel=1e-4) for name, v in found.items()} == expected
    narrow = replace(VNL_PLAYGROUND, vnl_playground=VnlPlaygroundTermination(max_root_angle_deg=24))
    assert raised(errors_of(turn_deg=50.0), narrow) == {"root_too_rotated"}


@pytest.mark.parametrize(
    ("change", "within", "beyond", "failure"),
    [
        ("shift", (0.0, 0.0999, 0.0), (0.0, 0.1001, 0.0), "too_far"),
        ("shift", (0.0, 0.0, 0.199), (0.0, 0.0, 0.201), "too_far"),  # heights count half
        ("turn_deg", 114.0, 115.2, "bad_quat"),  # 2 rad
        ("joints", 2.23, 2.24, "bad_pose"),  # of four joints: sqrt(20)
    ],
)
def test_track_mjx_fails_beyond_its_thresholds(errors_of, raised, change, within, beyond, failure):
    assert raised(errors_of(**{change: within}), TRACK_MJX) == set()
    assert raised(errors_of(**{change: beyond}), TRACK_MJX) == {failure}


def test_track_mjx_watches_the_height(errors_of, raised):
    assert raised(errors_of(), TRACK_MJX, height=0.032) == {"fall"}
    assert raised(errors_of(), TRACK_MJX, height=0.51) == {"fall"}


def test_families_of_reward_and_termination_are_chosen_apart(errors_of, raised):
    mimic = TerminationConfig(family="mimic")
    assert raised(errors_of((0.0, 0.5, 0.0)), mimic) == set()  # 1/12 m per coordinate of a body
    assert raised(errors_of(joints=0.61), mimic) == {"termination_error"}


def test_terms_of_ones_own_end_an_episode_too(errors_of, raised, tmp_path):
    file = tmp_path / "own_terminations.py"
    file.write_text(
        "def far_away(state, reference, walker, limit):\n"
        "    return abs(state.pose.root_position[1]) > limit\n"
    )
    allow(str(file))
    terms = {
        "fallen": TerminationTermSection(arguments={"lowest": 0.03, "tilt_deg": 60.0}),
        "gone": TerminationTermSection(f"{file}:far_away", {"limit": 0.3}),
    }
    own = TerminationConfig(family="none", terms=terms)
    assert raised(errors_of(), own) == set()
    assert raised(errors_of(), own, height=0.029) == {"fallen"}
    assert raised(errors_of(turn_deg=50.0), own) == set()
    assert raised(errors_of(turn_deg=70.0), own) == {"fallen"}
    assert raised(errors_of((0.0, 0.5, 0.0)), own) == {"gone"}
    both = replace(VNL_PLAYGROUND, terms=terms)
    assert raised(errors_of((0.0, 0.5, 0.0)), both) == {"gone", "root_too_far"}
    wrong = TerminationConfig(terms={"falen": TerminationTermSection()})
    with pytest.raises(UserError, match=r"termination\.terms\.falen\.function: .*'fallen'"):
        raised(errors_of(), wrong)
    twice = TerminationConfig(terms={"too_far": TerminationTermSection("fallen", {"lowest": 0.03})})
    with pytest.raises(UserError, match=r"termination\.terms\.too_far: .*another name"):
        raised(errors_of(), twice)
