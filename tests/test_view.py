"""`vnl-mjx view`: what it does without OpenGL, writes, shows and refuses; the browser."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image
from video_helpers import probe_video, walking

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.clips.hdf5 import write_clips
from vnl_mjx.commands.view import view
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering import gl
from vnl_mjx.report.rendering.scene import build_scene


@pytest.fixture(scope="module")
def rodent_file(rodent, tmp_path_factory):
    """Two short clips of the rodent that stands."""
    path = tmp_path_factory.mktemp("viewed") / "clips.h5"
    clips = clips_from_poses(rodent, walking(rodent, 24), [12, 12], 50.0, names=("one", "two [b]"))
    write_clips(path, clips)
    return path


# --- Without OpenGL -----------------------------------------------------------------------------


def no_gl(monkeypatch, tmp_path):
    """Makes every probe of OpenGL fail."""
    gl.first_that_works.cache_clear()
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl, "probe_gl", lambda name: (False, "OSError: no screen"))


@pytest.mark.parametrize(
    ("value", "message"), [("off", "turns drawing off"), ("vulkan", "'vulkan', which is not known")]
)
def test_an_unusable_mujoco_gl_is_one_line(value, message, rodent_file, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", value)
    assert cli.main(["view", str(rodent_file)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_without_gl_nothing_is_written(rodent_file, tmp_path, monkeypatch, capsys):
    no_gl(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["view", str(rodent_file)]) == 2
    error = capsys.readouterr().err
    assert "OSError: no screen" in error and "libosmesa6" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    gl.first_that_works.cache_clear()


# --- What it writes -----------------------------------------------------------------------------


@pytest.mark.render
def test_view_writes_a_video_and_a_sheet(backend, rodent_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["view", str(rodent_file), "--clip", "two [b]", "--size", "96x64", "--start", "0.1"]
    assert cli.main([*arguments, "--contact-sheet", "sheet.png"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips_two_b_.mp4", "sheet.png"]
    report = probe_video("clips_two_b_.mp4")
    assert "96x64" in report and "50 fps" in report and re.search(r"frame=\s*7\b", report)
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 96
    assert "clips_two_b_.mp4: 0.14 s at 50 frames/s" in capsys.readouterr().out


@pytest.mark.render
def test_view_of_all_clips_and_slow_motion(backend, rodent_file, tmp_path, capsys):
    arguments = ["view", str(rodent_file), "--all", "--output", str(tmp_path / "out")]
    assert cli.main([*arguments, "--size", "64x96", "--speed", "0.5", "--views", "top"]) == 0
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["clips_one.mp4", "clips_two_b_.mp4"]
    report = probe_video(written[0])
    assert "25 fps" in report and re.search(r"frame=\s*12\b", report)  # 0.22 s in 0.44 s


@pytest.mark.render
def test_view_of_another_body(backend, toy_walker, toy_config, tmp_path):
    clips = clips_from_poses(toy_walker, walking(toy_walker, 8), [8], 50.0)
    write_clips(tmp_path / "toy.h5", clips)
    arguments = ["view", str(tmp_path / "toy.h5"), "--output", str(tmp_path / "toy.mp4")]
    assert cli.main([*arguments, "--mjcf", toy_config.source, "--size", "96x64"]) == 0
    assert re.search(r"frame=\s*8\b", probe_video(tmp_path / "toy.mp4"))


@pytest.mark.render
@pytest.mark.slow
def test_ctrl_c_leaves_nothing(backend, rodent_file, tmp_path):
    arguments = [str(rodent_file), "--speed", "0.001", "--output", str(tmp_path / "a.mp4")]
    # a shell's background job, as CI may be, ignores it, and so would its children
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{heed}; from vnl_mjx.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", start, "view", *arguments, "--size", "64x64"]
    deadline = time.monotonic() + 60
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not list(tmp_path.iterdir()):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error == "vnl-mjx: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.render
def test_recorded_clips(backend, shared_data, tmp_path):
    path = shared_data / "reference" / "rodent_mocap_4x250.h5"
    output = tmp_path / "a.mp4"
    arguments = ["--clip", "3", "--seconds", "0.1", "--size", "128x64", "--output", str(output)]
    assert cli.main(["view", str(path), *arguments]) == 0
    assert re.search(r"frame=\s*5\b", probe_video(output))


# --- What it shows and refuses ------------------------------------------------------------------


def options_of(*words):
    return cli.build_parser("view").parse_args(["view", "clips.h5", *words])


def test_what_is_said_of_made_and_mirrored_clips(rodent, rodent_file, monkeypatch):
    clips = clips_from_poses(rodent, walking(rodent, 6), [2, 2, 2], 50.0)
    info = (ClipInfo(), ClipInfo(made_by="gait"), ClipInfo(made_by="gait", mirrored=True))
    monkeypatch.setattr(view, "read_clips", lambda *a, **k: clips.replace(info=info))
    shots = list(view.read_parts(rodent_file, rodent, options_of("--all")))
    notes = [shot.note for shot in shots]
    assert notes == ["", "synthetic motion", "synthetic motion, mirrored"]
    assert all(shot.panes[0].qpos.shape == (2, rodent.model.nq) for shot in shots)


def test_a_clip_by_number_name_and_part(rodent, rodent_file):
    part = ["--start", "0.04", "--seconds", "0.1"]
    (by_number,) = view.read_parts(rodent_file, rodent, options_of("--clip", "1", *part))
    (by_name,) = view.read_parts(rodent_file, rodent, options_of("--clip", "two [b]", *part))
    np.testing.assert_array_equal(by_number.panes[0].qpos, by_name.panes[0].qpos)
    np.testing.assert_allclose(by_number.panes[0].qpos, walking(rodent, 24)[14:19], atol=1e-6)
    assert by_number.first_time == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "2"], "clip 2"),
        (["--clip", "tow"], "the nearest name is"),
        (["--views", "side,up"], "found 'up'"),
        (["--size", "97x64"], "97x64"),
        (["--size", "96"], "found '96'"),
        (["--size", "2x2"], "64 to 4096"),
        (["--speed", "0"], "found '0'"),
        (["--fps", "fast"], "found 'fast'"),
        (["--start", "1"], "0.24 s of clip 'one'"),
        (["--start", "-1"], "from 0 on"),
        (["--output", "a.avi"], "ends in .mp4 or .webm or .gif or .webp"),
        (["--output", "no/such/a.mp4"], "no folder 'no/such'"),
        (["--contact-sheet", "a.jpg"], "ends in .png"),
        (["--all", "--contact-sheet", "a.png"], "--all"),
        (["--all", "--clip", "1"], "not allowed"),
        (["--mjcf", "no/such.xml"], "no/such.xml"),
    ],
)
def test_refusals(arguments, message, rodent_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view, "choose_backend", lambda: "egl")
    monkeypatch.setattr(view, "render_side_by_side", lambda *a, **k: pytest.fail("drew something"))
    assert cli.main(["view", str(rodent_file), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_browser_needs_its_extra(rodent_file, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["view", str(rodent_file), "--browser"]) == 2
    error = capsys.readouterr().err
    assert "uv sync --inexact --extra viewer" in error and error.count("\n") == 1


@pytest.mark.parametrize("which", ["rodent", "toy_walker"])
def test_the_browser_serves_a_page_and_plays(which, request, monkeypatch):
    viser = pytest.importorskip("viser", reason="needs the extra `viewer`")
    pytest.importorskip("mjviser", reason="needs the extra `viewer`")
    from vnl_mjx.report.rendering import browser

    walker = request.getfixturevalue(which)
    motion = build_scene(walker), walking(walker, 10), 50.0, "walk", "synthetic motion"

    def open_page(server):
        return browser.MotionPage(server, *motion).advance

    with contextlib.closing(socket.socket()) as free:
        free.bind((browser.HOST, 0))
        port = free.getsockname()[1]
        free.listen()
        with pytest.raises(UserError, match=f"--port: {port} cannot be used"):
            browser.serve_page(open_page, "walk", port, seconds=0.1)
    server = viser.ViserServer(host=browser.HOST, port=port, verbose=False)
    try:
        with urllib.request.urlopen(
            f"http://{browser.HOST}:{server.get_port()}", timeout=10
        ) as page:
            assert page.status == 200 and b"<html" in page.read()
        player = browser.MotionPage(server, *motion)
        player.advance(0.05)
        assert player.frame == 2
        player.advance(0.18)
        assert player.frame == 1  # 0.23 s of 0.2 s: once around
        player.playing = False
        player.advance(0.1)
        assert player.frame == 1
    finally:
        server.stop()
    assert browser.serve_page(open_page, "walk", port, seconds=0.1) == 0
