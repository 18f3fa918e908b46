"""Makes the valid inputs that the fuzzer damages, small, and names the commands that read each.

Inputs are those of the tests: `tests/` has every layout that the package reads.
"""

import json
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
BODY = "{all}/body/toy.yaml"
RATE_HZ = 50.0

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
_LENIENT = [
    f"quality_config.{name}=null"
    for name in (
        "penetration_mm",
        "joint_limit_rad",
        "joint_limit_share",
        "jump_m",
        "jump_joint_rad",
        "speed",
        "joint_speed",
    )
]
_ANY = " ".join(_LENIENT) + " output_config.num_threads=1 segmentation_config.min_s=0.05 "
_TO_CLIPS = {
    _PREPROCESS + _ANY: 1,
    _PREPROCESS + _ANY + "source_config.rate_hz=40 output_config.report=false": 6,
}
_KEYPOINTS = ("fit {f} {o}/o.h5 --points Snout,SpineM,TailBase,HandL,HandR,FootL,FootR --rate 50",)
_ENCODE = "--shifts 5 --components 2 --folds 3 --jobs 1 --max-lag 0.1 "

# How often a kind of input is chosen; other kinds: 1. Reading is quick, fitting and simulating is slow.
SHARES = {"runs": 0.7, "track-mjx checkpoints": 0.5, "records": 0.3, "configurations": 2.5}
SHARES |= {"clips": 3.0, "bodies": 1.2, "units": 1.5, "upstream clips": 1.3, "reports": 1.2}
SHARES |= {"key=value": 3.0, "key points: mat": 0.25, "key points: HDF5": 0.5}
SHARES |= {"key points: NWB": 0.4, "key points: npz": 0.7, "recordings: NWB": 0.3}
SHARES |= {"recordings: mat": 0.3, "recordings: npz": 1.3, "recordings: pickle": 1.3}


@dataclass(frozen=True)
class Seed:
    """Names one valid input.

    Attributes:
        kind: of input, for the counts.
        name: unique folder under the kind, which holds the files.
        main: file or folder in it that commands get as {f}; {o} is the folder for outputs, {i} that of the
            input, {all} that of all inputs, and {args} the lines of the main file.
        commands: command lines with how often they are chosen.
    """

    kind: str
    name: str
    main: str
    commands: dict[str, float]


def make_seeds(folder: Path) -> list[Seed]:
    """Writes every valid input into a folder, each in `folder/kind/name`, and returns them.

    It uses JAX: call it in a process of its own.
    """
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    _write_bodies(folder / "body")
    return [
        *_clips(folder),
        *_recordings(folder),
        *_key_points(folder),
        *_neural(folder),
        *_runs(folder),
        *_configurations(folder),
        *_bodies(folder),
    ]


def _write_bodies(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("toy_walker.xml", "arm.xml", "arm.yaml"):
        shutil.copy(FIXTURES / name, folder)
    (folder / "toy.yaml").write_text(
        "source: toy_walker.xml\nroot_body: torso\njoint_names: [hip_front, ankle_front, hip_back]\n"
        "body_names: [torso, leg_front, foot_front, foot_back]\n"
        "end_effector_names: [foot_front, foot_back]\nactuator_groups:\n  front: [hip_front]\n"
        "mirror_pairs: [[leg_front, leg_back]]\nmarkers:\n  torso: {Snout: [0.04, 0, 0.01]}\n"
        "task:\n  initial_activation: zero\n  termination: {healthy_z_range: [0.02, 0.5]}\n"
    )


def _folder(folder: Path, kind: str, name: str) -> Path:
    made = folder / kind / name
    made.mkdir(parents=True)
    return made


def _toy(folder: Path, body: str = "toy"):
    from vnl_mjx.config.walker import read_body
    from vnl_mjx.walkers.walker import build_walker

    return build_walker(read_body(folder / "body" / f"{body}.yaml"))


def _toy_clips(folder: Path, frames: int = 12, num: int = 2):
    from stac_files import smooth_poses

    from vnl_mjx.clips.assembly import clips_from_poses

    walker = _toy(folder)
    names = tuple(f"clip_{i}" for i in range(num))
    poses = 0.3 * smooth_poses(walker, num * frames) + 0.7 * walker.model.qpos0
    poses[:, 3:7] /= np.linalg.norm(poses[:, 3:7], axis=1, keepdims=True)
    return clips_from_poses(walker, poses, [frames] * num, RATE_HZ, names=names)


def _clips(folder: Path) -> Iterator[Seed]:
    """Our clip files, and those of upstream."""
    from stac_files import smooth_poses, stac_datasets, write_h5

    from vnl_mjx.cli import main
    from vnl_mjx.config.imitation import WalkerConfig
    from vnl_mjx.walkers.walker import build_walker

    clips, arm, rat = _toy_clips(folder), _toy(folder, "arm"), build_walker(WalkerConfig())
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
        place = _folder(folder, "clips", name) / "clips.h5"
        cut = [
            "segmentation_config.clip_s=0.1",
            "segmentation_config.min_s=0.1",
            "output_config.report=false",
        ]
        assert main(["preprocess", str(made), str(place), *_LENIENT, *cut, *settings]) == 0
        own = (
            {"clips mirror {f} {o}/o.h5": 1} if name != "toy" else {}
        )  # whose legs have no partners
        own |= {f"preprocess {{f}} {{o}}/o.h5 {_ANY}": 1} if name == "rodent" else {}
        yield Seed("clips", name, "clips.h5", _READ_CLIPS | own)
    compact = _folder(folder, "clips", "compact") / "clips.h5"
    assert (
        main(["clips", "merge", str(folder / "clips/toy/clips.h5"), str(compact), "--compact"]) == 0
    )
    yield Seed("clips", "compact", "clips.h5", _READ_CLIPS)

    made = _folder(folder, "upstream clips", "stac") / "stac.h5"
    write_h5(made, stac_datasets(clips))
    own = {
        "inspect {f}": 6,
        f"clips split {{f}} {{o}}/o.h5 --seconds 0.1 --mjcf {BODY}": 1,
        **_TO_CLIPS,
    }
    yield Seed("upstream clips", "stac", "stac.h5", own)
    for layout in ("stac", "all-clips"):
        made = _folder(folder, "upstream clips", layout + "-ours") / "a.h5"
        toy = folder / "clips" / "toy" / "clips.h5"
        assert main(["clips", "export", str(toy), str(made), "--to", layout]) == 0
        yield Seed("upstream clips", layout + "-ours", "a.h5", own)
    made = _folder(folder, "upstream clips", "dm-control") / "a.h5"
    rodent = folder / "clips" / "rodent" / "clips.h5"
    assert main(["clips", "export", str(rodent), str(made), "--to", "dm-control"]) == 0
    yield Seed(
        "upstream clips",
        "dm-control",
        "a.h5",
        {"inspect {f}": 1, "preprocess {f} {o}/o.h5 " + _ANY: 1},
    )


def _recordings(folder: Path) -> Iterator[Seed]:
    """Poses in the layouts of other projects."""
    import scipy.io

    walker, clips = _toy(folder), _toy_clips(folder)
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
        write(_folder(folder, f"recordings: {kind}", name) / name)
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
    write_nwb(_folder(folder, "recordings: NWB", "series") / "a.nwb", series)
    yield Seed("recordings: NWB", "series", "a.nwb", _TO_CLIPS)


def _key_points(folder: Path) -> Iterator[Seed]:
    from keypoint_layouts import LAYOUTS, RAT, SCORES, WITH_RATE, WITHOUT_NAMES

    for name, write in LAYOUTS.items():
        kind = {"mat": "mat", "h5": "HDF5", "nwb": "NWB"}.get(name.partition(".")[2], "npz")
        kind = "text" if name.endswith((".csv", ".tsv", ".txt")) else kind
        write(_folder(folder, f"key points: {kind}", name) / name, RAT, SCORES)
        command = "fit {f} {o}/o.h5 --smooth 0"
        command += " --points Snout,SpineM,TailBase,HandL,HandR,FootL,FootR" * (
            name in WITHOUT_NAMES
        )
        command += " --rate 50" * (name not in WITH_RATE)
        yield Seed(f"key points: {kind}", name, name, {command: 1})


def _neural(folder: Path) -> Iterator[Seed]:
    """Activity records, and units in every layout."""
    import h5py
    import test_units
    from made_records import write_made_record
    from test_similarity_command import write_network

    made = folder / "body" / "made.rec.h5"
    write_made_record(made, 3000)
    random = np.random.default_rng(0)
    test_units.TRAINS = tuple(np.sort(random.uniform(0, 60, 90)) for _ in range(2))
    test_units.TIMES = np.concatenate(test_units.TRAINS)
    test_units.OWNERS = np.repeat([3, 8], 90)
    for write in test_units.WRITERS:
        name = write.__name__[6:]
        main = write(_folder(folder, "units", name))
        if name == "nwb":
            with h5py.File(main, "r+") as file:
                file["units/spike_times_index"][:] = [90, 180]
        main = "" if main.is_dir() else main.name
        encode = "encode {all}/body/made.rec.h5 {f} {o}/out " + _ENCODE
        similar = "similarity {all}/body/made.rec.h5 {o}/out --units {f}"
        yield Seed("units", name, main or "units", {encode: 2, similar: 1})
        if not main:  # a folder: one level down, as its files are the input
            held = folder / "units" / name / "units"
            held.mkdir()
            for path in (folder / "units" / name).iterdir():
                if path != held:
                    path.rename(held / path.name)
    shutil.copy(made, _folder(folder, "records", "made") / "made.rec.h5")
    synthetic = "encode {f} synthetic {o}/out --units-per-group 1 --no-partition " + _ENCODE
    commands = {synthetic: 3, "similarity {f} {o}/out": 1}
    yield Seed("records", "made", "made.rec.h5", commands)
    write_network(_folder(folder, "records", "network"))
    yield Seed("records", "network", "a.rec.h5", {"similarity {f} {o}/out": 1})


def _runs(folder: Path) -> Iterator[Seed]:
    """Checkpoint folders, ours and of track-mjx, and what `compare` reads."""
    from quick_eval import QUICK_EVAL
    from report_example import example_document
    from toy_run import write_toy_run
    from toy_teacher import toy_overrides
    from track_mjx_checkpoints import upstream_config, write

    from vnl_mjx.cli import main
    from vnl_mjx.config.walker import read_body

    walker = read_body(folder / "body" / "toy.yaml")
    made = folder / "body" / "made"
    made.mkdir()
    settings = [*write_toy_run(made, walker), "training_config.num_steps=32"]
    settings += ["checkpoint_config.interval_steps=32"]
    ours = _folder(folder, "runs", "student")
    assert main(["distill", f"run_dir={ours / 'run'}", *settings]) == 0
    tiny = " ".join((*QUICK_EVAL, "clips={all}/body/made/clips.h5"))
    yield Seed(
        "runs",
        "student",
        "run",
        {
            "inspect {f}": 6,
            "inspect {f} --json": 2,
            "export {f} {o}/out --to npz --clips {all}/body/made/clips.h5": 1,
            "export {f} {o}/out --to track-mjx-2025": 1,
            "eval {f} output_dir={o}/out " + tiny: 0.1,
            "record {f} {all}/body/made/clips.h5 {o}/o.h5 --pieces 2": 0.1,
        },
    )
    for kind, given in {"flat": upstream_config(), "toy": None}.items():
        place = _folder(folder, "track-mjx checkpoints", kind)
        if given is None:
            shutil.copytree(made / "teacher", place / "teacher")
        else:
            write(place / "teacher", given)
        own = {"inspect {f}": 4, "inspect {f} --json": 1}
        if given is not None:
            own["export {f} {o}/out --to npz"] = 1
        own["export {f} {o}/out --to track-mjx-2026"] = 1
        if given is None:
            clips = "{all}/body/made/clips.h5"
            own[f"distill {{f}} {clips} run_dir={{o}}/run " + " ".join(settings[2:])] = 0.5
            own[f"eval-teacher {{f}} --clips {clips} --json {{o}}/o.json"] = 0.1
            own[f"rollout {{f}} {{o}}/o.h5 --clips {clips} --seconds 0.3"] = 0.1
        yield Seed("track-mjx checkpoints", kind, "teacher", own)

    training = " ".join(
        text
        for text in toy_overrides(made, walker)
        if not text.startswith("reference_config.paths")
    )
    place = _folder(folder, "clips", "trained on")
    shutil.copy(made / "clips.h5", place / "clips.h5")
    own = {f"train-teacher {{f}} run_dir={{o}}/run {training}": 1}
    own["distill {all}/body/made/teacher {f} run_dir={o}/run " + " ".join(settings[2:])] = 1
    yield Seed("clips", "trained on", "clips.h5", own)

    for i in range(2):
        place = (
            (_folder(folder, "reports", "two") if not i else place.parent.parent)
            / f"r{i}"
            / "report"
        )
        place.mkdir(parents=True)
        (place / "metrics.json").write_text(json.dumps(example_document(3, sampled=False)))
    yield Seed("reports", "two", "r0", {"compare {i}/r0 {i}/r1 --output {o}/out": 1})


def _configurations(folder: Path) -> Iterator[Seed]:
    """YAML files of every command with a configuration, and its settings as key=value."""
    from vnl_mjx.config import loading

    loaders = {
        "preprocess": loading.load_preprocess_config,
        "distill": loading.load_distillation_config,
        "train-teacher": loading.load_teacher_config,
        "train-task": loading.load_task_config,
        "eval": loading.load_evaluation_config,
    }
    for command, load in loaders.items():
        config = load(["checkpoint_path=x"] if command == "eval" else [])
        text = loading.to_yaml(config)
        place = _folder(folder, "configurations", command)
        (place / "settings.yaml").write_text(text)
        own = {f"{command} --config {{f}} --show-config": 1.0}
        if command == "preprocess":
            shown = f"walker_config.mjcf_path={BODY}"
            own[f"preprocess --config {{f}} {{all}}/body/poses.npz {{o}}/o.h5 {shown}"] = 1.5
        yield Seed("configurations", command, "settings.yaml", own)

        place = _folder(folder, "key=value", command)
        (place / "words.arguments").write_text("\n".join(_flat(config)))
        yield Seed(
            "key=value", command, "words.arguments", {f"{command} {{args}} --show-config": 1}
        )


def _flat(config) -> list[str]:
    """Returns all settings as key=value, without those that only a mapping can give."""
    from vnl_mjx.config.conversion import to_dict
    from vnl_mjx.config.loading import _typed

    def walk(node: dict, key: str) -> Iterator[str]:
        for name, value in node.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{key}{name}.")
            elif not isinstance(value, dict):
                yield f"{key}{name}={_typed(value)}"

    return list(walk(to_dict(config), ""))


def _bodies(folder: Path) -> Iterator[Seed]:
    for name in ("toy", "arm"):
        place = _folder(folder, "bodies", name)
        for path in (folder / "body").glob(f"{name}*.??ml"):
            shutil.copy(path, place)
        for path in (folder / "body").glob(f"{name}*.xml"):
            shutil.copy(path, place)
    poses = "{all}/body/toy.npz"
    own = {
        "body {f} {o}/new.yaml": 4,
        f"body {{f}} {{o}}/new.yaml --motion {poses}": 0.3,
    }
    yield Seed("bodies", "toy", "toy_walker.xml", own)
    place = _folder(folder, "bodies", "toy file")
    for name in ("toy.yaml", "toy_walker.xml"):
        shutil.copy(folder / "body" / name, place)
    training = "train-teacher {all}/body/made/clips.h5 run_dir={o}/run ppo.num_envs=8"
    yield Seed(
        "bodies",
        "toy file",
        "toy.yaml",
        {
            f"preprocess {poses} {{o}}/o.h5 walker_config.mjcf_path={{f}} {_ANY}": 3,
            f"{training} task.walker.source={{f}}": 0.5,
        },
    )
    shutil.copy(FIXTURES / "arm.yaml", folder / "bodies" / "arm")
    yield Seed("bodies", "arm", "arm.xml", {"body {f} {o}/new.yaml": 1})
