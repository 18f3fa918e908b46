"""Reference clips made by rolling a teacher out."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from toy_run import CLIP_LENGTH, toy_task, write_toy_run

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import FEATURES, ClipInfo
from vnl_mjx.clips.file import open_clip_file
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.commands.data import rollout_clips
from vnl_mjx.commands.data.rollout_clips import SimulatedClip, best_followed, cut_rollout
from vnl_mjx.commands.stored import load_stored_teacher
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.rollout import Episodes, Rollout, Steps
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.utils.track_mjx_loader import load_teacher
from vnl_mjx.walkers.walker import build_walker

CONTROL_HZ = 100.0


@pytest.fixture
def played(toy_walker):
    """Three clips of 30 frames at 50 Hz and what was done on them: the second fails, the third is short."""
    lengths = [30, 30, 12]
    qpos = np.tile(toy_walker.model.qpos0, (sum(lengths), 1))
    clips = clips_from_poses(toy_walker, qpos, lengths, 50.0, names=("walk_0", "fall", "brief"))
    info = ClipInfo(source="day.h5", start_s=7.0, label="walk", mirrored=True, held_out=True)
    clips = clips.replace(info=(info, ClipInfo(), ClipInfo(made_by="gait")))
    steps = np.arange(1, 61)[:, None]
    alive = steps <= np.array([48, 20, 12])
    nq = toy_walker.model.nq
    qpos = np.tile(toy_walker.model.qpos0, (60, 3, 1)).astype(np.float32)
    qpos[..., 0] = 0.5 + 0.001 * steps  # where it is tells the step
    qpos[..., 1] = -0.2
    last = steps == np.array([48, 20, 12])
    none = np.zeros((60, 3), bool)
    truncated = last & (np.arange(3) != 1)
    zero = np.zeros((60, 3), np.float32)
    start = np.tile(np.float32(toy_walker.model.qpos0), (3, 1))
    start[:, :2] = 0.5, -0.2
    assert start.shape == (3, nq)
    keys = np.zeros((3, 2), np.uint32)
    return clips, Rollout(
        episodes=Episodes(np.arange(3, dtype=np.int32), np.zeros(3, np.int32), keys),
        start_qpos=start,
        start_qvel=start,
        possible_steps=np.array([48, 48, 12]),
        steps=Steps(
            alive=alive,
            reward=zero,
            terms={},
            distances={},
            terminated=last & ~truncated,
            truncated=truncated,
            diverged=none,
            frame=np.int32(zero),
            qpos=qpos,
            qvel=qpos,
            action=qpos,
            power=zero,
            extra=(),
        ),
        control_hz=CONTROL_HZ,
    )


def test_frames_are_those_of_the_clips_after_the_settling(played):
    clips, rollout = played
    made, left_out = cut_rollout(rollout, clips, "me", settle_s=0.1, seconds=0.3, min_frames=7)
    assert [clip.name for clip in made] == ["walk_0"]
    # 0.1 s are 10 control steps, then every second one, 15 frames
    expected = 0.001 * 2.0 * np.arange(15)
    np.testing.assert_allclose(made[0].qpos[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(made[0].qpos[:, 1], 0.0)
    assert left_out == {
        "fall": "failed after 0.20 s",
        "brief": "2 frames are left, of at least 7",
    }


def test_a_clip_goes_on_to_the_end_where_it_is_shorter_than_asked(played):
    clips, rollout = played
    made, _ = cut_rollout(rollout, clips, "me", settle_s=0.0, seconds=5.0)
    # the pose before the first step, then 48 steps
    assert [len(clip.qpos) for clip in made] == [25, 7]


def test_new_clips_say_what_they_are_and_stay_in_the_group_of_their_source(played):
    clips, rollout = played
    first, third = cut_rollout(rollout, clips, "rat1", settle_s=0.03)[0]
    assert first.info == ClipInfo(
        source="day.h5",
        start_s=pytest.approx(7.04),  # settled to the next whole frame
        label="walk",
        made_by="rollout of rat1 on walk_0",
        mirrored=True,
        held_out=True,
    )
    assert third.info.made_by == "rollout of rat1 on brief (gait)"
    assert third.info.label == "brief"


def test_a_control_rate_that_skips_frames_is_refused(played):
    clips, rollout = played
    with pytest.raises(UserError, match="whole multiple"):
        cut_rollout(rollout.replace(control_hz=75.0), clips, "me")


@pytest.fixture(scope="module")
def toy_run(toy_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    write_toy_run(folder, toy_config)
    return folder


def roll_out(folder, output, *more: str) -> int:
    """The command on the toy run."""
    source = ["--clips", str(folder / "clips.h5"), "--seconds", "0.4", "--settle", "0.1"]
    return cli.main(["rollout", str(folder / "teacher"), str(output), *source, *more])


@pytest.mark.slow
def test_command_writes_clips_that_read_back(toy_run, toy_walker, tmp_path, capsys):
    full, compact = tmp_path / "full.h5", tmp_path / "compact.h5"
    assert roll_out(toy_run, full) == 0
    assert roll_out(toy_run, compact, "--compact") == 0
    clips, small = (read_clips(path, toy_walker) for path in (full, compact))
    assert clips.num_clips == 4 and set(np.asarray(clips.lengths)) == {20}
    assert clips.rate_hz == 50.0 and clips.notes == ()
    np.testing.assert_array_equal(np.asarray(clips.position)[::20, :2], 0.0)
    assert all(i.made_by.startswith("rollout of teacher at step 0") for i in clips.info)
    assert small.sha256 == clips.sha256 and small.info == clips.info
    for name in FEATURES:
        np.testing.assert_allclose(
            getattr(small, name), getattr(clips, name), atol=1e-6, err_msg=name
        )
    with open_clip_file(compact) as file:
        assert file.stored == ("position", "quaternion", "joints")
        assert file.metadata["rollout"]["settle"] == 0.1
        assert str(toy_run) not in str(file.metadata)
    assert cli.main(["inspect", str(compact)]) == 0
    assert "mean root speed" in capsys.readouterr().out
    os.remove(full)
    assert roll_out(toy_run, compact) == 2  # is there
    assert "--overwrite" in capsys.readouterr().err
    before = compact.read_bytes()
    assert roll_out(toy_run, compact, "--compact", "--overwrite", "--seed", "1") == 0
    assert compact.read_bytes() != before


def test_an_interrupt_leaves_nothing_half_written(toy_run, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rollout_clips, "assess", interrupted)
    assert roll_out(toy_run, tmp_path / "own.h5") == 130
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_that_fails_everywhere_writes_nothing(toy_run, toy_walker, tmp_path, capsys):
    clips = read_clips(toy_run / "clips.h5", toy_walker)
    qpos = np.array(clips.qpos())
    qpos[:, 0] += 1.0 * (np.arange(len(qpos)) % CLIP_LENGTH >= 10)
    source = tmp_path / "leaping.h5"
    write_clips(source, clips_from_poses(toy_walker, qpos, clips.lengths, 50.0))
    arguments = [str(toy_run / "teacher"), str(tmp_path / "own.h5"), "--clips", str(source)]
    assert cli.main(["rollout", *arguments]) == 2
    assert "no clip is left (clip_0: failed after" in capsys.readouterr().err
    assert not (tmp_path / "own.h5").exists()


@pytest.mark.slow
def test_what_falls_is_left_out_however_far_it_may_drift(toy_run, toy_walker, tmp_path, capsys):
    """Clips in the air, from which the body drops to less than half of their height."""
    qpos = np.tile(toy_walker.model.qpos0, (2 * CLIP_LENGTH, 1))
    qpos[:, 2] += 0.075
    shutil.copytree(toy_run / "teacher", tmp_path / "teacher")
    clips = clips_from_poses(toy_walker, qpos, [CLIP_LENGTH] * 2, 50.0)
    write_clips(tmp_path / "clips.h5", clips)
    assert roll_out(tmp_path, tmp_path / "own.h5", "--drift", "0.5") == 2
    line = capsys.readouterr().err
    assert "no clip is left" in line and "failed after" in line


def test_of_several_attempts_the_best_followed_is_kept(toy_run, toy_walker):
    experiment = load_stored_teacher(toy_run / "teacher", toy_run / "clips.h5", None)
    task, policy = experiment.env.task, TeacherPolicy(experiment.teacher.policy)
    still = np.tile(np.float32(toy_walker.model.qpos0), (20, 1))
    leaping = still.copy()
    leaping[5:, 0] += 1.0
    motions = (("a", leaping), ("b", still), ("a", still), ("c", leaping))
    given = [SimulatedClip(name, qpos, ClipInfo()) for name, qpos in motions]
    kept, left_out = best_followed(given, policy, task, 50.0, seed=0)
    assert [id(clip) for clip in kept] == [id(given[2]), id(given[1])]
    assert left_out == {"c": "the teacher cannot repeat this motion"}


def test_attempts_differ_and_make_each_clip_once(toy_run, toy_walker, tmp_path):
    once, thrice = tmp_path / "once.h5", tmp_path / "thrice.h5"
    assert roll_out(toy_run, once, "--compact") == 0
    assert roll_out(toy_run, thrice, "--compact", "--attempts", "3") == 0
    one, three = (read_clips(path, toy_walker) for path in (once, thrice))
    assert one.names == three.names and one.sha256 != three.sha256


def test_drift_is_refused_where_the_task_has_other_terminations(
    toy_config, tmp_path, monkeypatch, capsys
):
    task = toy_task(toy_config)
    other = replace(task, termination=replace(task.termination, family="mimic"))
    monkeypatch.setattr("toy_run.toy_task", lambda _: other)
    write_toy_run(tmp_path, toy_config)
    assert roll_out(tmp_path, tmp_path / "own.h5", "--drift", "0.3") == 2
    assert "expected a teacher whose termination family is track_mjx" in capsys.readouterr().err


@pytest.mark.slow
def test_the_bundled_teacher_makes_clips_of_the_rodent(run_as_user, tmp_path):
    walker = build_walker(load_teacher(DEMO_TEACHER).task.walker)
    output = tmp_path / "own.h5"
    run_as_user("rollout", DEMO_TEACHER, output, "--seconds", 1, "--compact")
    made, source = read_clips(output, walker), read_clips(DEMO_CLIPS, walker)
    assert made.num_clips >= source.num_clips - 1
    assert set(np.asarray(made.lengths)) == {50}
    assert np.abs(made.qvel()).max() < 20.0
    clip = source.names.index(made.names[0])
    followed = np.asarray(source.joints)[int(source.starts[clip]) + 10 :][:50]
    assert np.abs(np.asarray(made.joints)[:50] - followed).mean() < 0.05
    assert output.stat().st_size < 40_000 * made.num_clips
