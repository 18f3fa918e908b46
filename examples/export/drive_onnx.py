"""Drives an exported body with onnxruntime, MuJoCo and NumPy alone: no JAX, and nothing of vnl_mjx.

    vnl-mjx export RUN FOLDER --to onnx
    python examples/export/drive_onnx.py FOLDER [--seconds 10] [--correlation 0.3] [--goal 0.2,0]

Latents are drawn from the prior (a teacher's is N(0, I)), correlated over `--correlation` seconds, and
decoded; 0 takes the prior's mean. A policy of the joystick, where the folder has one, acts on a command.
Formulas of the contract are evaluated as Python: open folders that you trust.
"""

import argparse
import json
from pathlib import Path

import mujoco
import numpy as np
import onnxruntime


class Body:
    """The simulated body, and what its networks see of it."""

    def __init__(self, folder: Path):
        self.contract = contract = json.loads((folder / "contract.json").read_text())
        self.model = model = mujoco.MjModel.from_xml_path(str(folder / "body.xml"))
        self.data = data = mujoco.MjData(model)
        data.qpos, data.qvel, data.act = (contract["start"][k] for k in ("qpos", "qvel", "act"))
        mujoco.mj_forward(model, data)
        self.dt, seen = 1 / contract["control"]["rate_hz"], contract["observation"]
        self.root = model.body(seen["root_body"]).id
        # of the joystick: forward speed and turning rate, their running average, the average of that, ...
        self.averaged_s = (contract["goal"] or {}).get("averaged_s", [])
        self.paces = [self.speeds() for _ in range(1 + len(self.averaged_s))]
        self.previous_qpos, self.controls = data.qpos.copy(), np.zeros((2, model.nu))
        hinges = [model.joint(i).name for i in range(model.njnt) if model.jnt_type[i] > 1]
        self.parts = []  # of each: formula, and rows that it reads
        for part in seen["proprioception"]:
            sensors = [model.sensor(name) for name in part.get("sensors", ())]
            rows = {
                "bodies": [model.body(name).id for name in part.get("bodies", ())],
                "joints": [hinges.index(name) for name in part.get("joints", ())],
                "sensors": [s.adr[0] + i for s in sensors for i in range(s.dim[0])],
            }
            self.parts.append((compile(part["formula"], part["name"], "eval"), rows))

    def speeds(self) -> np.ndarray:
        """Returns speed along the heading, m/s, and turning rate, rad/s."""
        facing = self.data.xmat[self.root].reshape(3, 3)[:2, 0]
        spin = rotation(self.data.qpos[3:7]) @ self.data.qvel[3:6]
        return np.array([self.data.qvel[:2] @ facing / np.linalg.norm(facing), spin[2]])

    def proprioception(self) -> np.ndarray:
        """Returns [1, size] float32."""
        names = {"np": np, "rotation": rotation, "turn": turn, **vars(self)}
        values = [np.ravel(eval(formula, names | rows)) for formula, rows in self.parts]
        return np.concatenate(values, dtype=np.float32)[None]

    def step(self, control: np.ndarray) -> None:
        """Holds a control [nu] for a control step."""
        self.previous_qpos = self.data.qpos.copy()
        self.controls = np.stack([self.controls[1], control])
        self.data.ctrl = control
        mujoco.mj_step(self.model, self.data, self.contract["physics"]["substeps"])
        self.paces[0] = self.speeds()
        for i, seconds in enumerate(self.averaged_s):
            self.paces[i + 1] += self.dt / seconds * (self.paces[i] - self.paces[i + 1])


def rotation(quaternion: np.ndarray) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def turn(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    vector = np.zeros(3)
    mujoco.mju_subQuat(vector, after, before)
    return vector


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--correlation", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--goal", default="0.2,0", help="the joystick's command, m/s and rad/s")
    args = parser.parse_args()
    body, rng = Body(args.folder), np.random.default_rng(args.seed)
    functions = {
        path.stem: onnxruntime.InferenceSession(path) for path in args.folder.glob("*.onnx")
    }
    latent_dim = body.contract["latent"]["size"]
    kept = np.exp(-body.dt / args.correlation) if args.correlation else 0.0
    width = 1.0 if args.correlation else 0.0
    noise, start, steps = rng.normal(size=(1, latent_dim)), body.data.xpos[body.root].copy(), 0
    while steps < args.seconds / body.dt:
        seen = body.proprioception()
        if "policy" in functions:
            if steps % body.contract["goal"]["action_repeat"] == 0:
                goal = np.array([[*args.goal.split(","), *body.paces[-1]]], np.float32)
                inputs = {"goal": goal, "proprioception": seen}
                (action,) = functions["policy"].run(None, inputs)
            control = action  # of a policy that was trained from scratch or fine-tuned
            if "low_level" in functions:
                inputs = {"proprioception": seen, "action": action}
                (control,) = functions["low_level"].run(None, inputs)
        else:
            mean, std = np.zeros((1, latent_dim)), 1.0
            if "prior" in functions:
                mean, std = functions["prior"].run(None, {"proprioception": seen})
            latent = (mean + width * std * noise).astype(np.float32)
            inputs = {"proprioception": seen, "latent": latent}
            (control,) = functions["decoder"].run(None, inputs)
            noise = kept * noise + np.sqrt(1 - kept**2) * rng.normal(size=noise.shape)
        body.step(control[0])
        steps += 1
        up, height = body.data.xmat[body.root, 8], body.data.xpos[body.root, 2]
        if up < 0.5 or height < 0.4 * start[2]:  # tilted by 60 degrees, or down
            break
    far = np.linalg.norm((body.data.xpos[body.root] - start)[:2])
    print(f"up for {steps * body.dt:.2f} s of {args.seconds:g} s, went {1000 * far:.0f} mm")


if __name__ == "__main__":
    main()
