"""Makes the demonstration clips: the rodent in physics under slow, smooth, seeded controls.

No animal was recorded for them. Because a simulation of the same body made them, a policy can follow them.

    python -m vnl_mjx.demo.make_clips [--seed 0] [--output clips.h5]
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from vnl_mjx.config.imitation import ImitationConfig, WalkerConfig
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.physics.base import configure_model
from vnl_mjx.reference.assembly import clips_from_poses
from vnl_mjx.reference.clips import ReferenceClips, content_sha256, describe_clips
from vnl_mjx.reference.hdf5 import write_clips
from vnl_mjx.walkers.walker import Walker, build_walker

NUM_FRAMES = 250
SETTLE_SECONDS = 3.0
RAMP_SECONDS = 1.0  # the stance becomes the behaviour over so long, before the first frame
START_HEIGHT = 0.03  # of the root joint's body, m: dropped from a little above the floor
FREQUENCIES_HZ = (0.2, 0.8)
COMPONENTS = 3  # sinusoids of one signal
MAX_TRAVEL_M, MAX_SPEED = 0.05, 10.0  # m/s and rad/s

# Digits that mean nothing would be most of the file: values are rounded to a multiple of these.
# Quaternions stay unit within the reader's tolerance of 1e-5.
RESOLUTION = {
    "position": 2**-16,
    "quaternion": 2**-17,
    "joints": 2**-14,
    "body_positions": 2**-15,
    "velocity": 2**-12,
    "angular_velocity": 2**-8,
    "joints_velocity": 2**-8,
    "body_quaternions": 2**-17,
}

TASK = ImitationConfig(walker=WalkerConfig(torque_actuators=False, rescale_factor=0.9))

# Controls by actuator name; a name without its side stands for both sides.
STANCE = {
    "shoulder": 0.3,
    "elbow": 0.4,
    "hip_abduct": -0.3,
    "lumbar_extend": 0.1,
    "caudal_extend": 0.35,
    "mandible": -0.6,
}

# Directions in control space that one signal in [-1, 1] drives.
LOOK_SIDEWAYS = {"cervical_bend": 0.6, "cervical_twist": 0.15, "lumbar_bend": 0.15}
NOD = {"cervical_extend": 0.45, "atlas": 0.4}
TILT_HEAD = {"cervical_twist": 0.4}
CROUCH = {"shoulder": -0.1, "elbow": -0.1, "hip_abduct": 0.25, "cervical_extend": -0.15}
SWAY = {"hip_L_abduct": 0.3, "hip_R_abduct": -0.3, "elbow_L": 0.3, "elbow_R": -0.3}
BEND_TRUNK = {"lumbar_bend": 0.45, "cervical_bend": 0.25}
TWIST_TRUNK = {"lumbar_twist": 0.2, "cervical_twist": -0.1}
ARCH_BACK = {"lumbar_extend": -0.35, "cervical_extend": 0.2}
TAIL_SIDEWAYS = {"caudal_bend": 0.6}
TAIL_LIFT = {"caudal_extend": 0.35}
LEAN_LEFT = {"hip_R_abduct": -0.15, "elbow_R": 0.1, "lumbar_twist": 0.1}
LIFT_PAW = {"shoulder_R": 0.6, "elbow_R": 0.5, "wrist_R": 0.6}


@dataclass(frozen=True)
class Drive:
    """One direction and the signal on it.

    Attributes:
        direction: control of each named actuator where the signal is 1.
        one_sided: the signal stays in [0, 1] instead of [-1, 1].
    """

    direction: Mapping[str, float]
    one_sided: bool = False


_TAIL = (Drive(TAIL_SIDEWAYS), Drive(TAIL_LIFT))
BEHAVIOURS: dict[str, tuple[Drive, ...]] = {
    "synthetic_look_around": (Drive(LOOK_SIDEWAYS), Drive(NOD), Drive(TILT_HEAD), *_TAIL),
    "synthetic_crouch_and_rise": (Drive(CROUCH), Drive(NOD), *_TAIL),
    "synthetic_shift_weight": (Drive(SWAY), Drive(TWIST_TRUNK), Drive(LOOK_SIDEWAYS), *_TAIL),
    "synthetic_turn_trunk": (Drive(BEND_TRUNK), Drive(TWIST_TRUNK), Drive(NOD), *_TAIL),
    "synthetic_lift_forepaw": (Drive(LIFT_PAW, one_sided=True), Drive(LEAN_LEFT), *_TAIL),
    "synthetic_arch_back": (Drive(ARCH_BACK, one_sided=True), Drive(LOOK_SIDEWAYS), *_TAIL),
}


@dataclass(frozen=True)
class Motion:
    """One simulated clip, at the control rate.

    Attributes:
        qpos: [frame, nq].
        qvel: [frame, nv].
        act: [frame, na] actuator activations.
        ctrl: [frame, nu] control applied from this frame to the next.
        root_height: [frame] of the torso, m.
        paws_down: [frame] number of paws that touch the floor.
    """

    qpos: np.ndarray
    qvel: np.ndarray
    act: np.ndarray
    ctrl: np.ndarray
    root_height: np.ndarray
    paws_down: np.ndarray


def simulate(walker: Walker, behaviour: str, seed: int, num_frames: int = NUM_FRAMES) -> Motion:
    """Settles the rodent on the floor and drives it; the same arguments give the same motion."""
    physics = TASK.physics
    model = configure_model(walker.model, physics)
    data = mujoco.MjData(model)
    data.qpos[2] = START_HEIGHT
    ctrl = _controls(walker, behaviour, seed, num_frames)
    lead = len(ctrl) - num_frames
    frames: dict[str, list] = {name: [] for name in Motion.__annotations__}
    for step, control in enumerate(ctrl):
        if step >= lead:
            values = data.qpos, data.qvel, data.act, control
            for name, value in zip(("qpos", "qvel", "act", "ctrl"), values, strict=True):
                frames[name].append(value.copy())
            # A step leaves derived values one substep behind qpos; here they belong to it.
            mujoco.mj_kinematics(model, data)
            frames["root_height"].append(data.xpos[walker.root_body, 2])
            frames["paws_down"].append(_paws_down(model, data))
        data.ctrl[:] = control
        mujoco.mj_step(model, data, physics.num_substeps)
    return Motion(**{name: np.array(values) for name, values in frames.items()})


def check_motion(behaviour: str, motion: Motion) -> None:
    """Raises ValueError where the rodent fell, flew, slid away or jerked."""
    low, high = TASK.termination.healthy_z_range
    speed = np.abs(motion.qvel).max()
    travel = np.linalg.norm(motion.qpos[:, :2] - motion.qpos[0, :2], axis=-1).max()
    checks = {
        "torso height": low + 0.002 < motion.root_height.min() and motion.root_height.max() < high,
        "paws on the floor": motion.paws_down.min() >= 2,
        "travel": travel < MAX_TRAVEL_M,
        "speed": speed < MAX_SPEED,
    }
    failed = [name for name, passed in checks.items() if not passed]
    if failed:
        raise ValueError(f"{behaviour}: {failed}, {motion.root_height.min()=} {speed=} {travel=}")


def make_clips(walker: Walker, seed: int) -> ReferenceClips:
    """All behaviours as clips of `NUM_FRAMES`, checked."""
    motions = {name: simulate(walker, name, seed) for name in BEHAVIOURS}
    for name, motion in motions.items():
        check_motion(name, motion)
    clips = clips_from_poses(
        walker,
        np.concatenate([motion.qpos for motion in motions.values()]),
        [NUM_FRAMES] * len(motions),
        TASK.mocap_hz,
        names=tuple(motions),
        source="simulated by vnl_mjx.demo.make_clips",
    )
    rounded = {
        name: np.float32(np.round(getattr(clips, name) / step) * step)
        for name, step in RESOLUTION.items()
    }
    sha256 = content_sha256(
        rounded["position"], rounded["quaternion"], rounded["joints"], np.asarray(clips.lengths)
    )
    return clips.replace(**rounded, sha256=sha256)


def _controls(walker: Walker, behaviour: str, seed: int, num_frames: int) -> np.ndarray:
    """Controls [settling and num_frames, nu] of one behaviour, in [-1, 1]."""
    rate_hz = 1.0 / TASK.physics.control_timestep
    lead = round((SETTLE_SECONDS + RAMP_SECONDS) * rate_hz)
    time = (np.arange(lead + num_frames) - lead) / rate_hz
    ramp = np.clip(1.0 + time / RAMP_SECONDS, 0.0, 1.0)
    ramp = ramp * ramp * (3.0 - 2.0 * ramp)  # no kink at either end
    rng = np.random.default_rng([seed, list(BEHAVIOURS).index(behaviour)])
    ctrl = np.tile(_direction(walker, STANCE), (len(time), 1))
    for drive in BEHAVIOURS[behaviour]:
        signal = _signal(rng, time)
        if drive.one_sided:
            signal = np.clip(0.5 + 0.5 * signal, 0.0, 1.0)
        ctrl += (ramp * signal)[:, None] * _direction(walker, drive.direction)
    return np.clip(ctrl, -1.0, 1.0)


def _signal(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A smooth signal [time] in [-1, 1]: a few sinusoids of seeded frequencies and phases."""
    frequencies = rng.uniform(*FREQUENCIES_HZ, COMPONENTS)
    phases = rng.uniform(0.0, 2.0 * np.pi, COMPONENTS)
    waves = np.sin(2.0 * np.pi * frequencies * time[:, None] + phases)
    return np.clip(waves.sum(axis=-1) / np.sqrt(COMPONENTS), -1.0, 1.0)


def _direction(walker: Walker, controls: Mapping[str, float]) -> np.ndarray:
    """Controls [nu] of the named actuators; a name without its side stands for both."""
    direction = np.zeros(len(walker.actuator_names))
    for row, name in enumerate(walker.actuator_names):
        both = name.replace("_L", "").replace("_R", "")
        direction[row] = controls.get(name, controls.get(both, 0.0))
    return direction


def _paws_down(model: mujoco.MjModel, data: mujoco.MjData) -> int:
    paws = set()
    for contact in data.contact:
        for geom in contact.geom:
            name = model.geom(geom).name
            if name != "floor":
                limb = "fore" if name.startswith(("hand", "finger")) else "hind"
                paws.add((limb, "_L" in name))
    return len(paws)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=DEMO_CLIPS)
    args = parser.parse_args()
    clips = make_clips(build_walker(TASK.walker), args.seed)
    write_clips(args.output, clips)
    for name, value in describe_clips(clips).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
