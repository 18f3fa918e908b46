"""Makes the bundled teacher and clips: every step is a command of `vnl-mjx`, printed as it is run.

    python -m vnl_mjx.demo.make RECORDING.h5 [--work runs/demo] [--first-steps N] [--final-steps N]

Controls are searched for that follow the recording and made gait in the simulation (`vnl-mjx plan`): what
comes of it are the bundled clips, and a teacher is trained on them, at first with few environments. Steps
whose output is there are passed over, so that a stopped run goes on.
"""

import argparse
import json
import shlex
import shutil
from pathlib import Path

import numpy as np

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main as vnl_mjx
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.compat.track_mjx_loader import find_step, load_teacher
from vnl_mjx.compat.track_mjx_writer import NORMALIZER_KEYS, save_track_mjx
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.evaluation.prior_rollouts import neutral_clip
from vnl_mjx.gait.parameters import smooth_step
from vnl_mjx.walkers.layout import FreeRoot
from vnl_mjx.walkers.walker import build_walker

FIRST_STEPS, FINAL_STEPS = 1_000_000, 7_000_000

HELD_OUT = ("clip_2", "walk_medium", "turn_left_wide", "trot_fast")
# No marker reaches them: without this the tail hangs through the floor and the mouth is open.
UNMARKED = (
    "conditioning_config.tail=carried",
    "conditioning_config.joint_angles.mandible=-0.28",
)
# Made motion that also begins in the neutral pose, from which a student's prior is judged.
FROM_NEUTRAL = ("stand", "stand_again", "start_walk", "start_stop")
NEUTRAL_S, BLEND_S = 0.4, 0.8  # seconds in it, and from it into the motion
# Tail and jaw as in the clips: the tracked joints and bodies of track-mjx say next to nothing of them.
REWARD = {
    "tail": {
        "function": "body_tracking",
        "weight": 0.3,
        "arguments": {"bodies": ["vertebra_C8", "vertebra_C16", "vertebra_C30"], "scale": 150.0},
    },
    "jaw": {
        "function": "joint_tracking",
        "weight": 0.1,
        "arguments": {"joints": ["mandible"], "scale": 50.0},
    },
    "below_floor": {"weight": -10.0, "arguments": {"margin": 0.01}},
}
TASK = (
    # as Hydra writes a mapping
    "task.reward.terms=" + json.dumps(REWARD).replace('"', ""),
)
PUSHES = ("sampling.push_interval_s=1", "sampling.push_speed=0.1")
# Few environments: a teacher is short of gradient steps at first, not of motion.
FROM_NOTHING = (
    "ppo.num_envs=128",
    "ppo.guidance.end_step=400000",
    "ppo.action_std.start_step=400000",
    "ppo.action_std.end_step=700000",
)
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
    parser.add_argument("--first-steps", type=int, default=FIRST_STEPS)
    parser.add_argument("--final-steps", type=int, default=FINAL_STEPS)
    parser.add_argument("--held-out", action="store_true", help="keep some clips for a figure")
    args = parser.parse_args()
    work = args.work
    work.mkdir(parents=True, exist_ok=True)
    clips, own = make_motion(args.recording, work, args.held_out), work / "own.h5"
    once(own, "plan", clips, own, "--compact")
    train(work / "first", own, args.first_steps, *TASK, *FROM_NOTHING)
    start = f"init_from={work / 'first' / 'teacher'}"
    train(work / "final", own, args.final_steps, start, *TASK, *PUSHES, *FINE_TUNING)
    if not args.held_out:
        bundle(work / "final" / "teacher", own)


def make_motion(recording: Path, work: Path, held_out: bool) -> Path:
    """The recording and made gait in one file."""
    real, gait, neutral = work / "real.h5", work / "gait.h5", work / "neutral.h5"
    clips = work / "clips.h5"
    once(real, "preprocess", recording, real, *UNMARKED)
    once(gait, "gait", gait, "--suite", "--seconds", "5.5")
    if not neutral.exists():
        run("preprocess", *from_neutral(gait, work), neutral)
    once(clips, "clips", "merge", real, gait, neutral, clips)
    if not held_out:
        return clips
    marked = work / "marked.h5"
    once(marked, "clips", "hold-out", clips, marked, "--names", *HELD_OUT)
    return marked


def from_neutral(gait: Path, work: Path) -> list[Path]:
    """Files of made motion that begins in the neutral pose and goes over into a clip of `gait`."""
    walker = build_walker(WalkerConfig())
    clips, made = read_clips(gait, walker), []
    rate = clips.rate_hz
    still, blend = round(NEUTRAL_S * rate), round(BLEND_S * rate)
    neutral = np.asarray(neutral_clip(walker, 1, rate).qpos())
    for name in FROM_NEUTRAL:
        start = int(np.asarray(clips.starts)[clips.names.index(name)])
        length = int(np.asarray(clips.lengths)[clips.names.index(name)]) - still
        qpos = np.asarray(clips.qpos())[start : start + length]
        qpos = np.concatenate([np.repeat(qpos[:1], still, axis=0), qpos])
        share = smooth_step((np.arange(len(qpos)) - still) / blend)[:, None]
        mixed = neutral + share * (qpos - neutral)
        mixed[:, :2] = qpos[:, :2]  # feet stay where they are put
        quaternion = mixed[:, FreeRoot.quaternion]
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        made.append(work / f"{name}_from_neutral.npz")
        np.savez(made[-1], qpos=mixed, rate_hz=rate)
    return made


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
