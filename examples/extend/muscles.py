"""A body with muscles, from its MJCF to a teacher: an arm with two hinges and four muscles (muscles.xml).

    python examples/extend/muscles.py [FOLDER] [STEPS]

`vnl-mjx body --actuators own` keeps the muscles, where it would put servos. A policy's action of -1 relaxes a
muscle and 1 excites it fully; the policy observes the muscles' activations. FOLDER (runs/muscles) keeps
everything. STEPS (400000) of training take two to three minutes on one core.
"""

import sys
from pathlib import Path

import mujoco
from arm import make_motion

from vnl_mjx.cli import main

MJCF = Path(__file__).with_name("muscles.xml")

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/muscles")
    steps = sys.argv[2] if len(sys.argv) > 2 else "400000"
    folder.mkdir(parents=True, exist_ok=True)
    motion, body, clips = folder / "motion.npz", folder / "body.yaml", folder / "clips.h5"
    teacher = folder / "teacher"
    make_motion(motion, mujoco.MjModel.from_xml_path(str(MJCF)), seconds=10.0)
    for command in (
        ("body", MJCF, body, "--motion", motion, "--actuators", "own", "--overwrite"),
        ("preprocess", motion, clips, f"walker_config.mjcf_path={body}", "--overwrite"),
        (
            *("train-teacher", clips, f"run_dir={teacher}", "ppo.guidance=0"),
            *(f"ppo.num_steps={steps}", "ppo.num_envs=128", "eval_config.video_at_end=false"),
        ),
        ("eval-teacher", teacher / "teacher", "--clips", clips),
    ):
        print("$ vnl-mjx", *command, flush=True)
        if status := main([str(word) for word in command]):
            sys.exit(status)
