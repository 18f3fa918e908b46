"""Makes the bundled teacher and clips anew from those of before, by commands of `vnl-mjx` that it prints.

    python -m vnl_mjx.demo.make [--work runs/demo] [--steps N,N,...]

The clips of before are given another tail and jaw, and made motion is added. The teacher of before, whose
tail and jaw are held at first, learns to follow them. What it then does, where it can do it again, are the
clips of the next stage; the last stage adds pushes. Steps whose output is there are passed over, so that a
stopped run goes on.
"""

import argparse
import copy
import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
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

STEPS = (3_000_000, 3_000_000, 6_000_000)

# No marker reaches them: without this the tail hangs through the floor and the mouth is open. A simulated
# body goes a little beyond its joints' limits; those clips are kept.
UNMARKED = (
    "conditioning_config.tail=carried",
    "conditioning_config.joint_angles.mandible=-0.28",
    "quality_config.joint_limit_rad=null",
    "quality_config.joint_limit_share=null",
)
# Made motion that the clips of before lack: turns of five seconds, and steps to the side.
ADDED = ("turn_on_the_spot_right", "sidestep_left", "sidestep_right")
BENDS = {"bend_left": "0.5", "bend_right": "-0.5"}  # rad/s, at 0.13 m/s
# Made motion that begins in the neutral pose, from which a student's prior is judged.
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
# A teacher that can walk: narrow exploration from the start, no guide, and small steps, of which few are
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
REPEATED = ("--drift", "0.3", "--attempts", "4", "--compact")
PUSHES = ("sampling.push_interval_s=1", "sampling.push_speed=0.1")
# Controls that carry tail and jaw, the means of what `vnl-mjx plan` found. PPO would need a million steps to
# get there: an update moves the policy by a fraction of its exploration's width.
HELD = {"caudal_extend": 0.95, "mandible": -0.75}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=DEMO_TEACHER, help="of before")
    parser.add_argument("--clips", type=Path, default=DEMO_CLIPS, help="of before")
    parser.add_argument("--work", type=Path, default=Path("runs/demo"))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="of each stage")
    args = parser.parse_args()
    work = args.work
    work.mkdir(parents=True, exist_ok=True)
    clips, teacher = make_motion(args.clips, work), work / "held"
    if not teacher.exists():
        hold(args.teacher, teacher)
    *stages, last = (int(steps) for steps in args.steps.split(","))
    for stage, steps in enumerate(stages, 1):
        train(work / f"stage_{stage}", clips, steps, teacher)
        teacher, own = work / f"stage_{stage}" / "teacher", work / f"own_{stage}.h5"
        once(own, "rollout", teacher, own, "--clips", clips, *REPEATED)
        clips = own
    train(work / "final", clips, last, teacher, *PUSHES)
    bundle(work / "final" / "teacher", clips)


def make_motion(before: Path, work: Path) -> Path:
    """The clips of before and made motion in one file."""
    carried, gait, neutral = work / "carried.h5", work / "gait.h5", work / "neutral.h5"
    added, clips = work / "added.h5", work / "clips.h5"
    once(carried, "preprocess", before, carried, *UNMARKED)
    once(gait, "gait", gait, "--suite", "--seconds", "5.5")
    once(added, "clips", "select", gait, added, "--clips", numbers(gait, ADDED))
    if not neutral.exists():
        run("preprocess", *from_neutral(gait, work), neutral)
    bends = [work / f"{name}.h5" for name in BENDS]
    for bend, turn in zip(bends, BENDS.values(), strict=True):
        once(bend, "gait", bend, "--seconds", "5.5", "--speed", "0.13", f"--turn={turn}")
    once(clips, "clips", "merge", carried, added, *bends, neutral, clips)
    return clips


def numbers(file: Path, names: Sequence[str]) -> str:
    """Of the clips of these names in a file, as `vnl-mjx clips` takes them."""
    found = read_clips(file, build_walker(WalkerConfig())).names
    return ",".join(str(found.index(name)) for name in names)


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


def train(run_dir: Path, clips: Path, num_steps: int, start: Path, *overrides: str) -> None:
    """One training, gone on with where it was stopped."""
    files, steps = f"reference_config.paths=['{clips}']", f"ppo.num_steps={num_steps}"
    given = (f"run_dir={run_dir}", files, steps, f"init_from={start}", *TASK, *FINE_TUNING)
    run("train-teacher", *given, *overrides)


def hold(teacher: Path, output: Path) -> None:
    """Writes a teacher whose actuators of `HELD` rest there, until it learns otherwise."""
    loaded = load_teacher(teacher)
    params = jax.tree.map(np.array, loaded.policy.params)
    config, model = loaded.policy.config, build_walker(loaded.task.walker).model
    layer = params["params"]["decoder"][f"hidden_{len(config.decoder_hidden_sizes)}"]
    for name, control in HELD.items():
        column = model.actuator(name).id
        layer["kernel"][:, column] = 0.0
        layer["bias"][column] = np.arctanh(control)
    save_policy(teacher, output, params, loaded.raw_config)


def bundle(teacher: Path, clips: Path) -> None:
    """Replaces what is bundled: the policy without what only training needs, and its clips."""
    bundle_policy(teacher, DEMO_TEACHER)
    shutil.copyfile(clips, DEMO_CLIPS)


def bundle_policy(teacher: Path, output: Path) -> None:
    """Replaces a bundled policy."""
    shutil.rmtree(output, ignore_errors=True)
    loaded = load_teacher(teacher)
    config = copy.deepcopy(loaded.raw_config)
    config["vnl_mjx"]["task"]["reward"]["terms"] = {}
    config["data_path"] = DEMO_CLIPS.name
    save_policy(teacher, output, loaded.policy.params, config)


def save_policy(teacher: Path, output: Path, params: Any, config: dict[str, Any]) -> None:
    """Writes a checkpoint with the step and the statistics of `teacher`, without its state of training."""
    folder, step = find_step(teacher)
    stored = read_arrays(folder / "policy")["0"]
    save_track_mjx(
        output,
        step,
        params,
        {name: stored[name] for name in NORMALIZER_KEYS},
        config,
        train_state={"env_steps": np.int32(step // 1000)},
    )


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
