"""Runs commands on damaged inputs of every kind, each in a process of its own, and checks the rules.

    uv run python benchmarks/fuzz.py [--cases N] [--seed N] [--jobs N] [--case K] [--work FOLDER]

Rules for each input: exit status 0 or 2 (130 and 143 after signals) and no traceback; an end within 30 s of
processor time and 120 s; no death by a signal; after a refusal nothing new lies at the output, and nothing
temporary anywhere; inputs keep their bytes; peak memory is at most that of the valid input, plus four times
the input, plus 64 MB; nothing in a file is executed. `--case K` runs one case again and says what the command
printed; its input stays in FOLDER/case-0. Inputs that broke a rule stay in FOLDER/faults.

The package is loaded once, and each case runs in a fork. What Python does at the end of a process is not run.
A training ends when it has read its inputs, as by Ctrl-C.
"""

import argparse
import contextlib
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

HANG_S = 30
LONGEST_WORD = 2**17 - 1  # bytes; Linux passes no longer one to a program
SPARE_BYTES = 64 * 2**20  # of memory, for what a valid input does not touch
ADDRESS_SPACE = 6 * 2**30  # beyond what the loaded package takes
STATUSES = (0, 2, 130, 143)
SAY_AFTER = 200

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # a thread would not be forked
    os.environ.setdefault(_name, "1")
os.environ.setdefault("VNL_MJX_CACHE", "off")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np  # noqa: E402
from fuzz_inputs import make_seeds  # noqa: E402
from fuzz_mutations import damage, damage_folder, size_of  # noqa: E402
from fuzz_process import Ended, forked, limit_memory  # noqa: E402
from fuzz_seed import SHARES, Seed  # noqa: E402


@dataclass
class Counts:
    """Counts of one kind of input."""

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    stopped: int = 0
    faults: int = 0
    cpu_s: float = 0.0
    most_over_base: int = 0

    def add(self, other: "Counts") -> None:
        """Adds what another process counted."""
        for name in (one.name for one in fields(self)):
            both = getattr(self, name), getattr(other, name)
            setattr(self, name, max(both) if name == "most_over_base" else sum(both))


@dataclass
class Result:
    """Counts by kind of input, and numbers of cases by the rule that they broke, and where."""

    counts: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    faults: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def total(self) -> Counts:
        """Returns the counts over all kinds."""
        total = Counts()
        for counts in self.counts.values():
            total.add(counts)
        return total


class Fuzzer:
    """Makes cases from valid inputs and runs them."""

    def __init__(self, work: Path, seed: int):
        """Makes the valid inputs in `work`, unless they are there."""
        self.work, self.seed, self.slot = work, seed, 0
        self.inputs = work / "inputs"
        if not (work / "seeds.json").exists():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            ended = forked(self._make, work / "making", 900)
            if ended.status != 0:
                raise SystemExit(f"the inputs were not made:\n{ended.output[-3000:]}")
        self.seeds = [Seed(**item) for item in json.loads((work / "seeds.json").read_text())]
        self.base: dict[str, int] = {}

    def _make(self) -> int:
        seeds = make_seeds(self.inputs)
        (self.work / "seeds.json").write_text(json.dumps([asdict(one) for one in seeds]))
        return 0

    def measure(self, seeds: Sequence[Seed]) -> None:
        """Runs every command on valid inputs, once: its memory is the base, and it must not be refused."""
        known = self.work / "base.json"
        self.base = json.loads(known.read_text()) if known.exists() else {}
        for seed in seeds:
            for command in seed.commands:
                key = _key(seed, command)
                if key in self.base:
                    continue
                folder, _ = self._prepare(seed, None)
                before = snapshot(folder / "in")
                ended = self._run(folder, seed, command)
                self.base[key] = ended.peak_bytes
                wrong = self._broken(folder, seed, command, ended, before)
                if ended.status not in (0, 130) or wrong:
                    print(f"valid input refused: {ended.status} {wrong}\n{ended.output[-1500:]}")
                print(
                    f"{ended.cpu_s:6.2f} s {ended.peak_bytes / 1e6:4.0f} MB  {key[:130]}",
                    flush=True,
                )
                known.write_text(json.dumps(self.base, indent=1))

    def case(self, number: int, seeds: Sequence[Seed]) -> tuple[Seed, str, str, Ended, str]:
        """Runs one case; returns its seed, command, damage, end, and the broken rule ("" if none)."""
        random = np.random.default_rng([self.seed, number])
        kinds = sorted({one.kind for one in seeds})
        kind = kinds[_drawn(random, [SHARES.get(kind, 1.0) for kind in kinds])]
        own = [one for one in seeds if one.kind == kind]
        seed = own[random.integers(len(own))]
        command = list(seed.commands)[_drawn(random, list(seed.commands.values()))]
        folder, done = self._prepare(seed, random)
        before = snapshot(folder / "in")
        ended = self._run(folder, seed, command)
        return seed, command, done, ended, self._broken(folder, seed, command, ended, before)

    def _prepare(self, seed: Seed, random: np.random.Generator | None) -> tuple[Path, str]:
        """Copies a valid input, and damages the copy."""
        folder = self.work / f"case-{self.slot}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.inputs / seed.kind / seed.name, folder / "in")
        for name in ("out", "cwd", "tmp", "home"):
            (folder / name).mkdir()
        if random is None:
            return folder, "valid"
        main, canary = folder / "in" / seed.main, folder / "canary"

        def damage_one() -> int:  # apart, for libraries can hang or crash on damage of damage too
            if main.is_dir():
                print(damage_folder(random, main, canary))
            else:
                files = sorted(path for path in (folder / "in").rglob("*") if path.is_file())
                path = main if random.random() < 0.7 else files[random.integers(len(files))]
                print(damage(random, path, canary))
            return 0

        ended = forked(damage_one, folder / "output", HANG_S)
        return folder, ended.output.strip() if ended.status == 0 else "damage that ended early"

    def _run(self, folder: Path, seed: Seed, command: str) -> Ended:
        words = _words(command, self.inputs, folder, folder / "in" / seed.main)

        def command_line() -> int:
            os.chdir(folder / "cwd")
            os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"))
            tempfile.tempdir, sys.argv = None, ["vnl-mjx", *words]
            limit_memory(ADDRESS_SPACE)
            _stop_trainings()
            from vnl_mjx.cli import main

            return main(words)

        return forked(command_line, folder / "output", HANG_S)

    def _broken(
        self, folder: Path, seed: Seed, command: str, ended: Ended, before: dict[str, str]
    ) -> str:
        """Returns the rule that a case broke, with what tells its fault from others; "" if none."""
        where = f"{seed.kind}/{seed.name}, {' '.join(command.split()[:2])}"
        if ended.hung:
            return f"hang: {_place(ended.output)} ({where})"
        if ended.status < 0:
            return f"signal {-ended.status}: {_place(ended.output)} ({where})"
        if "Traceback (most recent call last)" in ended.output or ended.status not in STATUSES:
            return f"traceback: {_place(ended.output)}"
        if ended.status == 2 and "vnl-mjx: error: " not in ended.output:
            return f"refused without a word ({where})"
        if snapshot(folder / "in") != before:
            return f"input changed ({where})"
        if (folder / "canary").exists():
            return f"executed what a file says ({where})"
        left = [path for name in ("out", "cwd", "tmp") for path in (folder / name).rglob("*")]
        names = sorted(str(path.relative_to(folder)) for path in left)
        if ended.status == 2:  # why nothing was kept is written, and wanted
            names = [name for name in names if not name.startswith("out/o.quality.")]
        elif ended.status == 0:
            names = [name for name in names if name.startswith("tmp/") or ".partial" in name]
        if names and ended.status in (0, 2):
            return f"left behind: {re.sub(r'[0-9a-f]{6,}|[0-9]+', 'N', names[-1])} ({where})"
        most = self.base[_key(seed, command)] + 4 * size_of(folder / "in") + SPARE_BYTES
        return f"memory ({where})" if ended.peak_bytes > most else ""

    def keep(self, number: int) -> None:
        """Keeps the folder of the last case."""
        kept = self.work / "faults" / str(number)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.work / f"case-{self.slot}", kept, symlinks=True)


def _key(seed: Seed, command: str) -> str:
    return f"{seed.kind}/{seed.name}: {command}"


def _drawn(random: np.random.Generator, shares: Sequence[float]) -> int:
    return int(random.choice(len(shares), p=np.array(shares) / sum(shares)))


def _words(command: str, inputs: Path, folder: Path, main: Path) -> list[str]:
    """Returns the words of a command, see `Seed`."""
    places = {"{all}": inputs, "{i}": folder / "in", "{o}": folder / "out", "{f}": main}
    words: list[str] = []
    for word in command.split():
        if word == "{args}":
            text = main.read_bytes() if main.is_file() else b""
            lines = text.replace(b"\0", b"").split(b"\n")
            words += [os.fsdecode(line[:LONGEST_WORD]) for line in lines]
            continue
        for name, path in places.items():
            word = word.replace(name, str(path))
        words.append(word)
    return words


def _stop_trainings() -> None:
    from vnl_mjx.training.trainer import Trainer

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    Trainer.start_compiling = stop  # type: ignore[method-assign]


def snapshot(folder: Path) -> dict[str, str]:
    """Returns the hash of each file in a folder; of a link, that of its target's name."""
    found = {}
    for at, _, names in os.walk(folder):
        for path in (Path(at, name) for name in names):
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(path)] = hashlib.sha256(data).hexdigest()
    return found


def _place(output: str) -> str:
    """Returns the innermost line of the package in a traceback, and the error."""
    places = re.findall(r'File "[^"]*?(vnl_mjx/[\w/.]+)", line (\d+)', output)
    place = ":".join(places[0 if "most recent call first" in output else -1]) if places else "?"
    error = r"^((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning|Iteration))\b"
    return f"{place} {(re.findall(error, output, re.M) or [''])[-1]}"


def run(
    fuzzer: Fuzzer,
    seeds: Sequence[Seed],
    numbers: Sequence[int],
    is_shown: bool,
    most_s: float = float("inf"),
) -> Result:
    """Runs cases one after another; prints the first of each fault, or everything if `is_shown`."""
    result, started = Result(), time.monotonic()
    for done, number in enumerate(numbers, 1):
        if time.monotonic() - started > most_s:
            break
        seed, command, what, ended, broken = fuzzer.case(number, seeds)
        over = ended.peak_bytes - fuzzer.base[_key(seed, command)]
        own = Counts(1, cpu_s=ended.cpu_s, faults=bool(broken), most_over_base=over)
        own.refused, own.accepted = int(ended.status == 2), int(ended.status == 0)
        own.stopped = int(ended.status in (130, 143))
        result.counts[seed.kind].add(own)
        if is_shown or (broken and not result.faults[broken]):
            print(f"{'FAULT ' * bool(broken)}case {number}: {seed.kind}/{seed.name}: {what[:300]}")
            print(f"  vnl-mjx {command[:200]}\n  {broken or 'no rule broken'}: exit {ended.status}")
            print(
                ended.output[-6000:] if is_shown else f"  {ended.output.strip()[-400:]}", flush=True
            )
            print(f"  {ended.seconds:.1f} s, {over / 1e6:+.0f} MB" * is_shown)
        if broken:
            result.faults[broken].append(number)
            if len(result.faults[broken]) <= 3:
                fuzzer.keep(number)
        if done % SAY_AFTER == 0:
            say(result, time.monotonic() - started)
    return result


def run_side_by_side(fuzzer: Fuzzer, seeds: Sequence[Seed], args: argparse.Namespace) -> Result:
    """Runs the cases in several processes; returns their results together."""
    started, workers, result = time.monotonic(), [], Result()
    for slot in range(args.jobs):
        (fuzzer.work / f"result-{slot}.json").unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            fuzzer.slot = slot
            numbers = range(args.first + slot, args.first + args.cases, args.jobs)
            own = run(fuzzer, seeds, numbers, False, 60.0 * args.minutes)
            counts = {kind: asdict(one) for kind, one in own.counts.items()}
            found = json.dumps({"counts": counts, "faults": own.faults})
            (fuzzer.work / f"result-{slot}.json").write_text(found)
            sys.stdout.flush()
            os._exit(0)
        workers.append(process)
    for slot, process in enumerate(workers):
        os.waitpid(process, 0)
        found = json.loads((fuzzer.work / f"result-{slot}.json").read_text())
        for kind, counts in found["counts"].items():
            result.counts[kind].add(Counts(**counts))
        for broken, numbers in found["faults"].items():
            result.faults[broken] = sorted(result.faults[broken] + numbers)
    say(result, time.monotonic() - started)
    return result


def say(result: Result, seconds: float) -> None:
    """Prints one line on the cases so far."""
    num, kinds = result.total(), sum(map(bool, result.faults.values()))
    rate = f"{num.inputs} inputs in {seconds:.0f} s, {num.inputs / seconds:.1f} a second"
    print(f"{rate}, {num.faults} faults of {kinds} kinds", flush=True)


def print_tables(result: Result) -> None:
    """Prints counts by kind of input as Markdown, and the faults."""
    print(
        "\n| input | inputs | refused | accepted | stopped after reading | faults | s each | MB over base |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind, c in [*sorted(result.counts.items()), ("all", result.total())]:
        row = (kind, c.inputs, c.refused, c.accepted, c.stopped, c.faults)
        each = f"{c.cpu_s / max(c.inputs, 1):.2f}"
        print("|", " | ".join(map(str, (*row, each, f"{c.most_over_base / 1e6:.0f}"))), "|")
    for broken, cases in sorted(result.faults.items(), key=lambda item: -len(item[1])):
        if cases:
            print(f"{len(cases):5d}  {broken}: cases {', '.join(map(str, cases[:6]))}")


def preload() -> None:
    """Imports every module of the package; JAX opens no device by that."""
    import vnl_mjx
    from vnl_mjx.errors import UserError

    for module in pkgutil.walk_packages(vnl_mjx.__path__, "vnl_mjx."):
        with contextlib.suppress(UserError, ModuleNotFoundError):  # an extra is not installed
            importlib.import_module(module.name)
    for name in ("hydra", "omegaconf", "scipy.io", "matplotlib.pyplot", "PIL.Image"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main() -> int:
    """Reads the options; returns 1 if a rule was broken."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--cases", type=int, default=300)
    add("--first", type=int, default=0, help="number of the first case")
    add("--seed", type=int, default=0)
    add("--jobs", type=int, default=1, help="processes side by side")
    add("--minutes", type=float, default=float("inf"), help="stop after so long")
    add("--case", type=int, action="append", help="run this case alone; may be repeated")
    add(
        "--kind",
        default="",
        help="only inputs with this in their name; numbers then mean other cases",
    )
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "vnl_mjx_fuzz")
    args = parser.parse_args()
    preload()
    fuzzer = Fuzzer(args.work.resolve(), args.seed)
    seeds = [one for one in fuzzer.seeds if args.kind in f"{one.kind}/{one.name}"]
    fuzzer.measure(seeds)
    if args.case:
        result = run(fuzzer, seeds, args.case, is_shown=True)
    else:
        result = run_side_by_side(fuzzer, seeds, args)
        print_tables(result)
    return 1 if result.total().faults else 0


if __name__ == "__main__":
    sys.exit(main())
