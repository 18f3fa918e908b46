"""A record of the bundled student on its clips in random order, for benchmarks of encoding models."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import vnl_mjx
from vnl_mjx.activity.file import Quantity, Rows, write_activity_file
from vnl_mjx.evaluation.rollout import CHUNK_STEPS, EpisodeRunner
from vnl_mjx.training.rollout import Step, begin, rollout

STUDENT = Path(vnl_mjx.__file__).parent / "demo/student"
_BATCH = 76  # episodes at a time, each clip twice


def write_session(path: Path, minutes: float, seed: int) -> None:
    """Writes a record of `minutes`: episodes that follow random clips from random frames, end to end.

    The student draws its latents, so that no two passes of a clip are alike.
    """
    loaded = vnl_mjx.load(STUDENT)
    clips, student = loaded.clips, loaded.student
    runner, policy = EpisodeRunner(loaded.env.task), loaded.policy.replace(sampled=True)
    rate_hz = round(1.0 / runner.task.config.physics.control_timestep)
    wanted, episodes, num_rows = round(60 * minutes * rate_hz), [], 0
    drawn = np.random.default_rng(seed).integers(2**31, size=1000)
    for batch in drawn:
        starts = runner.draw(clips, _BATCH, int(batch))
        for clip, frames in _episodes(runner, policy, clips, starts, int(batch)):
            episodes.append((clip, frames))
            num_rows += len(frames["frame"])
        if num_rows >= wanted:
            break
    order = np.random.default_rng(seed).permutation(len(episodes))
    episodes = [episodes[i] for i in order]
    parts = {n: np.concatenate([e[1][n] for e in episodes])[:wanted] for n in episodes[0][1]}
    lengths = np.array([len(frames["frame"]) for _, frames in episodes])
    start = np.zeros(lengths.sum(), bool)
    start[np.cumsum(lengths) - lengths] = True
    clip = np.repeat([clip for clip, _ in episodes], lengths)[:wanted]
    rows = Rows(
        time=np.arange(wanted) / rate_hz,
        session=np.zeros(wanted, np.int16),
        clip=clip.astype(np.int32),
        frame=parts.pop("frame"),
        start=start[:wanted],
        valid=np.ones(wanted, bool),
        sessions=("made",),
        clip_names=clips.names,
        clip_labels=("",) * clips.num_clips,
    )
    values = {
        "kinematics/joint_angles": parts["qpos"][:, 7:],
        "kinematics/joint_velocities": parts["qvel"][:, 6:],
        "kinematics/root": np.concatenate([parts["qpos"][:, 2:7], parts["qvel"][:, :6]], axis=1),
        "dynamics/torques": parts["torque"],
        "reference/input": parts["reference"],
        **_layers(student, parts["reference"], parts["proprioception"], parts["latent"]),
    }
    described = {n: Quantity([f"{i}" for i in range(v.shape[1])]) for n, v in values.items()}
    with write_activity_file(path, rows, rate_hz, described, {"seed": seed}) as writer:
        writer.write(0, values)


def _episodes(runner: EpisodeRunner, policy: Any, clips: Any, starts: Any, seed: int) -> Any:
    """Yields the clip and the named rows of each episode, until its end."""
    state = runner.start(clips, starts)
    state = begin(state, policy, len(starts.clip))

    def record(step: Step) -> dict[str, Any]:
        physics, visited = step.before.physics, step.acted.extra
        return {
            "alive": step.alive,
            "frame": jax.vmap(runner.task.frame)(step.before),
            "qpos": physics.qpos,
            "qvel": physics.qvel,
            "torque": step.after.physics.qfrc_actuator[:, 6:],
            "reference": visited.reference,
            "proprioception": visited.proprioception,
            "latent": visited.posterior.mean,
        }

    @jax.jit
    def advance(policy: Any, state: Any, key: jax.Array) -> Any:
        return rollout(runner.env, policy, state, clips, key, CHUNK_STEPS, record, reset=False)[:2]

    key, chunks = jax.random.PRNGKey(seed), []
    while np.any(state.alive):
        key, own = jax.random.split(key)
        state, chunk = advance(policy, state, own)
        chunks.append(jax.device_get(chunk))
    steps = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    alive = steps.pop("alive")
    for episode, clip in enumerate(np.asarray(starts.clip)):
        kept = alive[:, episode]
        yield int(clip), {name: value[kept, episode] for name, value in steps.items()}


def _layers(student: Any, reference: Any, proprioception: Any, latent: Any) -> dict[str, Any]:
    """Returns what each hidden layer gives on, after its LayerNorm, and the latent's mean."""
    module = student.networks._module

    @jax.jit
    def run(proprioception: jax.Array, reference: jax.Array) -> dict[str, jax.Array]:
        def all_layers(module: Any) -> None:
            posterior = module.encode(proprioception, reference)
            module.decode(proprioception, posterior.mode())

        _, state = module.apply(
            {"params": student.params},
            method=all_layers,
            capture_intermediates=lambda m, _: (m.name or "").startswith("norm_"),
        )
        found = {}
        for part, name in (("encoder", "encoder"), ("decoder", "decoder")):
            layers = state["intermediates"][part]
            for layer, value in layers.get("trunk", layers).items():
                found[f"layers/{name}.hidden_{layer[5:]}"] = value["__call__"][0]
        return found

    chunks = []
    for first in range(0, len(reference), 4096):
        part = slice(first, first + 4096)
        chunks.append(
            jax.device_get(run(jnp.array(proprioception[part]), jnp.array(reference[part])))
        )
    named = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return named | {"latent/mean": latent}
