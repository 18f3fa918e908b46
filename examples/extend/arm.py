"""A body without a free root, from its MJCF to a student: an arm on a table (arm.xml, arm.yaml).

    python examples/extend/arm.py [FOLDER]

Made motion becomes clips; a teacher learns from them for a few updates, and a student from the teacher; both
are evaluated. FOLDER (runs/arm) keeps everything.
"""

import sys
from pathlib import Path

import numpy as np

from vnl_mjx.cli import main
from vnl_mjx.config.walker import read_body
from vnl_mjx.walkers.walker import build_walker

BODY = Path(__file__).with_name("arm.yaml")
TEACHER = """ppo.num_envs=16 ppo.unroll_length=8 ppo.num_steps=256 network.latent_dim=4
    task.quirks.body_row_shift=0 task.quirks.reward_body_row_shift=0 eval_config.video_at_end=false"""
STUDENT = """vae_config.latent_dim=4 training_config.num_envs=16 training_config.unroll_length=8
    training_config.batch_size=64 training_config.num_steps=384"""
REPORT = """prior_config.seconds=2 prior_config.modes=[learned] latent_config.interpolate=false
    latent_config.num_traversals=0 latent_config.umap=false video_config.num_clips=0"""


def make_motion(path, model, seconds=4.0, rate_hz=50.0):
    """Writes sines of every joint within its range, as a recording."""
    low, high = model.jnt_range.T
    time, speed = np.arange(seconds * rate_hz)[:, None] / rate_hz, 2.0 + 0.7 * np.arange(model.nq)
    qpos = (low + high) / 2 + 0.4 * (high - low) * np.sin(speed * time)
    names = [model.joint(joint).name for joint in range(model.njnt)]
    np.savez(path, qpos=qpos, rate_hz=rate_hz, joint_names=np.array(names))


if __name__ == "__main__":
    folder = Path(*sys.argv[1:] or ["runs/arm"])
    folder.mkdir(parents=True, exist_ok=True)
    motion, clips, teacher = folder / "motion.npz", folder / "clips.h5", folder / "teacher"
    body, learnt = f"walker_config.mjcf_path={BODY}", teacher / "teacher"
    own = clips, f"task.walker.source={BODY}"
    make_motion(motion, build_walker(read_body(BODY)).model)
    for command in (
        ("preprocess", motion, clips, body, "segmentation_config.clip_s=1", "--overwrite"),
        ("train-teacher", *own, f"run_dir={teacher}", *TEACHER.split()),
        ("eval-teacher", learnt, "--clips", clips),
        ("distill", learnt, clips, f"run_dir={folder / 'student'}", *STUDENT.split()),
        ("eval", folder / "student", *REPORT.split()),
    ):
        print("$ vnl-mjx", *command, flush=True)
        if status := main([str(word) for word in command]):
            sys.exit(status)
