"""How quick `vnl-mjx play` is: control steps per second with the page, and how late a command shows.

    uv run python benchmarks/play.py [RUN] [--seconds 10]

The page is served as by the command, without a browser; open it in one meanwhile to measure with that. The
delay is from a change of the command, as a key makes it, to the first pose sent that differs from what the
same episode without the change would have sent.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import exit_status

PORT = 8091
PERIOD_S = 1.0 / 30.0  # between poses that are sent
BETWEEN_S = 0.3, 0.6  # changes of the command


def steps_per_second(page: Any, seconds: float) -> float:
    """Control steps of a page that is told as often as it can be that `PERIOD_S` is over."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        before = page.num_steps
        page.advance(PERIOD_S)
        steps += max(page.num_steps - before, 0)
    return steps / (time.perf_counter() - began)


def delays_of(
    page: Any, actor: Any, unchanged: Any, delays: list[float]
) -> Callable[[float], None]:
    """What goes on with a page whose command changes again and again; the delays are added to a list."""
    rng, changed_at, slider = random.Random(0), list[float](), page._sliders[0]
    told = page.command()

    def change() -> None:
        changed_at.append(time.perf_counter())
        slider.value = 0.4 - slider.value

    def wait() -> None:
        timer = threading.Timer(rng.uniform(*BETWEEN_S), change)
        timer.daemon = True
        timer.start()

    def advance(seconds: float) -> None:
        nonlocal told
        before = page.num_steps
        page.advance(seconds)
        now = time.perf_counter()
        pose = page._step.qpos
        for _ in range(page.num_steps - before):
            pose = unchanged.step(told).qpos
        moved = page.num_steps > before and (page._step.qpos != pose).any()
        if changed_at and (moved or page.num_steps < before):
            delay = now - changed_at.pop()
            if moved:
                delays.append(delay)
            unchanged._state, unchanged._key, told = actor._state, actor._key, page.command()
            wait()

    wait()
    return advance


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    from vnl_mjx.commands.view.play import CONTROLS, load_joystick
    from vnl_mjx.demo import DEMO_JOYSTICK
    from vnl_mjx.report.rendering.browser import serve_page
    from vnl_mjx.report.rendering.live_task import TaskActor
    from vnl_mjx.report.rendering.scene import build_scene
    from vnl_mjx.report.rendering.task_page import TaskPage

    shown = load_joystick(args.run or DEMO_JOYSTICK)
    control_hz, scene = 1.0 / shown.task.control_timestep, build_scene(shown.stored.task.walker)
    rates, delays = [], list[float]()

    def open_page(server: Any) -> Callable[[float], None]:
        actor, unchanged = (
            TaskActor(shown.task, shown.data, shown.policy, obeys=True) for _ in range(2)
        )
        page = TaskPage(server, scene, control_hz, {"it": actor}, "it", controls=CONTROLS)
        unchanged.start()
        unchanged.step(page.command())
        rates.append(steps_per_second(page, args.seconds))
        unchanged._state, unchanged._key = actor._state, actor._key
        return delays_of(page, actor, unchanged, delays)

    serve_page(open_page, "benchmark", PORT, seconds=args.seconds)
    print(f"{rates[0]:.0f} control steps/s: {rates[0] / control_hz:.1f} times real time")
    shares = f"median of {len(delays)}, {1e3 * max(delays):.0f} ms at most"
    print(f"{1e3 * statistics.median(delays):.0f} ms from a command to a pose ({shares})")


if __name__ == "__main__":
    sys.exit(exit_status(main))
