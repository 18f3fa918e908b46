"""Videos drawn by another process: what comes back, what is said, and that nothing stays behind."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from video_helpers import probe_video, walking

from vnl_mjx.report.rendering.side_by_side import Pane, SideBySide
from vnl_mjx.report.rendering.video_queue import VideoQueue


def motions(walker, seconds=0.1) -> SideBySide:
    panes = (Pane("a", walking(walker, 1 + round(50 * seconds))),)
    return SideBySide(panes, 50.0, pane_size=(64, 64))


@pytest.mark.render
@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_what_can_be_drawn_is_and_what_cannot_is_said(
    backend, toy_config, toy_walker, tmp_path, num_processes
):
    shown, steps = motions(toy_walker), []
    bad = replace(shown, panes=(Pane("bad", walking(toy_walker, 3)[:, :5]),))
    with VideoQueue(toy_config, num_processes) as queue:
        queue.add("first", shown, tmp_path / "1.mp4")
        queue.add("wrong", bad, tmp_path / "2.mp4")
        queue.add("nowhere", shown, tmp_path / "no" / "3.mp4")
        queue.add("last", shown, tmp_path / "4.mp4")
        with pytest.raises(ValueError, match="asked for already"):
            queue.add("last", shown, tmp_path / "5.mp4")
        drawn, errors = queue.finish(lambda *told: steps.append(told))
    assert list(drawn.items()) == [("first", tmp_path / "1.mp4"), ("last", tmp_path / "4.mp4")]
    for path in drawn.values():
        assert re.search(r"frame=\s*3\b", probe_video(path))
    wrong, nowhere = errors
    assert "2.mp4: ValueError: bad: qpos of shape (3, 5)" in wrong and "no folder" in nowhere
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "4.mp4"]
    assert steps[-1] == (4, 4)


def test_without_a_way_to_draw_there_is_one_sentence(toy_config, toy_walker, tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    with VideoQueue(toy_config) as queue:
        for name in "abc":
            queue.add(name, motions(toy_walker), tmp_path / f"{name}.mp4")
        drawn, errors = queue.finish()
    assert not drawn and len(errors) == 1
    assert "MUJOCO_GL" in errors[0] and list(tmp_path.iterdir()) == []


def test_a_process_that_dies_costs_its_videos(toy_config, toy_walker, tmp_path):
    with VideoQueue(toy_config) as queue:
        (process,) = multiprocessing.active_children()
        process.kill()
        process.join()
        queue.add("lost", motions(toy_walker), tmp_path / "a.mp4")
        drawn, errors = queue.finish()
    assert not drawn and "lost left out" in errors[0] and "killed" in errors[0]


@pytest.mark.render
def test_leaving_early_stops_the_process_and_leaves_no_file(
    backend, toy_config, toy_walker, tmp_path
):
    with pytest.raises(KeyboardInterrupt), VideoQueue(toy_config) as queue:
        queue.add("long", motions(toy_walker, seconds=600.0), tmp_path / "a.mp4")
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()):  # it draws
            assert not queue.is_done and time.monotonic() < deadline
            time.sleep(0.05)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children() and list(tmp_path.iterdir()) == []


@pytest.mark.render
@pytest.mark.slow
def test_the_process_ends_with_the_one_that_asked(backend, toy_config, tmp_path):
    code = """
import multiprocessing, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from video_helpers import walking
from vnl_mjx.report.rendering.side_by_side import Pane, SideBySide
from vnl_mjx.report.rendering.video_queue import VideoQueue
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.walkers.walker import build_walker
config = WalkerConfig(
    source=sys.argv[2], joint_names=("hip_front",), body_names=("torso",),
    end_effector_names=("foot_front",), rescale_factor=1.0)
queue = VideoQueue(config)
panes = (Pane("a", walking(build_walker(config), 30000)),)
queue.add("long", SideBySide(panes, 50.0, pane_size=(64, 64)), Path(sys.argv[3]))
print(multiprocessing.active_children()[0].pid, flush=True)
time.sleep(600)
"""
    tests = os.path.dirname(__file__)
    parent = subprocess.Popen(
        [sys.executable, "-c", code, tests, toy_config.source, str(tmp_path / "a.mp4")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()):
            assert parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while _is_running(worker) or list(tmp_path.iterdir()):
            assert time.monotonic() < deadline + 60
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.communicate()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = f"/proc/{pid}/stat"  # nobody may be there to reap it
    try:
        with open(stat) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return os.path.isdir("/proc/self") is False
