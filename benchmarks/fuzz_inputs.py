"""Makes the valid inputs that the fuzzer damages, small, and names the commands that read each.

Inputs are those of the tests: `tests/` has every layout that the package reads.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fuzz_motion import clip_seeds, key_point_seeds, recording_seeds
from fuzz_seed import ANY, BODY, FIXTURES, ROOT, Seed, seed_folder

_ENCODE = "--shifts 5 --components 2 --folds 3 --jobs 1 --max-lag 0.1 "


def make_seeds(folder: Path) -> list[Seed]:
    """Writes every valid input into a folder, each in `folder/kind/name`, and returns them.

    It uses JAX: call it in a process of its own.
    """
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    _write_bodies(folder / "body")
    return [
        *clip_seeds(folder),
        *recording_seeds(folder),
        *key_point_seeds(folder),
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
        main = write(seed_folder(folder, "units", name))
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
    shutil.copy(made, seed_folder(folder, "records", "made") / "made.rec.h5")
    synthetic = "encode {f} synthetic {o}/out --units-per-group 1 --no-partition " + _ENCODE
    commands = {synthetic: 3, "similarity {f} {o}/out": 1}
    yield Seed("records", "made", "made.rec.h5", commands)
    write_network(seed_folder(folder, "records", "network"))
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
    ours = seed_folder(folder, "runs", "student")
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
        place = seed_folder(folder, "track-mjx checkpoints", kind)
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
    place = seed_folder(folder, "clips", "trained on")
    shutil.copy(made / "clips.h5", place / "clips.h5")
    own = {f"train-teacher {{f}} run_dir={{o}}/run {training}": 1}
    own["distill {all}/body/made/teacher {f} run_dir={o}/run " + " ".join(settings[2:])] = 1
    yield Seed("clips", "trained on", "clips.h5", own)

    for i in range(2):
        place = (
            (seed_folder(folder, "reports", "two") if not i else place.parent.parent)
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
        place = seed_folder(folder, "configurations", command)
        (place / "settings.yaml").write_text(text)
        own = {f"{command} --config {{f}} --show-config": 1.0}
        if command == "preprocess":
            shown = f"walker_config.mjcf_path={BODY}"
            own[f"preprocess --config {{f}} {{all}}/body/toy.npz {{o}}/o.h5 {shown}"] = 1.5
        yield Seed("configurations", command, "settings.yaml", own)

        place = seed_folder(folder, "key=value", command)
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
        place = seed_folder(folder, "bodies", name)
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
    place = seed_folder(folder, "bodies", "toy file")
    for name in ("toy.yaml", "toy_walker.xml"):
        shutil.copy(folder / "body" / name, place)
    training = "train-teacher {all}/body/made/clips.h5 run_dir={o}/run ppo.num_envs=8"
    yield Seed(
        "bodies",
        "toy file",
        "toy.yaml",
        {
            f"preprocess {poses} {{o}}/o.h5 walker_config.mjcf_path={{f}} {ANY}": 3,
            f"{training} task.walker.source={{f}}": 0.5,
        },
    )
    shutil.copy(FIXTURES / "arm.yaml", folder / "bodies" / "arm")
    yield Seed("bodies", "arm", "arm.xml", {"body {f} {o}/new.yaml": 1})
