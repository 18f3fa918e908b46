"""Makes the fuzzer's valid inputs of motion: clips, recordings, key points."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fuzz_seed import ANY, BODY, LENIENT, RATE_HZ, Seed, seed_folder, toy_body, toy_clips

_READ_CLIPS = {
    "inspect {f}": 6,
    "inspect {f} --json": 2,
    "clips split {f} {o}/o.h5 --seconds 0.1": 1,
    "clips select {f} {o}/o.h5 --clips 0": 1,
    "clips select {f} {o}/o.h5 --names *": 1,
    "clips merge {f} {f} {o}/o.h5": 1,
    "clips merge {f} {o}/o.h5 --compact": 1,
    "clips hold-out {f} {o}/o.h5 --fraction 0.5": 1,
    "clips export {f} {o}/o.h5 --to stac": 1,
    "clips export {f} {o}/o.h5 --to all-clips": 1,
    "view {f} --output {o}/o.gif --size 64x64 --seconds 0.05": 0.1,
}
_PREPROCESS = f"preprocess {{f}} {{o}}/o.h5 walker_config.mjcf_path={BODY} "
_TO_CLIPS = {
    _PREPROCESS + ANY: 1,
    _PREPROCESS + ANY + "source_config.rate_hz=40 output_config.report=false": 6,
}


def clip_seeds(folder: Path) -> Iterator[Seed]:
    """Our clip files, and those of upstream."""
    from stac_files import smooth_poses, stac_datasets, write_h5

    from vnl_mjx.cli import main
    from vnl_mjx.config.imitation import WalkerConfig
    from vnl_mjx.walkers.walker import build_walker

    clips, arm, rat = toy_clips(folder), toy_body(folder, "arm"), build_walker(WalkerConfig())
    low, high = arm.model.jnt_range.T
    swing = 0.2 * np.sin(np.arange(24)[:, None] / 12 + np.arange(arm.nq))
    poses = {
        "toy": (np.asarray(clips.qpos()), [f"walker_config.mjcf_path={folder}/body/toy.yaml"]),
        "arm": (
            (low + high) / 2 + swing * (high - low),
            [f"walker_config.mjcf_path={folder}/body/arm.yaml"],
        ),
        "rodent": (smooth_poses(rat, 12), []),
    }
    for name, (qpos, settings) in poses.items():
        made = folder / "body" / f"{name}.npz"
        np.savez(made, qpos=qpos, rate_hz=RATE_HZ)
        place = seed_folder(folder, "clips", name) / "clips.h5"
        cut = [
            "segmentation_config.clip_s=0.1",
            "segmentation_config.min_s=0.1",
            "output_config.report=false",
        ]
        assert main(["preprocess", str(made), str(place), *LENIENT, *cut, *settings]) == 0
        own = (
            {"clips mirror {f} {o}/o.h5": 1} if name != "toy" else {}
        )  # whose legs have no partners
        own |= {f"preprocess {{f}} {{o}}/o.h5 {ANY}": 1} if name == "rodent" else {}
        yield Seed("clips", name, "clips.h5", _READ_CLIPS | own)
    compact = seed_folder(folder, "clips", "compact") / "clips.h5"
    assert (
        main(["clips", "merge", str(folder / "clips/toy/clips.h5"), str(compact), "--compact"]) == 0
    )
    yield Seed("clips", "compact", "clips.h5", _READ_CLIPS)

    made = seed_folder(folder, "upstream clips", "stac") / "stac.h5"
    write_h5(made, stac_datasets(clips))
    own = {
        "inspect {f}": 6,
        f"clips split {{f}} {{o}}/o.h5 --seconds 0.1 --mjcf {BODY}": 1,
        **_TO_CLIPS,
    }
    yield Seed("upstream clips", "stac", "stac.h5", own)
    for layout in ("stac", "all-clips"):
        made = seed_folder(folder, "upstream clips", layout + "-ours") / "a.h5"
        toy = folder / "clips" / "toy" / "clips.h5"
        assert main(["clips", "export", str(toy), str(made), "--to", layout]) == 0
        yield Seed("upstream clips", layout + "-ours", "a.h5", own)
    made = seed_folder(folder, "upstream clips", "dm-control") / "a.h5"
    rodent = folder / "clips" / "rodent" / "clips.h5"
    assert main(["clips", "export", str(rodent), str(made), "--to", "dm-control"]) == 0
    yield Seed(
        "upstream clips",
        "dm-control",
        "a.h5",
        {"inspect {f}": 1, "preprocess {f} {o}/o.h5 " + ANY: 1},
    )


def recording_seeds(folder: Path) -> Iterator[Seed]:
    """Poses in the layouts of other projects."""
    import scipy.io

    walker, clips = toy_body(folder), toy_clips(folder)
    qpos = np.asarray(clips.qpos())
    names = np.array(walker.joint_names)
    parts = {"root_pos": qpos[:, :3], "root_quat": qpos[:, 3:7], "joint_pos": qpos[:, 7:]}
    gmr = {
        "fps": 50,
        "root_pos": qpos[:, :3],
        "root_rot": qpos[:, [4, 5, 6, 3]],
        "dof_pos": qpos[:, 7:],
    }
    takes = {
        "split_points": [0, 12, 24],
        "frequency": 50.0,
        "joint_names": ("root", *names),
        "qvel": qpos[:, 1:],
    }

    def table(path: Path) -> None:
        header = ",".join(
            [*(f"root_{part}" for part in ("x", "y", "z", "qw", "qx", "qy", "qz")), *names]
        )
        np.savetxt(path, qpos, delimiter=",", header=header, comments="", fmt="%.7g")

    writers = {
        "poses.npz": lambda path: np.savez(path, qpos=qpos, rate_hz=RATE_HZ, joint_names=names),
        "parts.npz": lambda path: np.savez(path, fps=50, joint_names=names, **parts),
        "takes.npz": lambda path: np.savez(path, qpos=qpos, **takes),
        "packed.npz": lambda path: np.savez_compressed(path, qpos=qpos, rate_hz=RATE_HZ),
        "poses.npy": lambda path: np.save(path, qpos),
        "poses.p": lambda path: path.write_bytes(pickle.dumps({"qpos": qpos, "fps": 50.0})),
        "gmr.pkl": lambda path: path.write_bytes(pickle.dumps(gmr, 2)),
        "poses.mat": lambda path: scipy.io.savemat(path, {"qpos": qpos, "rate_hz": RATE_HZ}),
        "poses.csv": table,
        "plain.csv": lambda path: np.savetxt(
            path, qpos[:, [0, 1, 2, 4, 5, 6, 3, *range(7, qpos.shape[1])]], delimiter=","
        ),
    }
    for name, write in writers.items():
        kind = {"npz": "npz", "npy": "npz", "mat": "mat", "csv": "csv"}.get(
            name.partition(".")[2], "pickle"
        )
        write(seed_folder(folder, f"recordings: {kind}", name) / name)
        own = _TO_CLIPS
        if name in ("poses.npy", "poses.csv", "plain.csv"):  # which say no rate
            own = {text: share for text, share in own.items() if "rate_hz" in text}
        if name in ("gmr.pkl", "plain.csv"):  # a toy has no upside
            own = {
                f"{text} source_config.quaternion_order=xyzw": share for text, share in own.items()
            }
        yield Seed(f"recordings: {kind}", name, name, own)
    try:
        import pynwb

        from tests.test_array_sources import write_nwb
    except ImportError:
        return
    series = pynwb.TimeSeries(name="qpos", data=qpos, unit="radians", rate=RATE_HZ)
    write_nwb(seed_folder(folder, "recordings: NWB", "series") / "a.nwb", series)
    yield Seed("recordings: NWB", "series", "a.nwb", _TO_CLIPS)


def key_point_seeds(folder: Path) -> Iterator[Seed]:
    from keypoint_layouts import LAYOUTS, RAT, SCORES, WITH_RATE, WITHOUT_NAMES

    for name, write in LAYOUTS.items():
        kind = {"mat": "mat", "h5": "HDF5", "nwb": "NWB"}.get(name.partition(".")[2], "npz")
        kind = "text" if name.endswith((".csv", ".tsv", ".txt")) else kind
        write(seed_folder(folder, f"key points: {kind}", name) / name, RAT, SCORES)
        command = "fit {f} {o}/o.h5 --smooth 0"
        command += " --points Snout,SpineM,TailBase,HandL,HandR,FootL,FootR" * (
            name in WITHOUT_NAMES
        )
        command += " --rate 50" * (name not in WITH_RATE)
        yield Seed(f"key points: {kind}", name, name, {command: 1})
