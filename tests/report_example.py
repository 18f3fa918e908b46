"""A made-up evaluation: a document and arrays as a real one has them, from a seed."""

import numpy as np

from vnl_mjx.evaluation.metrics import EPISODE_GROUPS, metric
from vnl_mjx.evaluation.metrics import METRICS as TABLE
from vnl_mjx.report.document import assemble

TERMS = ("root_pos_reward", "root_quat_reward", "joint_reward", "end_effector_reward")
FIGURES = [name for name, known in TABLE.items() if known.group in EPISODE_GROUPS]
METRICS = {name: metric(name) for name in (*FIGURES, *(f"term_{t}" for t in TERMS))}
_TYPICAL = {"mm": 8.0, "deg": 6.0, "rad": 0.08, "W": 0.4, "mm/s": 30.0, "s": 3.0}
GROUPS = {"spine": 8, "hindlimb": 12, "forelimb": 10, "neck_head": 4, "tail": 4}
_WORDS = {"spine": "lumbar", "hindlimb": "hip", "forelimb": "elbow", "neck_head": "atlas"}
NASTY = "<script>alert('x')</script> & $a_1$ \"q\""


def example_document(num_clips=28, seed=0, sampled=True, names=None, offset=0.0):
    rng = np.random.default_rng(seed)
    kinds = ("walk", "turn_left", "turn_right", "rear", "groom")
    clips = [
        {
            "name": names[i] if names else f"{kinds[i % 5]}_{i:03d}",
            "set": "held_out" if i % 7 == 3 else "train",
            "label": kinds[i % 5],
            "seconds": round(float(rng.uniform(2, 5)), 2),
            "made_by": "motion capture",
        }
        for i in range(num_clips)
    ]
    actings = ("deterministic", "sampled") if sampled else ("deterministic",)
    quality = {"student": 0.96 + offset, "teacher": 1.0}
    policies = {
        policy: {acting: _played(rng, clips, q) for acting in actings}
        for policy, q in quality.items()
    }
    difference = {"mean": -0.01, "low": -0.02, "high": 0.004}
    ratio = {"mean": 0.981 + offset, "low": 0.966 + offset, "high": 0.99 + offset}
    return assemble(
        made=_made(),
        settings={"episodes_per_clip": 8, "clips": "all", "prior": {"seconds": 10.0}},
        clips=clips,
        policies=policies,
        baselines={"zero_action": _played(rng, clips, 0.3)["sets"]["all"]},
        differences={
            "student vs teacher": {
                acting: {"all": {"reward_ratio": ratio, "survival": difference}}
                for acting in actings
            }
        },
        metrics={name: known._asdict() for name, known in METRICS.items()},
        action={"on_student_states": _action(rng, 0.0), "on_teacher_states": _action(rng, 0.02)},
        latent=_latent(rng),
        prior=_prior(),
        alarms=[
            {
                "what": "prior rollouts fall",
                "found": "62 % of the rollouts at the learned variance are up at 10 s",
                "change": "raise training_config.kl_weight, or train longer",
            }
        ],
    )


def _made():
    return {
        "command": "vnl-mjx eval runs/demo",
        "versions": {"python": "3.11.9", "mujoco": "3.17.0", "jax": "0.10.2", "vnl-mjx": "0.5.0"},
        "seed": 0,
        "env_steps": 2_617_344,
        "checkpoint": "runs/demo/checkpoints/2617344",
        "teacher": "the bundled one",
        "clips_source": "the bundled clips",
        "clips_sha256": "9f2c" * 16,
        "params_sha256": "ab12" * 16,
        "machine": "two cores, no GPU",
        "seconds": 84.2,
    }


def _value(rng, name, quality):
    unit = METRICS[name].unit
    if unit and unit != "share":
        return float(_TYPICAL.get(unit, 1.0) * rng.lognormal(0.0, 0.25) / quality**3)
    if name == "survival" or name.startswith("success"):
        return float(np.clip(quality + rng.choice([0.0, 0.0, -0.125]), 0, 1))
    if name == "episode_reward":
        return float(quality * 180 * rng.lognormal(0, 0.03))
    return float(quality * rng.uniform(0.75, 0.95))


def _played(rng, clips, quality):
    by_clip = {clip["name"]: {m: _value(rng, m, quality) for m in METRICS} for clip in clips}
    sets = {}
    for which in ("all", "train", "held_out"):
        own = [by_clip[c["name"]] for c in clips if which in ("all", c["set"])]
        if not own:
            continue
        figures = {}
        for name, known in METRICS.items():
            values = np.array([row[name] for row in own])
            half = 1.96 * values.std() / np.sqrt(len(values))
            mean = values.mean()
            high = min(mean + half, 1.0) if known.unit == "share" else mean + half
            figures[name] = {"mean": mean, "low": mean - half, "high": high}
        sets[which] = {"num_clips": len(own), "num_episodes": 8 * len(own), "figures": figures}
    return {"sets": sets, "clips": by_clip}


def _action(rng, more):
    names = [f"{_WORDS.get(g, g)}_{i}" for g, n in GROUPS.items() for i in range(n)]

    def errors(names):
        return {
            name: {
                "mse": rng.uniform(0.002, 0.03) + more,
                "mae": rng.uniform(0.02, 0.1),
                "r2": float(1 - rng.lognormal(-2.5, 0.8)),
            }
            for name in names
        }

    return {
        "mse": 0.012,
        "mae": 0.06,
        "r2": 0.93,
        "per_actuator": errors(names),
        "per_group": errors(GROUPS),
    }


def _latent(rng):
    kl = np.sort(rng.lognormal(-1.0, 1.4, 32))[::-1]
    kl[-4:] = (0.004, 0.002, 0.0008, 0.0003)
    lag_s = np.arange(51) / 50
    curve = np.exp(-lag_s / 0.21)
    return {
        "latent_dim": 32,
        "num_steps": 20_000,
        "kl": kl.sum(),
        "kl_per_dim": kl,
        "active_units": int((kl > 0.01).sum()),
        "active_unit_kl": 0.01,
        "varying_units": 31,
        "posterior_std": 0.42,
        "prior_std": 0.91,
        "prior_explains": 0.55,
        "aggregate": {
            "posterior": {"mean": rng.normal(0, 0.2, 32), "std": np.linspace(1.2, 0.3, 32)},
            "prior": {"mean": rng.normal(0, 0.1, 32), "std": np.linspace(1.1, 0.8, 32)},
            "kl": 1.9,
        },
        "autocorrelation": {
            "lag_s": lag_s,
            "mean": curve,
            "lower": np.exp(-lag_s / 0.1),
            "upper": np.exp(-lag_s / 0.4),
            "time_constant_s": 0.21,
        },
        "probe": {
            "behaviour": {
                "labels": ["walk", "turn_left"],
                "left_out": ["groom"],
                "chance": 0.5,
                "balanced_accuracy": {"posterior_mean": 0.92, "prior_mean": 0.8, "body": 0.77},
                "why": None,
            },
            "speed": {"r2": {"posterior_mean": 0.71, "prior_mean": 0.6, "body": 0.85}, "why": None},
        },
        "interpolation": {
            "first": "walk_000",
            "second": "turn_left_001",
            "weights": [0.0, 0.5, 1.0],
            "seconds": [3.0, 3.0, 1.2],
            "fell": [False, False, True],
            "speed": [0.21, 0.16, 0.12],
            "turning_rate": [0.01, 0.7, None],
            "torso_height": [0.05, 0.05, 0.04],
        },
    }


def _prior():
    found = {}
    for mode, at10 in (("mean", 0.97), ("learned", 0.62), ("fixed", 0.19), ("smooth", 0.55)):
        found[mode] = {}
        for start, less in (("clips", 0.0), ("neutral", 0.1)):
            at = {"1": 1.0, "2": 0.97, "5": (1 + at10) / 2, "10": at10 - less}
            distances = {"mean": 0.2, "data_mean": 0.24, "wasserstein": 0.05, "overlap": 0.7}
            found[mode][start] = {
                "num_episodes": 32,
                "seconds": 10.0,
                "survival": at,
                "survival_interval": {
                    k: {"low": max(v - 0.15, 0), "high": min(v + 0.1, 1)} for k, v in at.items()
                },
                "speed": distances,
                "torso_height": distances,
                "joint_angles": distances | {"per_joint": {"hip": distances}},
                "speed_ratio": 0.83,
                "joint_variance_reached": 0.66,
                "diversity_ratio": 0.9,
            }
    return found


def example_arrays(seed=0, num_steps=250, num_episodes=56):
    """Arrays as rollouts give them: errors over time, latents, survival and speeds."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_steps)[:, None]
    length = rng.integers(num_steps // 2, num_steps, num_episodes)
    errors = {}
    for policy, size in (("student", 9.0), ("teacher", 7.0)):
        value = size * rng.lognormal(0, 0.3, num_episodes) * (1 - np.exp(-(time + 5) / 30))
        value = value * rng.lognormal(0, 0.1, (num_steps, num_episodes))
        errors[policy] = np.where(time < length, value, np.nan)
    phase = np.linspace(0, 40 * np.pi, 5000) + rng.normal(0, 0.2, 5000)
    group = np.repeat(np.arange(10), 500)
    latents = np.stack([np.cos(phase) + 0.6 * group, np.sin(phase) * (1 + group / 8)], axis=1)
    latents = np.concatenate([latents, rng.normal(0, 0.3, (5000, 14))], axis=1)
    return {
        "errors": errors,
        "latents": latents,
        "clip": [f"clip_{g}" for g in group],
        "time_s": (np.arange(5000) % 500) / 50,
        "speed": np.abs(rng.normal(0.1 + 0.04 * group, 0.03)),
        "survival": {
            mode: np.exp(-np.linspace(0, 1, 501) * rate)
            for mode, rate in (("mean", 0.05), ("learned", 0.5), ("fixed", 1.6), ("smooth", 0.6))
        },
    }


def example_rows(num=60):
    """Rows of a run's metrics.jsonl."""
    steps = np.linspace(1e5, 6e6, num)
    return [
        {
            "env_steps": float(s),
            "loss/action_mse": float(0.02 * np.exp(-s / 1e6) + 0.002),
            "loss/kl": float(18 - 10 * s / 6e6),
            "latent/active_units": 30.0,
            "rollout/reward_per_step": float(0.9 - 0.4 * np.exp(-s / 8e5)),
            "episode/steps": float(200 - 120 * np.exp(-s / 8e5)),
        }
        for s in steps
    ]
