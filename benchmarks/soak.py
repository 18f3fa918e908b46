"""Trains, and serves a page in the browser, for hours; prints whether memory, files or threads grow.

    python benchmarks/soak.py [--hours 2] [--work DIR] [key=value ...]

A distillation of the bundled teacher writes a checkpoint and an evaluation every minute or so, and
`vnl-mjx view --browser` shows the bundled student to a client that connects anew every 20 seconds. Both are
read from `/proc` (Linux). Growth is the slope of a line through the second half of the samples.
"""

import argparse
import csv
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

QUANTITIES = ("memory_MB", "descriptors", "threads")
_VISIT_S, _SUBPROTOCOL = 20.0, "viser-v"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--every", type=float, default=15.0, metavar="S", help="between samples")
    parser.add_argument("--work", type=Path, help="folder of run and samples (a temporary one)")
    parser.add_argument("overrides", nargs="*", help="settings of the distillation")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    samples = soak(work, args.hours * 3600, args.every, args.overrides)
    show(samples)


def soak(work: Path, seconds: float, every: float, overrides: list[str]) -> list[dict[str, float]]:
    """Runs both processes and returns their samples, which also go to `samples.csv`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    settings = [
        *("training_config.num_steps=100000000000", "checkpoint_config.interval_steps=200000"),
        *("eval_config.interval_steps=400000", "logging_config.interval_steps=50000"),
    ]
    commands = {
        "training": ("distill", f"run_dir={work / 'run'}", *settings, *overrides),
        "page": ("view", "vnl_mjx/demo/student", "--browser", "--port", str(port)),
    }
    processes = {name: _start(work / f"{name}.txt", *words) for name, words in commands.items()}
    visits, ended = [0, 0], threading.Event()
    visitor = threading.Thread(target=_visit, args=(port, visits, ended), daemon=True)
    visitor.start()
    samples, started = [], time.monotonic()
    with (work / "samples.csv").open("w", newline="") as file:
        fields = ("process", "hours", *QUANTITIES, "visits", "messages")
        table = csv.DictWriter(file, fields)
        table.writeheader()
        while (now := time.monotonic() - started) < seconds:
            time.sleep(every)
            for name, process in processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended ({process.returncode}); see {work}/{name}.txt")
                row = {"process": name, "hours": now / 3600, **_measured(process.pid)}
                samples.append(row | {"visits": visits[0], "messages": visits[1]})
                table.writerow(samples[-1])
            file.flush()
    ended.set()
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return samples


def show(samples: list[dict[str, float]]) -> None:
    """Prints the values at the middle and the end, and the growth between them."""
    table = Table(title="Soak", title_justify="left")
    for column in ("process", "quantity", "after 10 %", "half way", "at the end", "growth/hour"):
        table.add_column(column)
    for process in dict.fromkeys(row["process"] for row in samples):
        rows = [row for row in samples if row["process"] == process]
        hours = np.array([row["hours"] for row in rows])
        half = len(rows) // 2
        for name in QUANTITIES:
            values = np.array([row[name] for row in rows])
            slope = np.polyfit(hours[half:], values[half:], 1)[0]
            at = (values[len(rows) // 10], values[half], values[-1])
            table.add_row(str(process), name, *(f"{value:.0f}" for value in at), f"{slope:+.1f}")
    last = samples[-1]
    Console().print(table)
    print(
        f"{last['hours']:.2f} hours, {last['visits']} visits of the page, {last['messages']} messages"
    )


def _start(output: Path, *words: str) -> subprocess.Popen:
    with output.open("w") as file:
        command = [sys.executable, "-m", "vnl_mjx.cli", *words]
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def _measured(pid: int) -> dict[str, float]:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "memory_MB": int(status["VmRSS"].split()[0]) / 1024,
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


def _visit(port: int, visits: list[int], ended: threading.Event) -> None:
    import viser

    logging.getLogger("websockets").setLevel(
        logging.CRITICAL
    )  # the page closes before us at the end
    while not ended.is_set():
        try:
            protocol = f"{_SUBPROTOCOL}{viser.__version__}"
            with connect(f"ws://localhost:{port}", subprotocols=[protocol], max_size=None) as page:
                visits[0] += 1
                until = time.monotonic() + _VISIT_S
                while time.monotonic() < until and not ended.is_set():
                    page.recv(timeout=10)
                    visits[1] += 1
        except (OSError, WebSocketException, TimeoutError):
            time.sleep(1)  # the page is not there yet, or showed nothing new


if __name__ == "__main__":
    main()
