"""Several motions in one video: what is in which pane, what is written, who has ended."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from video_helpers import perfect_rollout, probe_video, walking

from vnl_mjx.report.rendering import side_by_side
from vnl_mjx.report.rendering.episode_panes import following, grid, reference_qpos
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.side_by_side import Pane, SideBySide, render_side_by_side


def motions(walker, **changes) -> SideBySide:
    """A long motion, a short one that fails, and one with a ghost."""
    ghost = walking(walker, 11)
    ghost[:, 1] += 0.04
    panes = (
        Pane("long", walking(walker, 11), texts=[f"reward {i}" for i in range(11)]),
        Pane("short", walking(walker, 5), end="failed after 0.08 s"),
        Pane("ghost", walking(walker, 11), ghost_qpos=ghost, view="top"),
    )
    return SideBySide(panes, 50.0, pane_size=(96, 64), fps=25.0, **changes)


@pytest.mark.render
def test_panes_captions_and_the_end_of_one(backend, toy_walker, tmp_path, monkeypatch):
    written = []

    def caption(picture, left, right="", **look):
        written.append((left, right, look.get("alarm", False)))
        return picture.copy()

    monkeypatch.setattr(side_by_side, "write_caption", caption)
    pictures = []
    monkeypatch.setattr(
        side_by_side,
        "picture_rows",
        lambda rows, *a: pictures.extend(rows) or Image.new("RGB", (8, 8)),
    )
    video = render_side_by_side(
        toy_walker, motions(toy_walker, title="walk"), tmp_path / "a.mp4", sheet=tmp_path / "a.png"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.png"]
    # 0.08 s at 25 Hz are 3 frames, which stay for a second
    assert video.num_frames == 3 + 25 and video.seconds == pytest.approx(28 / 25)
    report = probe_video(video.path)
    assert "288x64" in report and "25 fps" in report and re.search(r"frame=\s*28\b", report)
    by_name = {name: [w for w in written if w[0] == name] for name in ("long", "short", "ghost")}
    assert [text for _, text, _ in by_name["long"][:7]] == [
        f"reward {i}" for i in (0, 2, 4, 6, 8, 10, 10)
    ]
    assert [alarm for *_, alarm in by_name["short"]] == [False] * 3 + [True] * 25
    assert by_name["short"][-1][1] == "failed after 0.08 s"
    assert written[3][:2] == ("walk   0.00 s", "floor squares 2 cm")
    # who has ended is faded; the others are not
    assert pictures[1][-1].mean() > pictures[1][0].mean() + 20
    assert abs(pictures[0][-1].mean() - pictures[0][0].mean()) < 20


@pytest.mark.render
def test_only_the_pane_that_asks_for_a_ghost_shows_one(backend, toy_walker, tmp_path):
    both = motions(toy_walker)
    sheets = []
    for name, panes in (
        ("with", both.panes),
        ("none", (*both.panes[:2], replace(both.panes[2], ghost_qpos=None))),
    ):
        render_side_by_side(
            toy_walker,
            replace(both, panes=panes),
            tmp_path / "a.mp4",
            sheet=tmp_path / f"{name}.png",
        )
        sheets.append(np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int))
    changed = np.abs(sheets[0] - sheets[1]).max(axis=-1) > 25
    third = len(changed) // 3
    assert not changed[: 2 * third].any() and changed[2 * third :].mean() > 0.002


def test_cameras_stand_equally_far_and_look_the_same_way(toy_walker):
    half = np.pi / 4
    turned = walking(toy_walker, 11)
    turned[:, 3], turned[:, 6] = np.cos(half), np.sin(half)
    scene = build_scene(toy_walker)
    shown = replace(
        motions(toy_walker), panes=(Pane("a", walking(toy_walker, 11)), Pane("b", turned))
    )
    moving = [pane.qpos for pane in shown.panes]
    one, other = side_by_side.cameras(scene, shown, moving, 20)
    assert one.azimuth == other.azimuth and one.distance == other.distance
    assert len(one.lookat) == 20 and (one.lookat[11:] == one.lookat[10]).all()
    shown = replace(shown, one_direction=False)
    one, other = side_by_side.cameras(scene, shown, moving, 20)
    assert other.azimuth - one.azimuth == pytest.approx(90.0)


def test_what_cannot_be_shown_is_refused(toy_walker, tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        render_side_by_side(toy_walker, SideBySide((), 50.0), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="short: qpos of shape"):
        bad = SideBySide((Pane("short", np.zeros((3, 4))),), 50.0)
        render_side_by_side(toy_walker, bad, tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="even"):
        render_side_by_side(
            toy_walker, replace(motions(toy_walker), pane_size=(33, 32)), tmp_path / "a"
        )
    assert list(tmp_path.iterdir()) == []


def test_an_episode_beside_its_reference(toy_clips):
    rollouts = {
        "student": perfect_rollout(toy_clips, fails_after=4),
        "teacher": perfect_rollout(toy_clips),
    }
    shown = following(rollouts, toy_clips, 0)
    student, teacher, reference = shown.panes
    assert [pane.name for pane in shown.panes] == ["student", "teacher", "reference"]
    assert (len(student.qpos), len(teacher.qpos), len(reference.qpos)) == (5, 11, 11)
    assert (student.end, teacher.end) == ("failed after 0.08 s", "")
    np.testing.assert_allclose(reference.qpos, teacher.qpos, atol=1e-7)  # it was perfect
    assert student.texts[0] == "" and student.texts[2] == "reward 0.02"
    assert (shown.title, shown.first_time, shown.columns) == ("sway_0", pytest.approx(0.04), 3)
    views = following(rollouts, toy_clips, 1, views=("side", "top"), beside=False, ghosts=True)
    assert [(p.name, p.view) for p in views.panes] == [
        (name, view) for view in ("side", "top") for name in rollouts
    ]
    assert views.columns == 2 and "translucent" in views.note
    np.testing.assert_allclose(views.panes[1].ghost_qpos, views.panes[1].qpos, atol=1e-7)
    assert not following(rollouts, toy_clips, 0, without_reward=["teacher"]).panes[1].texts


def test_a_reference_at_another_rate_stays_at_its_end(toy_clips):
    twice = reference_qpos(toy_clips, 1, 5, 100.0, 200)
    qpos = np.asarray(toy_clips.qpos(), np.float64)[40:70]
    np.testing.assert_allclose(twice[0:49:2], qpos[5:], atol=1e-7)
    np.testing.assert_allclose(
        twice[48:], np.broadcast_to(qpos[-1], (152, qpos.shape[1])), atol=1e-7
    )


def test_a_grid_has_a_pane_for_each_episode(toy_clips):
    rollout = perfect_rollout(toy_clips, fails_after=3)
    cut = grid(rollout, [1], ["a"], num_steps=2).panes
    assert [len(pane.qpos) for pane in cut] == [3]
    shown = grid(rollout, [1, 0, 1], ["a", "b", "c"], columns=2, pane_size=(240, 180))
    assert [pane.end for pane in shown.panes] == ["", "failed after 0.06 s", ""]
    assert shown.columns == 2 and shown.size == (480, 360) and not shown.one_direction
