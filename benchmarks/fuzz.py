"""Runs commands on damaged inputs of every kind, each in a process of its own, and checks the rules.

    uv run python benchmarks/fuzz.py [--cases N] [--seed N] [--case K] [--kind NAME] [--work FOLDER]

Rules for each input: exit status 0 or 2 (130 and 143 after signals) and no traceback; an end within 30 s; no
death by a signal; after a refusal nothing new lies at the output, and nothing temporary; inputs keep their
bytes; peak memory is at most that of the valid input plus four times the file plus 64 MB; nothing in a file is
executed. `--case K` runs one case again and prints what the command said; its input stays in FOLDER/case.

The package is loaded once, and each case runs in a fork. What Python does at the end of a process is not run.
"""

import argparse
import faulthandler
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

HANG_S = 30
SPARE_BYTES = 64 * 2**20  # of memory, for what a valid input does not touch
_ADDRESS_SPACE = 6 * 2**30  # beyond what the loaded package takes
_STATUSES = (0, 2, 130, 143)
_TEMPORARY = re.compile(r"\.partial|tmp|\.orbax-checkpoint-tmp")

for _name in (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
):  # a thread of the parent would not be forked
    os.environ.setdefault(_name, "1")
os.environ.setdefault("VNL_MJX_CACHE", "off")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np  # noqa: E402
from fuzz_inputs import Seed, make_seeds  # noqa: E402
from fuzz_mutations import damage, damage_folder, size_of  # noqa: E402


@dataclass
class Ended:
    """How a process ended."""

    status: int  # negative: signal
    seconds: float
    cpu_s: float
    peak_bytes: int
    output: str
    hung: bool = False


@dataclass
class Counts:
    """Counts of one kind of input."""

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    stopped: int = 0
    faults: int = 0
    seconds: float = 0.0
    most_over_base: int = 0


@dataclass
class Result:
    """Counts by kind, and faults by what they have in common."""

    counts: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    faults: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def preload() -> None:
    """Imports every module of the package; JAX does not open a device by that."""
    import vnl_mjx

    for module in pkgutil.walk_packages(vnl_mjx.__path__, "vnl_mjx."):
        importlib.import_module(module.name)
    for name in (
        "hydra",
        "omegaconf",
        "scipy.io",
        "scipy.io.matlab",
        "matplotlib.pyplot",
        "PIL.Image",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


class Fuzzer:
    """Makes cases from seeds and runs them."""

    def __init__(self, work: Path, seed: int):
        """Makes the valid inputs in `work`, unless they are there, and runs each once."""
        self.work, self.seed = work, seed
        self.inputs, self.canary = work / "inputs", work / "canary"
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "seeds.json").exists():
            shutil.rmtree(self.inputs, ignore_errors=True)
            self._fork(self._make, "making inputs", 600)
        self.seeds = [Seed(**item) for item in json.loads((work / "seeds.json").read_text())]
        self.base: dict[str, int] = {}

    def _make(self) -> int:
        seeds = make_seeds(self.inputs)
        (self.work / "seeds.json").write_text(json.dumps([asdict(one) for one in seeds]))
        return 0

    def _fork(self, function, what: str, limit_s: float) -> Ended:
        output = self.work / "output"
        ended = forked(function, output, limit_s)
        if ended.status != 0:
            raise SystemExit(f"{what} failed ({ended.status}):\n{ended.output[-3000:]}")
        return ended

    def measure(self, seeds: Sequence[Seed]) -> None:
        """Runs every command on valid inputs: its memory is the base, and it must not be refused."""
        known = self.work / "base.json"
        self.base = json.loads(known.read_text()) if known.exists() else {}
        for seed in seeds:
            for command in seed.commands:
                key = f"{seed.kind}/{seed.name}: {command}"
                if key in self.base:
                    continue
                case, _ = self._prepare(seed, None)
                ended = self._run(case, seed, command)
                wrong = self._broken(case, seed, ended, None)
                if ended.status not in (0, 130) or wrong:
                    print(
                        f"valid input refused ({ended.status}): {key}\n{ended.output[-1500:]} {wrong}"
                    )
                print(
                    f"{ended.cpu_s:6.2f} s {ended.peak_bytes / 1e6:6.0f} MB  {key[:150]}",
                    flush=True,
                )
                self.base[key] = ended.peak_bytes
                known.write_text(json.dumps(self.base, indent=1))

    def chosen(self, number: int, seeds: Sequence[Seed]) -> tuple[np.random.Generator, Seed, str]:
        """Returns the generator, seed and command of a case."""
        random = np.random.default_rng([self.seed, number])
        kinds = sorted({one.kind for one in seeds})
        weights = np.array([SHARES.get(kind, 1.0) for kind in kinds])
        kind = kinds[random.choice(len(kinds), p=weights / weights.sum())]
        own = [one for one in seeds if one.kind == kind]
        seed = own[random.integers(len(own))]
        shares = np.array(list(seed.commands.values()), float)
        return (
            random,
            seed,
            list(seed.commands)[random.choice(len(shares), p=shares / shares.sum())],
        )

    def case(self, number: int, seeds: Sequence[Seed]) -> tuple[Seed, str, str, Ended, str]:
        """Runs one case; returns its seed, command, damage, end, and the broken rule ("" if none)."""
        random, seed, command = self.chosen(number, seeds)
        folder, done = self._prepare(seed, random)
        before = snapshot(folder / "in")
        ended = self._run(folder, seed, command)
        broken = self._broken(folder, seed, ended, before, f"{seed.kind}/{seed.name}: {command}")
        if self.canary.exists():
            self.canary.unlink()
            broken = "executed what a file said"
        return seed, command, done, ended, broken

    def _prepare(self, seed: Seed, random) -> tuple[Path, str]:
        folder = self.work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.inputs / seed.kind / seed.name, folder / "in")
        for name in ("out", "cwd", "tmp", "home"):
            (folder / name).mkdir()
        if random is None:
            return folder, "valid"
        main = folder / "in" / seed.main
        files = sorted(path for path in (folder / "in").rglob("*") if path.is_file())
        if main.is_dir():
            return folder, damage_folder(random, main, self.canary)
        path = main if random.random() < 0.7 else files[random.integers(len(files))]
        return folder, damage(random, path, self.canary)

    def _run(self, folder: Path, seed: Seed, command: str) -> Ended:
        places = {
            "{all}": self.inputs,
            "{i}": folder / "in",
            "{o}": folder / "out",
            "{f}": folder / "in" / seed.main,
        }
        words: list[str] = []
        for word in command.split():
            if word == "{args}":
                lines = folder / "in" / seed.main
                text = lines.read_bytes() if lines.is_file() else b""
                words += [os.fsdecode(line.replace(b"\0", b"")) for line in text.split(b"\n")]
            else:
                for name, path in places.items():
                    word = word.replace(name, str(path))
                words.append(word)

        def command_line() -> int:
            os.chdir(folder / "cwd")
            os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"))
            tempfile.tempdir = None
            limit = _address_space() + _ADDRESS_SPACE
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            sys.argv = ["vnl-mjx", *words]
            _stop_trainings()
            from vnl_mjx.cli import main

            return main(words)

        return forked(command_line, folder / "output", HANG_S)

    def _broken(self, folder: Path, seed: Seed, ended: Ended, before, key: str = "") -> str:
        """Returns the rule that a case broke, with what tells its fault from others; "" if none."""
        where = f"{seed.kind}, {key.partition(': ')[2].split(' {')[0]}"
        if ended.hung:
            return f"hang: {_last_place(ended.output)} ({where})"
        if ended.status < 0:
            return f"signal {-ended.status}: {_last_place(ended.output)} ({where})"
        if "Traceback (most recent call last)" in ended.output or ended.status not in _STATUSES:
            return f"traceback: {_last_place(ended.output)}"
        if ended.status == 2 and "vnl-mjx: error: " not in ended.output:
            return f"refused without a word ({where})"
        if before is not None and snapshot(folder / "in") != before:
            return f"input changed ({where})"
        left = sorted(
            str(path.relative_to(folder))
            for name in ("out", "cwd", "tmp")
            for path in (folder / name).rglob("*")
        )
        if ended.status == 2:  # says why nothing was kept, and is wanted
            left = [name for name in left if not name.startswith("out/o.quality.")]
        if ended.status == 2 and left:
            return f"left behind: {re.sub(r'[0-9a-f]{6,}|[0-9]+', 'N', left[-1])} ({where})"
        if (
            any(name.startswith("tmp/") or ".partial" in name for name in left)
            and ended.status != 130
        ):
            return f"temporary left: {re.sub(r'[0-9]+', 'N', left[-1])} ({where})"
        if key:
            most = self.base[key] + 4 * size_of(folder / "in") + SPARE_BYTES
            if ended.peak_bytes > most:
                return f"memory ({where})"
        return ""


# how often a kind of input is chosen; others: 1
SHARES = {
    "runs": 0.7,
    "track-mjx checkpoints": 0.5,
    "records": 0.3,
    "configurations": 2.5,
    "key=value": 3.0,
}
SHARES |= {"clips": 3.0, "bodies": 1.2, "units": 1.5, "upstream clips": 1.3, "reports": 1.2}
SHARES |= {
    "key points: mat": 0.25,
    "key points: HDF5": 0.5,
    "key points: NWB": 0.4,
    "key points: npz": 0.7,
}
SHARES |= {
    "recordings: NWB": 0.3,
    "recordings: mat": 0.3,
    "recordings: npz": 1.3,
    "recordings: pickle": 1.3,
}


def _stop_trainings() -> None:
    """Ends a training when it has read its inputs, as Ctrl-C does."""
    from vnl_mjx.training.trainer import Trainer

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    Trainer.start_compiling = stop


def forked(function, output: Path, limit_s: float) -> Ended:
    """Runs a function in a fork with its output in a file; its result is the exit status."""
    sys.stdout.flush()
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        _child(function, output, limit_s)
    watch = os.pidfd_open(process)
    hung = not select.select([watch], [], [], limit_s)[0]
    os.close(watch)
    if hung:
        os.killpg(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - started
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    return Ended(
        os.waitstatus_to_exitcode(status),
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        text,
        hung,
    )


def _child(function, output: Path, limit_s: float) -> None:
    status = 1
    try:
        os.setsid()
        file = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(file, 1)
        os.dup2(file, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable()
        faulthandler.dump_traceback_later(limit_s - 1)
        status = function()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(int(status or 0) & 0xFF)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def snapshot(folder: Path) -> dict[str, str]:
    """Returns the hash of each file in a folder."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name)
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(path)] = hashlib.sha256(data).hexdigest()
    return found


def _last_place(output: str) -> str:
    """Returns the last line of the package in a traceback, and the kind of error."""
    places = re.findall(r'File "[^"]*?(vnl_mjx/[\w/.]+)", line (\d+)', output)
    first_thread = places[0] if "most recent call first" in output else places[-1:]
    place = ":".join(
        (first_thread if isinstance(first_thread, tuple) else first_thread[0]) if places else ("?",)
    )
    errors = re.findall(
        r"^((?:[\w]+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning|Iteration))\b",
        output,
        re.M,
    )
    return f"{place} {errors[-1] if errors else ''}"


def run(args: argparse.Namespace) -> int:
    """Runs the cases that the user asks for, prints counts and faults; returns the number of faults."""
    fuzzer = Fuzzer(args.work.resolve(), args.seed)
    seeds = [one for one in fuzzer.seeds if not args.kind or args.kind in f"{one.kind}/{one.name}"]
    fuzzer.measure(seeds)
    numbers = args.case or range(args.first, args.first + args.cases)
    result, started = Result(), time.monotonic()
    for number in numbers:
        seed, command, done, ended, broken = fuzzer.case(number, seeds)
        counts = result.counts[seed.kind]
        counts.inputs += 1
        counts.seconds += ended.cpu_s
        counts.refused += ended.status == 2
        counts.accepted += ended.status == 0
        counts.stopped += ended.status == 130
        over = ended.peak_bytes - fuzzer.base[f"{seed.kind}/{seed.name}: {command}"]
        counts.most_over_base = max(counts.most_over_base, over)
        if args.case:
            print(
                f"case {number}: {seed.kind}/{seed.name}: {done}\n  vnl-mjx {command}\n{ended.output[-6000:]}"
            )
            print(
                f"exit {ended.status}, {ended.seconds:.1f} s, {over / 1e6:+.0f} MB: {broken or 'no rule broken'}"
            )
        if broken:
            counts.faults += 1
            if len(result.faults[broken]) < 3:
                kept = fuzzer.work / "faults" / str(number)
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(fuzzer.work / "case", kept, symlinks=True)
            if not result.faults[broken]:
                print(
                    f"FAULT case {number}: {seed.kind}/{seed.name}: {done[:200]}\n  vnl-mjx {command[:150]}"
                )
                print(f"  {broken}\n  {ended.output.strip()[-300:]}", flush=True)
            result.faults[broken].append(number)
        if result.counts and sum(c.inputs for c in result.counts.values()) % 200 == 0:
            say(result, time.monotonic() - started)
    say(result, time.monotonic() - started, whole=True)
    return sum(map(len, result.faults.values()))


def say(result: Result, seconds: float, whole: bool = False) -> None:
    """Prints the counts so far, and in the end the tables."""
    total = sum(c.inputs for c in result.counts.values())
    faults = sum(map(len, result.faults.values()))
    print(
        f"{total} inputs in {seconds:.0f} s, {total / seconds:.1f} a second, {faults} faults of {len(result.faults)} kinds",
        flush=True,
    )
    if not whole:
        return
    print(
        "\n| input | inputs | refused | accepted | stopped after reading | faults | processor s each | MB over the base |\n|---|---|---|---|---|---|---|---|"
    )
    for kind, c in sorted(result.counts.items()):
        print(
            f"| {kind} | {c.inputs} | {c.refused} | {c.accepted} | {c.stopped} | {c.faults} | {c.seconds / c.inputs:.2f} | {c.most_over_base / 1e6:.0f} |"
        )
    sums = Counter()
    for c in result.counts.values():
        sums.update(
            inputs=c.inputs,
            refused=c.refused,
            accepted=c.accepted,
            stopped=c.stopped,
            faults=c.faults,
        )
    print(
        f"| all | {sums['inputs']} | {sums['refused']} | {sums['accepted']} | {sums['stopped']} | {sums['faults']} | {seconds / max(total, 1):.2f} | |"
    )
    for broken, cases in sorted(result.faults.items(), key=lambda item: -len(item[1])):
        print(f"{len(cases):5d}  {broken}: cases {', '.join(map(str, cases[:6]))}")


def main() -> int:
    """Reads the options; returns 1 if a rule was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", type=int, default=300)
    add("--first", type=int, default=0, help="number of the first case")
    add("--seed", type=int, default=0)
    add("--case", type=int, action="append", help="run this case alone; may be repeated")
    add(
        "--kind",
        default="",
        help="only inputs with this in their name (numbers then mean other cases)",
    )
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "vnl_mjx_fuzz")
    args = parser.parse_args()
    preload()
    return 1 if run(args) else 0


if __name__ == "__main__":
    sys.exit(main())
