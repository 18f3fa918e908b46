"""Agreement of contacts that are known."""

import numpy as np
import pytest
from rollouts_on_clips import made_rollout
from video_helpers import walking

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.contact import FootSlip, contact_agreement
from vnl_mjx.evaluation.tracking import compared_state, reference_motion, simulated_motion


def figures(walker, clips, **told) -> dict[str, np.ndarray]:
    rollout = made_rollout(clips, 20, **told)
    simulated = simulated_motion(rollout, FeatureComputer(walker, num_threads=1))
    reference = reference_motion(rollout, clips, walker)
    followed = reference.at(compared_state(rollout, clips)).contacts
    return contact_agreement(simulated.contacts[1:], followed, rollout.valid) | {
        "foot_slip_mm_per_s": FootSlip(walker).of_rollout(rollout)
    }


def test_agreement_and_f1_by_hand():
    # two feet, four steps of one episode; the last step does not count
    own = np.array([[1, 0], [1, 1], [0, 0], [1, 1]], bool)[:, None]
    reference = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], bool)[:, None]
    valid = np.array([1, 1, 1, 0], bool)[:, None]
    found = contact_agreement(own, reference, valid)
    assert found["contact_agreement"][0] == pytest.approx(4 / 6)
    # 2 true, 1 false, 1 missed
    assert found["contact_f1"][0] == pytest.approx(2 * 2 / (2 * 2 + 2))


def test_where_nothing_stands_or_nothing_counts_there_is_nothing_to_measure():
    none = np.zeros((3, 2, 2), bool)
    valid = np.array([[True, False]] * 3)
    found = contact_agreement(none, none, valid)
    np.testing.assert_allclose(found["contact_agreement"], [1.0, np.nan])
    assert np.isnan(found["contact_f1"]).all()


def test_feet_on_the_floor_agree_and_feet_in_the_air_do_not(toy_walker):
    clips = clips_from_poses(toy_walker, walking(toy_walker, 24, 0.05), [24], 50.0)
    assert np.asarray(clips.contacts).all()
    found = figures(toy_walker, clips)
    assert found["contact_agreement"][0] == found["contact_f1"][0] == 1.0
    assert found["foot_slip_mm_per_s"][0] == pytest.approx(50.0, rel=1e-3)

    def lifted(qpos):
        return qpos + 0.02 * (np.arange(qpos.shape[-1]) == 2)

    found = figures(toy_walker, clips, move=lifted)
    assert found["contact_agreement"][0] == found["contact_f1"][0] == 0.0
    assert np.isnan(found["foot_slip_mm_per_s"][0])


def test_one_foot_of_two(toy_walker):
    clips = clips_from_poses(toy_walker, walking(toy_walker, 24, 0.0), [24], 50.0)
    back = toy_walker.joint_names.index("hip_back")

    def back_foot_up(qpos):
        qpos = qpos.copy()
        qpos[..., 7 + back] = 0.8
        return qpos

    found = figures(toy_walker, clips, move=back_foot_up)
    assert found["contact_agreement"][0] == pytest.approx(0.5)
    assert found["contact_f1"][0] == pytest.approx(2 / 3)


def test_contacts_of_the_step_are_compared_with_its_own_frame(toy_walker):
    """A hop in some frames of the clip; the simulation is on it, then one frame late."""
    poses = walking(toy_walker, 24, 0.0)
    poses[8:12, 2] += 0.02
    clips = clips_from_poses(toy_walker, poses, [24], 50.0)
    up = 24 - int(np.asarray(clips.contacts)[:, 0].sum())
    assert up >= 4
    assert figures(toy_walker, clips)["contact_agreement"][0] == 1.0
    late = figures(toy_walker, clips, late=1)["contact_agreement"][0]
    assert late == pytest.approx(1.0 - 2 / 20)  # one step at either end of the hop
