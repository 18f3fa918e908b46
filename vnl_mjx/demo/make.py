"""Makes the bundled teacher and clips: every step is a command of `vnl-mjx`, printed as it is run.

    python -m vnl_mjx.demo.make RECORDING.h5 [--work runs/demo] [--general-steps N] [--final-steps N]

A teacher is trained on the recording and on made gait, then rolled out: what it does in the simulation
becomes the bundled clips, and a second training on these the bundled teacher. Steps whose output is there
are passed over, so that a stopped run goes on.
"""

import argparse
import shlex
import shutil
from pathlib import Path

import numpy as np

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main as vnl_mjx
from vnl_mjx.compat.track_mjx_loader import find_step, load_teacher
from vnl_mjx.compat.track_mjx_writer import NORMALIZER_KEYS, save_track_mjx
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER

GENERAL_STEPS, FINAL_STEPS = 10_000_000, 7_000_000

HELD_OUT = ("clip_2", "walk_medium", "turn_left_wide", "trot_fast")
# Heading rates, rad/s. Longer turns drift away from their clip before they end.
TURNS = {"turn_left_wide": 0.4, "turn_right_wide": -0.4, "turn_left": 0.7, "turn_right": -0.7}
# The second training begins near its end: no guide, and narrow exploration from the start.
FINE_TUNING = (
    "ppo.guidance=0",
    "ppo.action_std=1",
    "ppo.action_std_target=0.06",
    "ppo.adaptive_rate.target_kl=0.1",
)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recording", type=Path, help="real motion of the rodent, 50 Hz")
    parser.add_argument("--work", type=Path, default=Path("runs/demo"))
    parser.add_argument("--general-steps", type=int, default=GENERAL_STEPS)
    parser.add_argument("--final-steps", type=int, default=FINAL_STEPS)
    parser.add_argument("--held-out", action="store_true", help="keep some clips for a figure")
    args = parser.parse_args()
    work = args.work
    work.mkdir(parents=True, exist_ok=True)
    clips = make_motion(args.recording, work, args.held_out)
    train(work / "general", clips, args.general_steps)
    own = own_clips(work, clips)
    start = f"init_from={work / 'general' / 'teacher'}"
    train(work / "final", own, args.final_steps, start, *FINE_TUNING)
    if not args.held_out:
        bundle(work / "final" / "teacher", own)


def make_motion(recording: Path, work: Path, held_out: bool) -> Path:
    """The recording and made gait in one file."""
    real, gait, clips = work / "real.h5", work / "gait.h5", work / "clips.h5"
    once(real, "preprocess", recording, real)
    once(gait, "gait", gait, "--suite", "--seconds", "5.5")
    once(clips, "clips", "merge", real, gait, clips)
    if not held_out:
        return clips
    marked = work / "marked.h5"
    once(marked, "clips", "hold-out", clips, marked, "--names", *HELD_OUT)
    return marked


def own_clips(work: Path, clips: Path) -> Path:
    """What the general teacher does on the clips, and on short turns: those that it survives."""
    teacher, parts = work / "general" / "teacher", []
    long, turns = work / "own_long.h5", work / "turns.h5"
    once(long, "rollout", teacher, long, "--clips", clips, "--settle", "0", "--compact")
    for name, turn in TURNS.items():
        parts.append(part := work / f"{name}.h5")
        options = ("--speed", "0.15", "--turn", str(turn), "--clips", "4", "--seconds", "3.1")
        once(part, "gait", part, *options)
    once(turns, "clips", "merge", *parts, turns)
    own_turns, own = work / "own_turns.h5", work / "own.h5"
    once(own_turns, "rollout", teacher, own_turns, "--clips", turns, "--settle", "0", "--compact")
    once(own, "clips", "merge", long, own_turns, own, "--compact")
    return own


def train(run_dir: Path, clips: Path, num_steps: int, *overrides: str) -> None:
    """One training, gone on with where it was stopped."""
    files, steps = f"reference_config.paths=['{clips}']", f"ppo.num_steps={num_steps}"
    run("train-teacher", f"run_dir={run_dir}", files, steps, *overrides)


def bundle(teacher: Path, clips: Path) -> None:
    """Replaces what is bundled: the policy without what only training needs, and its clips."""
    loaded = load_teacher(teacher)
    folder, step = find_step(teacher)
    statistics = read_arrays(folder / "train_state")["normalizer_params"]
    shutil.rmtree(DEMO_TEACHER, ignore_errors=True)
    save_track_mjx(
        DEMO_TEACHER,
        step,
        loaded.policy.params,
        {name: statistics[name] for name in NORMALIZER_KEYS},
        loaded.raw_config,
        train_state={"env_steps": np.int32(step // 1000)},
    )
    shutil.copyfile(clips, DEMO_CLIPS)


def once(output: Path, *words: str | Path) -> None:
    """Runs a command unless its output is there."""
    if not output.exists():
        run(*words)


def run(*words: str | Path) -> None:
    """Runs a command of `vnl-mjx`; a failure ends the whole."""
    arguments = [str(word) for word in words]
    print("$ vnl-mjx " + shlex.join(arguments), flush=True)
    if status := vnl_mjx(arguments):
        raise SystemExit(status)


if __name__ == "__main__":
    main()
