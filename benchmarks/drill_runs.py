"""Small trainings for `fault_drill.py`, in forked processes that are killed at moments that are known.

A fork of a process that has imported everything starts in seconds. The child marks in shared memory what it
is doing, so that the drill knows in which phase a fault came, and can wait for one.
"""

import contextlib
import gc
import importlib
import json
import mmap
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PHASES = ("start", "compiling", "update", "checkpoint", "evaluation", "conclusion")
KINDS = ("distill", "train-teacher", "train-task")
TIMEOUT_S = 900
# Rows of the log hold times, and what compiling took; both differ from run to run.
_OF_THE_MACHINE = ("time/", "compile/", "memory/")


@dataclass
class Found:
    """What a drill found.

    Attributes:
        name: of the drill, and of the training.
        attempts: number of faults made.
        counts: of the faults by kind or phase, and of what followed.
        faults: one line each of what should not have been; none is a drill passed.
        notes: what else a reader should know.
    """

    name: str
    attempts: int = 0
    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        """Notes a fault, and says so at once."""
        self.faults.append(what)
        print(f"  FAULT {self.name}: {what}", flush=True)

    def expect(self, is_so: bool, what: str) -> None:
        """Notes a fault where something is not so."""
        if not is_so:
            self.fault(what)

    def made(self, what: str) -> None:
        """Counts one attempt."""
        self.attempts += 1
        self.counts[what] += 1


@dataclass
class Child:
    """One process of a drill.

    Attributes:
        pid: its number.
        log: the file that takes what it prints.
        marks: shared memory, whose first byte is the index of its phase.
        status: after its end, the exit status; of a process that a signal ended, minus that signal.
    """

    pid: int
    log: Path
    marks: mmap.mmap
    started: float = field(default_factory=time.monotonic)
    status: int | None = None

    @property
    def phase(self) -> str:
        """What it is doing."""
        return PHASES[self.marks[0]]

    @property
    def output(self) -> str:
        """What it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def has_ended(self) -> bool:
        """Returns whether it has ended; never waits."""
        if self.status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, seconds: float = TIMEOUT_S) -> int | None:
        """Waits until it ends and returns its status; one that hangs is killed, and None returned."""
        if not self.wait_for(lambda: False, seconds):
            self.send(signal.SIGKILL)
            self.wait_for(lambda: False, seconds)
            return None
        return self.status

    def wait_for(self, is_so: Callable[[], bool], seconds: float = TIMEOUT_S) -> bool:
        """Waits until something is so or the process has ended; returns whether either came in time."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and not is_so():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)  # a kill falls within so much of the moment that was meant
        return True

    def send(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if not self.has_ended():
            os.kill(self.pid, number)


def fork(function: Callable[[], Any], log: Path, marks: mmap.mmap | None = None) -> Child:
    """Runs a function in a process of its own; its result is the exit status."""
    marks = marks or mmap.mmap(-1, 1)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log, marks)
    status = 1
    try:
        with log.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        status = int(function() or 0)
        gc.collect()  # what a program's end would report of lost exceptions
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def in_child(function: Callable[[], Any], log: Path) -> Any:
    """Returns a JSON-able result of a function that may use JAX, which this process must not."""
    result = log.with_suffix(".json")
    child = fork(lambda: result.write_text(json.dumps(function())) and 0, log)
    if child.wait() != 0:
        raise RuntimeError(child.output)
    return json.loads(result.read_text())


def import_all() -> None:
    """Imports what trainings need, and leaves JAX without a device: only then forks can use one.

    Programs compile quickly, and also small ones are kept, so that most of a drill is spent in training.
    """
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    for name in (
        "matplotlib.figure",
        "mujoco.batch",
        "orbax.checkpoint",
        "vnl_mjx.cli",
        "vnl_mjx.commands.evaluate.eval_task",
        "vnl_mjx.commands.train.training_run",
        "vnl_mjx.report.pictures.training",
    ):
        importlib.import_module(name)


class ToyRuns:
    """Writes the inputs of the toy trainings once, and starts them."""

    def __init__(self, work: Path, num_checkpoints: int, kinds: Sequence[str] = KINDS):
        """Takes a folder for everything, the length of a training in checkpoints, and the trainings."""
        self.work, self.num_steps, self.kinds = work, 64 * num_checkpoints, kinds
        work.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("VNL_MJX_CACHE", str(work / "compiled"))

        self._count = 0
        self._overrides = in_child(self._write, work / "inputs.log")

    def words(self, kind: str, run_dir: Path, *more: str) -> list[str]:
        """Returns the command line of a training; the words `more` come last."""
        return [kind, *self._overrides[kind], f"run_dir={run_dir}", *more]

    def start(
        self,
        kind: str,
        run_dir: Path,
        *more: str,
        before: Callable[[], Any] | None = None,
    ) -> Child:
        """Starts a training; `before` runs first in its process."""
        marks = mmap.mmap(-1, 1)

        def run() -> int:
            from vnl_mjx.cli import main

            _mark_phases(marks)
            if before is not None:
                before()
            return main(self.words(kind, run_dir, *more))

        return fork(run, self.log(run_dir.name), marks)

    def command(self, *words: object) -> Child:
        """Starts any command of vnl-mjx."""

        def run() -> int:
            from vnl_mjx.cli import main

            return main([str(word) for word in words])

        return fork(run, self.log(str(words[0])))

    def log(self, name: str) -> Path:
        """Returns a new file for the output of a process."""
        self._count += 1
        return self.work / f"{self._count:04}-{name}.log"

    def differences(self, whole: Path, other: Path, rows_too: bool = True) -> list[str]:
        """Returns what differs in two finished runs: bits of the last training state, rows of the log."""
        return in_child(lambda: _differences(whole, other, rows_too), self.log("compare"))

    def _write(self) -> dict[str, list[str]]:
        from tests.toy_run import write_toy_run
        from tests.toy_teacher import toy_overrides
        from vnl_mjx.cli import main
        from vnl_mjx.config.imitation import WalkerConfig

        walker = WalkerConfig(
            source=str(ROOT / "tests" / "fixtures" / "toy_walker.xml"),
            joint_names=("hip_front", "ankle_front", "hip_back"),
            body_names=("torso", "leg_front", "foot_front", "foot_back"),
            end_effector_names=("foot_front", "foot_back"),
            rescale_factor=1.0,
        )
        often = [
            "checkpoint_config.interval_steps=64",
            "logging_config.interval_steps=64",
            "logging_config.progress=plain",
            "eval_config.interval_steps=192",
        ]
        student, teacher = self.work / "for_students", self.work / "for_teachers"
        student.mkdir(exist_ok=True)
        teacher.mkdir(exist_ok=True)
        distill = [*write_toy_run(student, walker), *often]
        if "train-task" in self.kinds:
            base = [f"run_dir={self.work / 'base'}", "training_config.num_steps=64"]
            if status := main(["distill", *distill, *base]):
                raise SystemExit(status)
        task = [
            "joystick",
            f"low_level={self.work / 'base'}",
            "network.policy_hidden_sizes=[16]",
            "network.value_hidden_sizes=[16]",
            "ppo.num_envs=8",
            "ppo.unroll_length=4",
            "ppo.action_repeat=1",
            "ppo.num_minibatches=2",
            "ppo.num_epochs=1",
            "cloning.num_steps=0",
            "eval_config.num_episodes=2",
            "eval_config.video_at_end=false",
        ]
        steps = self.num_steps
        return {
            "distill": [*distill, f"training_config.num_steps={steps}"],
            "train-teacher": [
                *toy_overrides(teacher, walker),
                *often,
                f"ppo.num_steps={steps}",
            ],
            "train-task": [*task, *often, f"ppo.num_steps={steps}"],
        }


def steps_in(run_dir: Path) -> list[int]:
    """Returns the steps of a run's complete checkpoints, in order."""
    folder = run_dir / "checkpoints"
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())


def is_writing(run_dir: Path) -> bool:
    """Returns whether a checkpoint is being written, or was when the process was killed."""
    return any((run_dir / "checkpoints").glob("*tmp*"))


def last_lines(child: Child, most: int = 3) -> str:
    """Returns the end of what a process printed, in one line."""
    return " | ".join(child.output.strip().splitlines()[-most:])


def _mark_phases(marks: mmap.mmap) -> None:
    """Wraps the steps of a training so that they note their phase."""
    from vnl_mjx.commands.train.distillation import Distillation
    from vnl_mjx.commands.train.task_training import TaskTraining
    from vnl_mjx.commands.train.teacher_training import TeacherTraining
    from vnl_mjx.commands.train.training_run import TrainingRun
    from vnl_mjx.training.trainer import Trainer

    def mark(owner: type, name: str, phase: str) -> None:
        function = getattr(owner, name)

        def marked(*arguments: Any, **options: Any) -> Any:
            before, marks[0] = marks[0], PHASES.index(phase)
            result = function(*arguments, **options)
            if phase != "compiling":
                marks[0] = before
            return result

        setattr(owner, name, marked)

    mark(Trainer, "start_compiling", "compiling")
    mark(Trainer, "train", "update")
    mark(TrainingRun, "_save", "checkpoint")
    mark(TrainingRun, "_conclude", "conclusion")
    for training in (Distillation, TeacherTraining, TaskTraining):
        mark(training, "evaluate", "evaluation")


def _differences(whole: Path, other: Path, rows_too: bool) -> list[str]:
    from vnl_mjx.checkpoints.arrays import read_arrays
    from vnl_mjx.commands.train.run_folder import read_metrics

    found, ends = [], [steps_in(run)[-1] for run in (whole, other)]
    if steps_in(whole) != steps_in(other) and rows_too:
        found.append(f"checkpoints kept {steps_in(whole)}, {steps_in(other)}")
    states = [
        read_arrays(run / "checkpoints" / str(end) / "state")
        for run, end in zip((whole, other), ends, strict=True)
    ]
    if states[0].keys() != states[1].keys() or ends[0] != ends[1]:
        return [*found, f"last state at {ends}, {len(states[0])} and {len(states[1])} arrays"]
    for name, array in states[0].items():
        if array.tobytes() != states[1][name].tobytes():
            found.append(f"state: {name}")
    if rows_too:
        rows = [[_learnt(row) for row in read_metrics(run)] for run in (whole, other)]
        steps = [[row["env_steps"] for row in run] for run in rows]
        if steps[0] != steps[1]:
            found.append(f"rows of the log at {_unlike(*steps)}")
        else:
            unlike = [a["env_steps"] for a, b in zip(*rows, strict=True) if a != b]
            found += [f"rows of the log differ at {unlike[:5]}"] if unlike else []
    return found


def _learnt(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith(_OF_THE_MACHINE)}


def _unlike(first: Sequence[int], second: Sequence[int]) -> str:
    return f"{sorted(set(first) ^ set(second))[:5]} ({len(first)} and {len(second)} rows)"
