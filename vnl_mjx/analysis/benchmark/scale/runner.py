"""Jobs one after the other, each in a process of its own: what one loses, the others keep."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vnl_mjx.analysis.benchmark.scale.jobs import Job, fastest_envs
from vnl_mjx.analysis.benchmark.scale.tables import headline, markdown
from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing, write_json

RESULTS, TABLES, LOG = "gpu.json", "gpu.md", "gpu.log"
# How a job ended.
DONE, FAILED, TOO_LONG, NO_BUDGET = "done", "failed", "took too long", "cut by the budget"
# With less left nothing but imports would be done.
_LEAST_S = 20.0
# Of job, environments and file for its figures to the command of its process.
Command = Callable[[Job, int | None, Path], list[str]]


class Runner:
    """Runs jobs and keeps what they found.

    Attributes:
        document: what `gpu.json` holds: "machine", and by name the "jobs" with status, seconds and what
            was "found".
    """

    def __init__(
        self,
        out: Path,
        command: Command,
        default_envs: int,
        resume: bool,
        limit_s: float | None = None,
    ):
        """Reads what is there already, if `resume`.

        Args:
            out: folder of the results, made if need be.
            command: of the processes.
            default_envs: for a job of the fastest number of environments when none was measured.
            resume: keep the results that `out` has; else they are replaced.
            limit_s: seconds of every job; None: as its kind says.

        Raises:
            UserError: what is to be kept cannot be read.
        """
        self._out, self._command, self._default_envs = out, command, default_envs
        self._limit_s = limit_s
        out.mkdir(parents=True, exist_ok=True)
        file = out / RESULTS
        self.document: dict[str, Any] = {"machine": None, "jobs": {}}
        if resume and file.exists():
            try:
                self.document = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(
                    f"{file}: expected the results of an earlier call, found no JSON ({error}); "
                    "leave --resume out"
                ) from error
        elif not resume:
            (out / LOG).unlink(missing_ok=True)

    def run(self, jobs: Sequence[Job], budget_s: float) -> None:
        """Runs the jobs that have no result yet until the seconds are spent."""
        started = time.monotonic()
        for job in jobs:
            known = self.document["jobs"].get(job.name)
            if known and known["status"] != NO_BUDGET:
                print(f"{job.name}: {known['status']} before", flush=True)
                continue
            left = budget_s - (time.monotonic() - started)
            if left < _LEAST_S:
                print(f"the budget of {budget_s:.0f} s is spent before {job.name}", flush=True)
                break
            result = self._run(job, left)
            self.document["jobs"][job.name] = result
            self._save()
            elapsed = time.monotonic() - started
            line = f"[{elapsed:4.0f} s] {job.name}: {result['status']} in {result['seconds']:.0f} s"
            print(f"{line}; {headline(result)}", flush=True)

    def _run(self, job: Job, left: float) -> dict[str, Any]:
        width, limit = job.num_envs, self._limit_s or job.limit_s
        if job.kind in ("ratio", "profile") and width is None:
            width = fastest_envs(self.document["jobs"], job.backend, self._default_envs)
        print(f"{job.name} ...", flush=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "found.json"
            with (self._out / LOG).open("a") as log:
                log.write(f"\n==== {job.name}\n")
                log.flush()
                code = _run_process(self._command(job, width, file), log, min(left, limit))
            found = json.loads(file.read_text()) if file.exists() else {}
        self.document["machine"] = found.pop("machine", None) or self.document["machine"]
        status = FAILED if code else DONE
        if code is None:
            status = TOO_LONG if left >= limit else NO_BUDGET
        result = {"status": status, "seconds": time.monotonic() - started, "num_envs": width}
        if status == FAILED:
            result["error"] = _last_line(self._out / LOG)
        return result | {"found": found}

    def _save(self) -> None:
        write_json(self._out / RESULTS, self.document)
        with replacing(self._out / TABLES) as partial:
            partial.write_text(markdown(self.document), encoding="utf-8")


def _run_process(command: list[str], log: Any, timeout_s: float) -> int | None:
    """The exit status; None where it was ended for taking too long, with all that it had started."""
    # A group, and no session of its own: what ends this process's session ends it too.
    process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(log: Path) -> str:
    """What the log ends with: the error of a process that failed."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return (lines or [""])[-1][:300]
