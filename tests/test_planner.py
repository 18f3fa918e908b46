"""Motion found by sampling controls: it can be repeated, it follows, and `vnl-mjx plan` keeps what stands."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from toy_run import toy_task

from vnl_mjx.cli import main
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import configure_model
from vnl_mjx.tasks.planner import Planner, PlannerOptions
from vnl_mjx.walkers.walker import build_walker

OPTIONS = PlannerOptions(num_samples=24, num_kept=6)


@pytest.fixture(scope="module")
def walker(toy_config):
    """The toy walker with position actuators, which can hold a pose."""
    return build_walker(replace(toy_config, torque_actuators=False))


@pytest.fixture(scope="module")
def task(walker):
    return toy_task(walker.config)


@pytest.fixture(scope="module")
def bowing(walker, task):
    """A walker that bends its joints slowly while it stands, half a second at the control rate."""
    rate = 1 / task.physics.control_timestep
    seconds = np.arange(round(0.5 * rate)) / rate
    qpos = np.tile(walker.model.qpos0, (len(seconds), 1))
    qpos[:, 7:] += 0.1 * np.sin(2 * np.pi * seconds)[:, None]
    return clips_from_poses(walker, qpos, [len(seconds)], rate)


def test_controls_of_a_plan_lead_to_its_motion(walker, task, bowing):
    plan = Planner(walker, task, OPTIONS).plan(bowing, 0, seed=3)
    assert not plan.fell
    model = configure_model(walker.model, task.physics)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = bowing.qpos()[0], bowing.qvel()[0]
    data.act[:] = Planner(walker, task, OPTIONS).start_activation(plan.qpos[0])
    for pose, ctrl in zip(plan.qpos[1:], plan.ctrl, strict=True):
        data.ctrl[:] = ctrl
        mujoco.mj_step(model, data, task.physics.num_substeps)
        np.testing.assert_allclose(data.qpos, pose, atol=1e-9)


def test_a_plan_follows_better_than_holding_the_pose_and_is_the_seeds(walker, task, bowing):
    planner = Planner(walker, task, OPTIONS)
    plan, again = (planner.plan(bowing, 0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(plan.qpos, again.qpos)
    assert np.abs(planner.plan(bowing, 0, seed=4).qpos - plan.qpos).max() > 1e-6
    still = Planner(walker, task, replace(OPTIONS, spread=0.0)).plan(bowing, 0, seed=3)

    def distance(found):
        return np.linalg.norm(found.qpos[:, :3] - np.asarray(bowing.qpos())[:, :3], axis=1).mean()

    assert distance(plan) < distance(still)


def test_another_rate_and_no_samples_are_refused(walker, task, bowing):
    with pytest.raises(UserError, match="expected the control rate of"):
        Planner(walker, task, OPTIONS).plan(bowing.replace(rate_hz=30.0), 0, seed=0)
    with pytest.raises(UserError, match="1 sample or more, found 0"):
        Planner(walker, task, replace(OPTIONS, num_samples=0))


def test_a_standing_rat_is_planned_from_the_command_line(tmp_path):
    """Half a second of the rodent's bundled stand; what falls would be left out."""
    clips, planned = tmp_path / "clips.h5", tmp_path / "planned.h5"
    assert main(["gait", str(clips), "--behaviour", "stand", "--seconds", "0.5"]) == 0
    words = ["plan", str(clips), str(planned), "--samples", "16", "--seconds", "0.2"]
    assert main(words) == 0
    walker = build_walker(WalkerConfig(torque_actuators=False))
    found = read_clips(planned, walker)
    assert found.num_frames == 10
    assert found.info[0].made_by.startswith("planned along stand_0")
    assert abs(float(found.qpos()[-1, 2] - read_clips(clips, walker).qpos()[-1, 2])) < 0.005
    # upside down it cannot be followed
    qpos = np.array(read_clips(clips, walker).qpos())
    qpos[12:, 3:7] = 0.0, 1.0, 0.0, 0.0
    write_clips(clips, clips_from_poses(walker, qpos, [len(qpos)], 50.0))
    assert main([*words, "--overwrite"]) == 2
    assert found.num_frames == read_clips(planned, walker).num_frames
