"""Drills of what surrounds a training: disk, clock, environment, queue. Used by `fault_drill.py`."""

import mmap
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import full_disk
from drill_runs import ROOT, Child, Found, fork, is_writing, last_lines, steps_in

if TYPE_CHECKING:
    from fault_drill import Drill

NOWHERE = "/dev/null/nowhere"  # cannot be made or written, by root neither
DISK_BYTES = 64_000_000
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_NO_NETWORK = dict.fromkeys(_PROXIES, "http://127.0.0.1:9")
_NO_HOME = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")


def disk(drill: "Drill", kind: str, count: int) -> Found:
    """The disk is full at random moments, then has space again: one line, status 2, nothing is lost."""
    found = Found(f"disk {kind}")
    with small_disk(found, drill.runs.work / f"disk-{kind}") as folder:
        if folder is None:
            return found
        run_dir, aims = folder / "run", ("start", "update", "writing", "checkpoint", "evaluation")
        for i in range(count):
            before, aim = steps_in(run_dir), aims[i % len(aims)]
            child = drill.runs.start(kind, run_dir)
            drill.at_random(child, run_dir, aim)
            phase = "writing in the background" if is_writing(run_dir) else child.phase
            fill(folder / "ballast")
            child.wait()
            (folder / "ballast").unlink()
            found.made(phase)
            _check_full(found, child, phase)
            lost = steps_in(run_dir)[-1:] < before[-1:]
            found.expect(not lost, f"{phase}: checkpoint {before[-1:]} is gone")
            if (run_dir / "eval" / "metrics.json").exists():
                break
        drill.finish(found, kind, run_dir, rows_too=False)
    return found


def disk_sizes(drill: "Drill", kind: str, count: int) -> Found:
    """Disks that are too small by ever less, from 16 kB to 16 MB; then the same disk is made larger."""
    found = Found(f"disk_sizes {kind}")
    with small_disk(found, drill.runs.work / f"sizes-{kind}") as folder:
        if folder is None:
            return found
        for i in range(count):
            size = round(16_000 * 1000 ** (i / max(1, count - 1)))
            _remount(folder, size)
            child = drill.runs.start(kind, folder / "run")
            child.wait()
            found.made("disks")
            _check_full(found, child, f"{size} bytes")
            if child.status == 0:
                break
        _remount(folder, DISK_BYTES)
        drill.finish(found, kind, folder / "run", rows_too=False)
    return found


def disk_writes(drill: "Drill", kind: str, count: int) -> Found:
    """The disk is full from the N-th write of a training on: N from the first to the last, evenly."""
    found, run_dir = Found(f"disk_writes {kind}"), drill.runs.work / f"writes-{kind}"
    if not full_disk.is_preloaded():
        found.notes.append("left out: no C compiler")
        return found

    def run(num: int) -> tuple[Child, int]:
        shutil.rmtree(run_dir, ignore_errors=True)
        writes = mmap.mmap(-1, 8)
        fill = partial(full_disk.fill_after, run_dir, num, writes)
        child = drill.runs.start(kind, run_dir, before=fill)
        child.wait()
        return child, int.from_bytes(writes[:8], sys.byteorder)

    _, total = run(2**62)
    found.notes.append(f"of {total} writes")
    for i in range(min(count, total)):
        num = round(i * (total - 1) / max(1, count - 1))
        child, tried = run(num)
        if tried <= num:  # some writes depend on time
            continue
        found.made(child.phase)
        _check_full(found, child, f"after {num} writes")
        drill.finish(found, kind, run_dir, rows_too=False)
    return found


def _check_full(found: Found, child: Child, when: str) -> None:
    """Checks how a training ended on a full disk: one line and status 2, or as if nothing were."""
    status, said = child.status, child.output
    found.counts["refused"] += status == 2
    found.expect(status in (0, 2), f"{when}: status {status}: {last_lines(child)}")
    found.expect("Traceback" not in said, f"{when}: traceback: {last_lines(child)}")
    found.expect("never retrieved" not in said, f"{when}: lost exceptions: {last_lines(child)}")
    errors = [line for line in said.splitlines() if line.startswith("vnl-mjx: error")]
    found.expect(len(errors) == (status == 2), f"{when}: {len(errors)} lines of errors")


def clock(drill: "Drill", kind: str, count: int) -> Found:
    """The clock jumps by hours, forwards and backwards, all through a training.

    Orbax times its writes by this clock: a jump in a write ends the run in one line, and it goes on later.
    """
    found = Found(f"clock {kind}")
    for i in range(min(count, 2)):
        run_dir = drill.runs.work / f"clock-{kind}-{i}"
        child = drill.runs.start(kind, run_dir, before=lambda i=i: jumping_clock(i))
        found.made("runs")
        was_in_a_save = child.wait() == 2 and "timed out after" in child.output
        found.counts["ended in a save"] += was_in_a_save
        fine = was_in_a_save or child.status == 0
        found.expect(fine, f"status {child.status}: {last_lines(child)}")
        odd = re.findall(r"-[\d,.]+ steps/s|-\d+:\d\d.* left", child.output)
        found.expect(not odd, f"progress says {odd[:2]}")
        if was_in_a_save:
            drill.finish(found, kind, run_dir, rows_too=False)
        else:
            drill.compare(found, kind, run_dir)
    return found


def environment(drill: "Drill", kind: str, count: int) -> Found:
    """Homes, caches and temporary folders that cannot be written, no network, no Weights & Biases."""
    found = Found(f"environment {kind}")
    cases: dict[str, tuple[dict[str, str | None], list[str]]] = {
        "no network": (_NO_NETWORK, []),
        "no HOME": (dict.fromkeys(_NO_HOME), []),
        "TMPDIR that cannot be written": (dict.fromkeys(("TMPDIR", "TEMP", "TMP"), NOWHERE), []),
        "W&B without network or key": (_NO_NETWORK, ["wandb_config.mode=online"]),
        "home and caches that cannot be written": (
            dict.fromkeys((*_NO_HOME, "VNL_MJX_CACHE", "JAX_COMPILATION_CACHE_DIR"), NOWHERE),
            [],
        ),
    }
    for name, (changes, words) in list(cases.items())[:count]:
        run_dir = drill.runs.work / f"environment-{kind}-{found.attempts}"
        steps = "training_config.num_steps=64" if kind == "distill" else "ppo.num_steps=64"
        alone = ["unshare", "-n"] if changes is _NO_NETWORK and can_leave_the_network() else []
        command = [*alone, *program(), *drill.runs.words(kind, run_dir, steps, *words)]
        child = _process(command, changes, drill.runs.log(name.replace(" ", "-")))
        status = child.wait()
        found.made(name)
        found.expect("Traceback" not in child.output, f"{name}: traceback: {last_lines(child)}")
        if words and find_spec("wandb") is None:
            found.notes.append(f"{name}: wandb is not installed; {last_lines(child, 1)}")
            found.expect(status == 2, f"{name}: status {status}")
        else:
            is_done = status == 0 and (run_dir / "eval" / "metrics.json").exists()
            found.expect(is_done, f"{name}: status {status}: {last_lines(child)}")
    return found


def slurm(drill: "Drill", kind: str, count: int) -> Found:
    """The Slurm example with SIGTERM at random moments: each stop is requeued, until the run has ended."""
    found = Found("slurm distill")
    if kind != "distill":
        return found
    folder = drill.runs.work / "slurm"
    bin_folder, run_dir = folder / "bin", folder / "run"
    bin_folder.mkdir(parents=True, exist_ok=True)
    vnl_mjx = " ".join(program())
    for name, text in {
        "srun": f'shift; echo $$ > "{folder}/pid"; exec "$@"',
        "vnl-mjx": f'exec {vnl_mjx} "$@"',
        "scontrol": f'echo "$@" >> "{folder}/requeued"',
    }.items():
        (bin_folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (bin_folder / name).chmod(0o755)
    script = ROOT / "examples" / "slurm" / "train_vae.sbatch"
    words = drill.runs.words(kind, run_dir, "device=cpu")[1:]
    changes = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    changes["RUN_DIR"] = str(run_dir)
    for i in range(count):
        (folder / "requeued").unlink(missing_ok=True)
        log, before = drill.runs.log("slurm"), steps_in(run_dir)[-1:]
        child = _process(["bash", str(script), *words], changes, log)
        is_last = i == count - 1
        if not is_last:
            # the first stop comes while Python starts, the others after another checkpoint
            child.wait_for(
                lambda b=before, i=i: (
                    (folder / "pid").exists() if i == 0 else steps_in(run_dir)[-1:] > b
                )
            )
            time.sleep(drill.random.uniform(0, 0.5))
            if not child.has_ended():
                os.kill(int((folder / "pid").read_text()), 15)
            found.made("stops")
        status, requeued = child.wait(), (folder / "requeued").exists()
        is_done = (run_dir / "eval" / "metrics.json").exists()
        found.counts["requeued"] += requeued
        found.expect(status == 0, f"status {status}: {last_lines(child)}")
        found.expect(requeued != is_done, f"requeued {requeued}, done {is_done}")
        if is_done:
            break
    drill.finish(found, kind, run_dir, rows_too=False)
    return found


@contextmanager
def small_disk(found: Found, folder: Path) -> Iterator[Path | None]:
    """Mounts a file system in memory; None, with a note, where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        found.notes.append(f"left out: cannot mount a small disk ({done.stderr.strip()})")
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _remount(folder: Path, size: int) -> None:
    options = f"remount,size={size}"
    subprocess.run(["mount", "-o", options, str(folder)], check=True)


def fill(path: Path) -> None:
    """Fills the disk to its last byte."""
    with path.open("wb", buffering=0) as file:
        for block in (1_000_000, 4096, 1):
            try:
                while file.write(bytes(block)):
                    pass
            except OSError:
                pass


def jumping_clock(seed: int) -> None:
    """Makes `time.time` and `time.time_ns` of this process jump by up to a day at every tenth call."""
    generator, true_ns, offset_ns = random.Random(seed), time.time_ns, 0

    def jumped_ns() -> int:
        nonlocal offset_ns
        if generator.random() < 0.1:
            offset_ns = round(generator.uniform(-86_400e9, 86_400e9))
        return true_ns() + offset_ns

    time.time_ns = jumped_ns
    time.time = lambda: jumped_ns() / 1e9


def can_leave_the_network() -> bool:
    """Returns whether a process may be started without any network."""
    command = ["unshare", "-n", "true"]
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(command, capture_output=True).returncode == 0
    )


def program() -> list[str]:
    """Returns the command that runs `vnl-mjx` here."""
    return [sys.executable, "-m", "vnl_mjx.cli"]


def _process(command: list[str], changes: dict[str, str | None], log: Path) -> Child:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **changes}
    kept = {name: value for name, value in environ.items() if value is not None}
    return fork(lambda: os.execvpe(command[0], command, kept), log)
