"""Remakes the bundled teacher and clips from the previous ones, with commands of `vnl-mjx` that it prints.

    python -m vnl_mjx.demo.make [--work runs/demo] [--steps N,N,N]

The clips combine sitting and looking up from the previous clips with newly made motion. The previous
teacher learns to track them, and its successful rollouts become the bundled clips. It is then trained on
those with pushes, at last with a falling learning rate. Steps whose output exists are skipped, so a stopped
run resumes.
"""

import argparse
import copy
import fnmatch
import json
import shlex
import shutil
from pathlib import Path

import numpy as np

from vnl_mjx.cli import main as vnl_mjx
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.compat.track_mjx_loader import load_teacher
from vnl_mjx.compat.track_mjx_writer import NORMALIZER_KEYS, save_track_mjx
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.evaluation.prior_rollouts import neutral_clip
from vnl_mjx.gait.parameters import smooth_step
from vnl_mjx.walkers.layout import FreeRoot
from vnl_mjx.walkers.walker import build_walker

STEPS = (1_500_000, 1_200_000, 800_000)

# Previous clips that do not come from made motion, or that this file cannot remake.
KEPT = ("clip_*", "look_up*")
BENDS = {"bend_left": "0.5", "bend_right": "-0.5"}  # rad/s, at 0.13 m/s
# Made motion that begins in the neutral pose, from which a student's prior is judged.
FROM_NEUTRAL = ("stand", "stand_again", "start_walk", "start_stop")
NEUTRAL_S, BLEND_S = 0.4, 0.8  # seconds in it, and from it into the motion
# Of the behaviour of each, other clips are trained on.
HELD_OUT = ("clip_2", "stand_again", "walk_medium", "start_stop", "trot_to_walk", "*walk_1")
# Tracks tail and jaw, which track-mjx's tracked joints and bodies hardly cover.
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
# For a teacher that can walk: narrow exploration from the start, no guide, and small updates with little
# noise.
FINE_TUNING = (
    "ppo.num_envs=256",
    "ppo.guidance=0",
    "ppo.action_std=1",
    "ppo.action_std_target=0.06",
    "ppo.adaptive_rate.target_kl=0.05",
    "ppo.gae_lambda=0.9",
    "sampling.failure_weighting=0.15",
)
SETTLING = (
    "ppo.adaptive_rate.target_kl=null",
    "ppo.learning_rate={start: 5e-5, value: 3e-6, start_step: 0.1, end_step: 1}",
)
REPEATED = ("--drift", "0.3", "--attempts", "4", "--compact")
PUSHES = ("sampling.push_interval_s=2", "sampling.push_speed=0.1")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=DEMO_TEACHER, help="of before")
    parser.add_argument("--clips", type=Path, default=DEMO_CLIPS, help="of before")
    parser.add_argument("--work", type=Path, default=Path("runs/demo"))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="of each stage")
    args = parser.parse_args()
    work = args.work
    work.mkdir(parents=True, exist_ok=True)
    made, own, clips = make_motion(args.clips, work), work / "own.h5", work / "own_marked.h5"
    steps = iter(args.steps.split(","))
    first = train(work / "first", args.teacher, made, next(steps))
    once(own, "rollout", first, own, "--clips", made, *REPEATED)
    names = read_clips(own, build_walker(WalkerConfig())).names
    held_out = [pattern for pattern in HELD_OUT if fnmatch.filter(names, pattern)]
    once(clips, "clips", "hold-out", own, clips, "--names", *held_out)
    pushed = train(work / "pushed", first, clips, next(steps), *PUSHES)
    teacher = train(work / "settled", pushed, clips, next(steps), *PUSHES, *SETTLING)
    bundle(teacher, clips)


def make_motion(before: Path, work: Path) -> Path:
    """Writes the kept previous clips and the made motion into one file."""
    parts = []
    for pattern in KEPT:
        parts.append(work / f"{pattern.rstrip('_*')}.h5")
        once(parts[-1], "clips", "select", before, parts[-1], "--names", pattern)
    suite, gait = work / "suite.h5", work / "gait.h5"
    neutral, clips = work / "neutral.h5", work / "made.h5"
    once(suite, "gait", suite, "--suite", "--seconds", "5.5")
    names = read_clips(suite, build_walker(WalkerConfig())).names
    # a rearing clip tracked without rising would have a wrong label
    chosen = [str(clip) for clip, name in enumerate(names) if not name.startswith("rear")]
    once(gait, "clips", "select", suite, gait, "--clips", ",".join(chosen))
    if not neutral.exists():
        run("preprocess", *from_neutral(gait, work), neutral)
    parts += [gait, neutral]
    for bend, turn in BENDS.items():
        parts.append(work / f"{bend}.h5")
        path = ("--speed", "0.13", f"--turn={turn}")
        once(parts[-1], "gait", parts[-1], "--clips", "3", "--seconds", "5.5", *path)
    once(clips, "clips", "merge", *parts, clips)
    return clips


def from_neutral(gait: Path, work: Path) -> list[Path]:
    """Makes files of motion that starts in the neutral pose and blends into a clip of `gait`."""
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


def train(run_dir: Path, start: Path, clips: Path, num_steps: str, *settings: str) -> Path:
    """Fine-tunes a teacher on clips, resuming a stopped run, and returns the new teacher."""
    files, steps = f"clips=['{clips}']", f"ppo.num_steps={num_steps}"
    given = (f"run_dir={run_dir}", files, steps, f"init_from={start}")
    run("train-teacher", *given, *TASK, *FINE_TUNING, *settings)
    return run_dir / "teacher"


def bundle(teacher: Path, clips: Path) -> None:
    """Replaces the bundled policy, without its training state, and the bundled clips."""
    bundle_policy(teacher, DEMO_TEACHER)
    shutil.copyfile(clips, DEMO_CLIPS)


def bundle_policy(teacher: Path, output: Path) -> None:
    """Replaces a bundled policy, without its training state."""
    shutil.rmtree(output, ignore_errors=True)
    loaded = load_teacher(teacher)
    config = copy.deepcopy(loaded.raw_config)
    config["vnl_mjx"]["task"]["reward"]["terms"] = {}
    config["data_path"] = DEMO_CLIPS.name
    save_track_mjx(
        output,
        loaded.step,
        loaded.policy.params,
        {name: loaded.statistics[name] for name in NORMALIZER_KEYS},
        config,
        train_state={"env_steps": np.int32(loaded.step // 1000)},
    )


def once(output: Path, *words: str | Path) -> None:
    """Runs a command unless its output exists."""
    if not output.exists():
        run(*words)


def run(*words: str | Path) -> None:
    """Runs a command of `vnl-mjx`; a failure ends the script."""
    arguments = [str(word) for word in words]
    print("$ vnl-mjx " + shlex.join(arguments), flush=True)
    if status := vnl_mjx(arguments):
        raise SystemExit(status)


if __name__ == "__main__":
    main()
