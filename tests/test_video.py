"""Videos of motion: GL back ends, the scene, the cameras, the timeline, the files, the drawing."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from video_helpers import probe_video, walking

from vnl_mjx.clips.conditioning.resampling import num_resampled
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering import captions, encoding, gl
from vnl_mjx.report.rendering.cameras import camera_path, mean_heading_deg
from vnl_mjx.report.rendering.captions import picture_rows, tiled, write_caption
from vnl_mjx.report.rendering.drawing import open_drawer
from vnl_mjx.report.rendering.scene import FLOOR_NAME, build_scene, round_length
from vnl_mjx.report.rendering.side_by_side import one_motion, render_side_by_side
from vnl_mjx.walkers.walker import build_walker

# --- GL back ends -------------------------------------------------------------------------------


def test_the_first_back_end_that_works_is_taken_and_tried_once(monkeypatch):
    gl.first_that_works.cache_clear()
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl, "GL_BACKENDS", ("egl", "osmesa", "glfw"))
    tried = []
    monkeypatch.setattr(gl, "probe_gl", lambda n: (tried.append(n) or n == "osmesa", "no"))
    assert gl.choose_backend() == "osmesa"
    assert gl.choose_backend() == "osmesa"
    assert tried == ["egl", "osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "OSMesa")
    assert gl.choose_backend() == "osmesa"
    assert tried == ["egl", "osmesa", "osmesa"]
    gl.first_that_works.cache_clear()


@pytest.mark.render
def test_choosing_late_leaves_the_environment_and_exits_cleanly(backend, tmp_path):
    code = (
        "import os, mujoco\n"
        "from vnl_mjx.report.rendering import gl\n"
        "assert 'MUJOCO_GL' not in os.environ\n"
        "with gl.gl_context(gl.choose_backend(), 32, 32):\n"
        "    mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100).free()\n"
        "assert 'MUJOCO_GL' not in os.environ\n"
    )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- Scene and cameras --------------------------------------------------------------------------


def test_the_scene_has_the_walkers_bodies_where_the_walker_has_them(rodent):
    scene = build_scene(rodent, with_ghost=True)
    rng = np.random.default_rng(0)
    qpos = rodent.model.qpos0 + 0.1 * rng.standard_normal((2, rodent.model.nq))
    data, own = mujoco.MjData(scene.model), mujoco.MjData(rodent.model)
    data.qpos[:] = qpos.ravel()
    mujoco.mj_forward(scene.model, data)
    for prefix, pose in zip(("", "ghost/"), qpos, strict=True):
        own.qpos[:] = pose
        mujoco.mj_kinematics(rodent.model, own)
        for name in ("torso", "skull", "hand_L", "vertebra_C30"):
            shown, expected = data.body(prefix + name), own.body(name)
            np.testing.assert_allclose(shown.xpos, expected.xpos, atol=1e-12)
            np.testing.assert_allclose(shown.xmat, expected.xmat, atol=1e-12)
    assert data.ncon == 0 and scene.model.nskin == 2
    floor = scene.model.geom(FLOOR_NAME)
    assert floor.pos[2] == rodent.floor_height == -0.005
    assert scene.square == 0.05


def skin_vertices(walker):
    """Of the walker at rest, [vertex, 3], and the scene's model and data."""
    model = build_scene(walker).model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    drawn = mujoco.MjvScene(model, 2000)
    mujoco.mjv_updateScene(
        model, data, mujoco.MjvOption(), None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, drawn
    )
    return np.array(drawn.skinvert[: 3 * model.nskinvert]).reshape(-1, 3), model, data


def test_the_skin_is_scaled_with_the_bones_that_it_covers(rodent):
    vertices, model, data = skin_vertices(rodent)
    full_size = build_walker(replace(rodent.config, rescale_factor=1.0))
    np.testing.assert_allclose(vertices, 0.9 * skin_vertices(full_size)[0], atol=1e-5)
    own = np.flatnonzero(model.geom_bodyid > 1)
    away = np.linalg.norm(vertices[::50, None] - data.geom_xpos[own], axis=-1)
    assert (away - model.geom_rbound[own]).min(axis=1).max() < 0.012


def test_a_scene_of_another_walker_keeps_its_geoms_on_a_floor_of_ours(toy_walker):
    scene = build_scene(toy_walker, with_ghost=True)
    model = scene.model
    planes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    assert [model.geom(plane).name for plane in planes] == [FLOOR_NAME]
    np.testing.assert_array_equal(model.geom(FLOOR_NAME).rgba, [0.5, 0.5, 0.5, 1])  # the material's
    assert model.geom("torso").rgba[3] == 1.0 and model.geom("ghost/torso").rgba[3] < 0.5
    assert model.nq == 2 * toy_walker.model.nq and not model.geom_contype.any()


@given(st.floats(1e-4, 1e3))
@settings(max_examples=30, deadline=None)
def test_round_length_is_close_and_round(length):
    rounded = round_length(length)
    assert 0.57 < rounded / length < 1.5
    assert float(f"{rounded:.0e}"[0]) in (1, 2, 5)


def test_cameras_follow_smoothly_and_look_across_the_heading(toy_walker):
    scene = build_scene(toy_walker)
    qpos = walking(toy_walker, 200)
    half = np.pi / 4  # turned to y: w and z of half a right angle
    qpos[:, 3], qpos[:, 6] = np.cos(half), np.sin(half)
    assert mean_heading_deg(qpos, scene.layout) == pytest.approx(90.0)
    qpos[100:, 0] += 0.05  # a jump
    side, top = (camera_path(scene, qpos, 50.0, view) for view in ("side", "top"))
    assert (side.azimuth, top.azimuth, top.elevation) == pytest.approx((195.0, 180.0, -90.0))
    jump = 0.05 + 0.2 / 50
    assert np.abs(np.diff(side.lookat, axis=0)).max() < 0.25 * jump
    np.testing.assert_allclose(np.diff(side.lookat[:50, 0]), 0.2 / 50, rtol=1e-6)
    with pytest.raises(ValueError, match="view="):
        camera_path(scene, qpos, 50.0, "below")


# --- Timeline -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "speed", "fps"),
    [
        (50, 1, 50),
        (200, 1, 50),
        (250, 1, 50),
        (100, 1, 50),
        (50, 0.25, 25),
        (5, 1, 20),
        (30, 1, 30),
    ],
)
def test_default_fps(rate, speed, fps):
    assert encoding.default_fps(rate, speed) == pytest.approx(fps)


@given(
    st.integers(1, 300),
    st.sampled_from([25, 50, 100, 199.7]),
    st.sampled_from([0.1, 0.5, 1.0, 2.0]),
)
@settings(max_examples=30, deadline=None)
def test_a_video_lasts_as_long_as_its_motion(num_frames, rate, speed):
    fps = encoding.default_fps(rate, speed)
    shown = num_resampled(num_frames, rate, fps / speed)
    last = (num_frames - 1) / rate
    assert (shown - 1) * speed / fps <= last + 1e-6 < shown * speed / fps * 1.001 + 1e-5


def test_clock_shows_time_and_true_speed(toy_walker):
    scene = build_scene(toy_walker)
    texts = captions.time_and_speed(walking(toy_walker, 50), 1.0 + np.arange(50) / 50, 50.0, scene)
    assert (texts[0], texts[25]) == ("1.00 s   20 cm/s", "1.50 s   20 cm/s")
    assert captions.time_and_speed(walking(toy_walker, 1), np.zeros(1), 50.0, scene) == [
        "0.00 s   0 cm/s"
    ]
    assert [captions.metric(x) for x in (0.005, 0.02, 0.1, 2.0)] == ["5 mm", "2 cm", "10 cm", "2 m"]


# --- Files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp"])
def test_a_video_is_what_its_ending_says(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    with encoding.video_writer(path, (32, 16), 10.0) as write:
        for shade in (0, 120, 240):
            write(np.full((16, 32, 3), shade, np.uint8))
    if ending in ("mp4", "webm"):
        assert "32x16" in probe_video(path)
    else:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == (ending.upper(), (32, 16))
            assert picture.n_frames == 3


def test_mp4_is_h264_for_every_player(tmp_path):
    with encoding.video_writer(tmp_path / "a.mp4", (64, 48), 30) as write:
        for shade in range(12):
            write(np.full((48, 64, 3), 20 * shade, np.uint8))
    report = probe_video(tmp_path / "a.mp4")
    assert "h264" in report and "yuv420p" in report and "64x48" in report and "30 fps" in report
    assert re.search(r"frame=\s*12\b", report)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_video_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"before")
    with pytest.raises(error), encoding.video_writer(target, (64, 48), 30) as write:
        write(np.zeros((48, 64, 3), np.uint8))
        raise error
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match="no folder"),
        encoding.video_writer(tmp_path / "no" / "a.mp4", (64, 48), 30),
    ):
        pass
    with (
        pytest.raises(UserError, match=r"a\.mp4: cannot be written \(.+\)"),
        encoding.video_writer(
            tmp_path / "a.mp4", (63, 47), 30
        ) as write,  # odd: the encoder refuses
    ):
        for _ in range(200):
            write(np.zeros((47, 63, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(encoding.imageio_ffmpeg, "get_ffmpeg_exe", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encoding.ffmpeg_exe()

    def none():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(encoding.imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(UserError, match="no ffmpeg"):
        encoding.ffmpeg_exe()


def test_captions_fit_and_leave_the_rest_alone():
    picture = np.zeros((240, 320, 3), np.uint8)
    captioned = write_caption(picture, "walk   1.00 s", "synthetic motion")
    assert not captioned[:200].any() and (captioned[-5] == 175).mean() > 0.8
    crowded = write_caption(picture, "a very long name of a clip " * 9, "synthetic motion " * 9)
    assert crowded.shape == picture.shape
    ink = (crowded[-12:] < 150).any(axis=(0, 2))
    assert ink[20:300].any() and not ink[:4].any() and not ink[-4:].any()
    labelled = [write_caption(picture, name, "synthetic motion") for name in ("x" * 500, "x" * 600)]
    np.testing.assert_array_equal(*labelled)  # the label is whole: only the name was cut
    assert (labelled[0][-12:, -60:] < 150).any()


def test_an_alarm_is_red_and_a_caption_can_be_above():
    picture = np.full((120, 160, 3), 255, np.uint8)
    above = write_caption(picture, "student", "failed", at_top=True, alarm=True)
    assert (above[40:] == 255).all() and (above[:40] < 150).any()
    red = above[..., 0].astype(int) - above[..., 2] > 80
    assert red.any() and not red[:, :80].any()


def test_film_strips_have_a_row_for_each_motion_and_a_column_for_each_time():
    shades = [[40, 80, 120], [160, 200, 240]]
    rows = [[np.full((60, 80, 3), shade, np.uint8) for shade in row] for row in shades]
    sheet = np.asarray(picture_rows(rows, ["", ""], ["0 s", "1 s", "2 s"], 244))
    assert sheet.shape == (22 + 60 + 2 + 60, 244, 3)
    centers = sheet[[22 + 30, 22 + 92]][:, [40, 122, 204], 0]
    np.testing.assert_array_equal(centers, shades)


def test_panes_fill_the_picture_row_by_row():
    whole = tiled([np.full((30, 40, 3), shade, np.uint8) for shade in range(5)], 3)
    assert whole.shape == (60, 120, 3)
    assert whole[15, [20, 60, 100], 0].tolist() == [0, 1, 2]
    assert whole[45, [20, 60, 100], 0].tolist() == [3, 4, 255]  # nothing is left white
    assert (whole[:, [39, 40, 79, 80]] == 255).all() and (whole[29:31] == 255).all()


# --- Drawing ------------------------------------------------------------------------------------


@pytest.mark.render
def test_side_and_top_show_the_walker_in_the_middle_on_squares(backend, toy_walker):
    scene = build_scene(toy_walker, max_width=400, max_height=200)
    qpos = walking(toy_walker, 20)
    paths = [camera_path(scene, qpos, 50.0, view) for view in ("side", "top")]
    with open_drawer(scene, 200, 200, backend) as drawer:
        first, last, again = (
            np.hstack([drawer.draw(qpos[frame], path, frame) for path in paths])
            for frame in (0, 19, 0)
        )
    assert (
        np.abs(first.astype(int) - again).max() <= 2
    )  # rasterisers with threads round differently
    for pane in (first[:, :200], first[:, 200:]):
        blue = pane[..., 2].astype(int) - pane[..., 0] > 60  # the toy's colour
        rows, columns = np.nonzero(blue)
        assert 0.01 < blue.mean() < 0.5
        assert abs(columns.mean() - 100) < 25 and abs(rows.mean() - 100) < 40
        assert rows.min() > 0 and rows.max() < 199 and columns.min() > 0 and columns.max() < 199
    assert np.abs(first.astype(int) - last).max() > 30  # the floor has moved below it


@pytest.mark.render
def test_floor_squares_have_the_size_that_the_caption_says(backend, toy_walker):
    scene = build_scene(toy_walker, max_width=400, max_height=400)
    qpos = walking(toy_walker, 1)
    qpos[:, 2] += 50.0  # out of sight
    path = camera_path(scene, qpos, 50.0, "top")
    path.lookat[:, 2] = scene.floor_height
    path = replace(path, azimuth=90.0)
    with open_drawer(scene, 400, 400, backend) as drawer:
        picture = drawer.draw(qpos[0], path, 0).astype(float).mean(-1)
    seen = 2 * path.distance * np.tan(np.radians(15.0))
    row = picture[3] - picture[3].mean()
    cycles = np.argmax(np.abs(np.fft.rfft(row * np.hanning(len(row)), 8 * len(row)))) / 8
    assert seen / cycles / 2 == pytest.approx(scene.square, rel=0.06)


@pytest.mark.render
def test_the_skinned_rodent_is_drawn_in_fur_not_in_geoms(backend, rodent):
    scene = build_scene(rodent, max_width=200, max_height=200)
    qpos = walking(rodent, 1)
    path = camera_path(scene, qpos, 50.0)
    with open_drawer(scene, 200, 200, backend) as drawer:
        picture = drawer.draw(qpos[0], path, 0)
    brown = picture[..., 0].astype(int) - picture[..., 2]
    assert (brown > 15).mean() > 0.03
    assert not (brown < -60).any()  # the geoms are blue


@pytest.mark.render
def test_a_tint_colours_the_walker_alone_and_is_gone_afterwards(backend, rodent):
    scene = build_scene(rodent, max_width=200, max_height=200)
    qpos = walking(rodent, 1)
    path = camera_path(scene, qpos, 50.0)
    with open_drawer(scene, 200, 200, backend) as drawer:
        plain, blue, again = (
            drawer.draw(qpos[0], path, 0, tint=tint).astype(int) for tint in ("", "#0072B2", "")
        )
    fur = plain[..., 0] - plain[..., 2] > 15
    assert (blue[fur][:, 2] > blue[fur][:, 0] + 40).mean() > 0.9
    floor = ~fur & (np.abs(plain - blue).max(-1) <= 2)
    assert floor.sum() > 0.9 * (~fur).sum()
    assert np.abs(plain - again).max() <= 2


@pytest.mark.render
def test_ghosts_are_drawn(backend, toy_walker, tmp_path):
    qpos = walking(toy_walker, 2)
    shifted = qpos + np.r_[0.0, 0.1, np.zeros(qpos.shape[1] - 2)]
    calls = []
    for name, ghost in (("with", shifted), ("without", None)):
        done = render_side_by_side(
            toy_walker,
            one_motion(qpos, 50.0, ghost_qpos=ghost, size=(96, 96), views=("top",)),
            tmp_path / f"{name}.mp4",
            sheet=tmp_path / f"{name}.png",
            progress=lambda *a: calls.append(a),
        )
        assert done.num_frames == 2 and done.backend == backend
    assert calls == [(1, 2), (2, 2)] * 2
    pictures = [
        np.asarray(Image.open(tmp_path / f"{n}.png")).astype(int) for n in ("with", "without")
    ]
    changed = np.abs(pictures[0] - pictures[1]).max(axis=-1) > 20
    assert 0.005 < changed.mean() < 0.5
