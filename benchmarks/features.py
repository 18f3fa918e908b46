"""Features of many frames: ours, a plain Python loop over `mj_forward`, and the floor.

    uv run python benchmarks/features.py [--frames 100000] [--clips FILE] [--json]

Prints ratios measured in one run; the three are interleaved, so that a change of the machine's speed
meets all of them. The poses are those of the clips, over and over.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import mujoco
import mujoco.batch
import numpy as np

from vnl_mjx.clips.body_size import for_body
from vnl_mjx.clips.container import FEATURES
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.feet import foot_geoms
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.kinematics import kinematics_only, num_cores
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.config.preprocessing import ContactSection
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.walkers.walker import Walker, build_walker

RATE_HZ = 50.0
CLIP_FRAMES = 250
CHUNK_FRAMES = 25_000  # at a time: 60 MB of features, however long the recording is
LOOP_FRAMES = 3000  # of the slow one: its time per frame does not depend on how many
REPETITIONS = 5


def loop_features(walker: Walker, qpos: np.ndarray) -> dict[str, np.ndarray]:
    """The same features, as one would first write them: a loop over the frames of one clip."""
    model, data = walker.model, mujoco.MjData(walker.model)
    rule = for_body(ContactSection(), walker)
    geoms = foot_geoms(walker)
    rows: dict[str, list] = {name: [] for name in FEATURES}
    feet, heights = [], []
    for frame, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_forward(model, data)
        before, after = max(frame - 1, 0), min(frame + 1, len(qpos) - 1)
        qvel = np.zeros(model.nv)
        mujoco.mj_differentiatePos(
            model, qvel, (after - before) / RATE_HZ, qpos[before], qpos[after]
        )
        root, matrix = data.xpos[walker.root_body], data.xmat[walker.root_body].reshape(3, 3)
        rows["position"].append(pose[:3])
        rows["quaternion"].append(pose[3:7])
        rows["joints"].append(pose[7:])
        rows["velocity"].append(qvel[:3])
        rows["angular_velocity"].append(qvel[3:6])
        rows["joints_velocity"].append(qvel[6:])
        rows["body_positions"].append(data.xpos.copy())
        rows["body_quaternions"].append(data.xquat.copy())
        rows["center_of_mass"].append(data.subtree_com[model.jnt_bodyid[0]].copy())
        rows["end_effectors"].append((data.xpos[walker.end_effectors] - root) @ matrix)
        rows["appendages"].append((data.xpos[walker.appendages] - root) @ matrix)
        lowest = np.full(len(walker.feet), np.inf)
        for geom in geoms:
            turned = data.xmat[geom.body].reshape(3, 3)
            reach = np.abs(turned[2] @ (geom.axes * geom.half_axes))
            core = np.sqrt(reach @ reach) if geom.rounded else reach.sum()
            center = data.xpos[geom.body, 2] + turned[2] @ geom.position
            lowest[geom.foot] = min(lowest[geom.foot], center - core - geom.radius)
        heights.append(lowest - walker.floor_height)
        feet.append(data.xpos[walker.feet].copy())
    moved = np.gradient(np.array(feet), axis=0) * RATE_HZ
    low = np.array(heights) <= rule.height_m
    rows["contacts"] = list(low & (np.linalg.norm(moved, axis=-1) <= rule.speed))
    return {name: np.array(values, np.float32) for name, values in rows.items()}


def bare_forward(walker: Walker, qpos: np.ndarray) -> Callable[[], None]:
    """A function that runs MuJoCo's position stage on every frame, on all cores, and no more."""
    batch = mujoco.batch.Batch(kinematics_only(walker.model), 1024, nthread=num_cores())
    row = batch.bind("qpos")

    def run() -> None:
        for start in range(0, len(qpos) - len(row) + 1, len(row)):
            row[:] = qpos[start : start + len(row)]
            batch.forward(stage=mujoco.mjtStage.mjSTAGE_POS)

    return run


def measure(walker: Walker, qpos: np.ndarray) -> dict[str, list[float]]:
    """Frames per second of each, one number per repetition."""
    computer = FeatureComputer(walker)

    def features() -> None:
        for start in range(0, len(qpos), CHUNK_FRAMES):
            chunk = qpos[start : start + CHUNK_FRAMES]
            computer(chunk, [CLIP_FRAMES] * (len(chunk) // CLIP_FRAMES), RATE_HZ)

    floor = bare_forward(walker, qpos)
    whole_batches = len(qpos) - len(qpos) % 1024
    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "loop": (LOOP_FRAMES, lambda: loop_features(walker, qpos[:LOOP_FRAMES])),
        "floor": (whole_batches, floor),
        "features": (len(qpos), features),
    }
    for _, job in jobs.values():
        job()  # warm
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(REPETITIONS):
        for name, (count, job) in jobs.items():
            started = time.perf_counter()
            job()
            rates[name].append(count / (time.perf_counter() - started))
    return rates


def check_same(walker: Walker, qpos: np.ndarray) -> float:
    """Largest difference between the two over one clip."""
    ours = FeatureComputer(walker)(qpos[:CLIP_FRAMES], [CLIP_FRAMES], RATE_HZ)
    plain = loop_features(walker, qpos[:CLIP_FRAMES])
    return max(float(np.abs(ours[name] - plain[name]).max()) for name in FEATURES)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--clips", type=Path, default=DEMO_CLIPS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    walker = build_walker(WalkerConfig())
    poses = np.asarray(read_clips(args.clips, walker).qpos(), np.float64)
    frames = max(args.frames // CLIP_FRAMES, LOOP_FRAMES // CLIP_FRAMES + 1) * CLIP_FRAMES
    qpos = np.resize(poses, (frames, poses.shape[1]))
    difference = check_same(walker, qpos)
    rates = measure(walker, qpos)
    ratios = {
        "features / loop": np.divide(rates["features"], rates["loop"]),
        "features / floor": np.divide(rates["features"], rates["floor"]),
    }
    if args.json:
        print(json.dumps({"rates": rates, "ratios": {k: v.tolist() for k, v in ratios.items()}}))
        return
    print(f"{frames} frames, {num_cores()} cores, median (lowest-highest) of {REPETITIONS}")
    labels = {
        "loop": "Python loop over mj_forward, one thread",
        "floor": "floor: bare mujoco.batch, position stage",
        "features": "all features",
    }
    for name, values in rates.items():
        spread = f"{min(values):,.0f}-{max(values):,.0f}"
        print(f"{labels[name]:45s} {np.median(values):10,.0f} frames/s ({spread})")
    for name, values in ratios.items():
        print(f"{name:45s} {np.median(values):10.3f} ({values.min():.3f}-{values.max():.3f})")
    print(f"largest difference between loop and features: {difference:.1e}")


if __name__ == "__main__":
    main()
