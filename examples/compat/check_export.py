"""Proves an export of `vnl-mjx export` against track-mjx itself, from one Python environment to another.

One environment holds this package, another a checkout of track-mjx (their versions of MuJoCo differ); files
go between them. By hand:

    vnl-mjx export RUN out --to track-mjx-2025             # in this environment
    python check_export.py expect out actions.npz          # in this environment
    PYTHONPATH=TRACK_MJX python check_export.py compare out actions.npz   # in that of track-mjx

`expect` records observations, latents and what this package does with them. `compare` loads the same folder
by track-mjx's own functions and prints the largest difference of the actions: of the whole policy, and of
its decoder alone (`make_decoder_policy_fn`, which its tasks use).
"""

import sys
from pathlib import Path

import numpy as np

NUM_OBSERVATIONS = 100


def expect(folder: str, file: str) -> None:
    """Records observations [row, size], latents [row, latent] and this package's actions of both."""
    from vnl_mjx.utils.track_mjx_loader import load_teacher

    policy = load_teacher(folder).policy
    rng, config = np.random.default_rng(0), policy.config
    obs = rng.normal(size=(NUM_OBSERVATIONS, config.observation_size)).astype(np.float32)
    obs = np.asarray(policy.obs_mean + policy.obs_std * obs)
    latent = rng.normal(size=(NUM_OBSERVATIONS, config.latent_dim)).astype(np.float32)
    memory = policy.initial_memory((NUM_OBSERVATIONS,))
    np.savez(
        file,
        obs=obs,
        latent=latent,
        reference_size=config.reference_size,
        action=policy.act(obs, memory).action,
        decoded=policy.act(obs, memory, latent=latent).action,
    )
    print(f"{file}: {NUM_OBSERVATIONS} observations of {config.observation_size}")


def compare(folder: str, file: str) -> None:
    """Loads the folder by track-mjx and prints how far its actions are from the recorded ones."""
    import jax
    from track_mjx.agent import checkpointing

    recorded, path = np.load(file), str(Path(folder).resolve())
    size = int(recorded["reference_size"])
    reference, body = recorded["obs"][:, :size], recorded["obs"][:, size:]
    loaded = checkpointing.load_checkpoint_for_eval(path)
    act = checkpointing.load_inference_fn(
        loaded["cfg"], loaded["policy"], deterministic=True, get_activation=False
    )
    is_nested = "obs_sizes" in loaded["cfg"]["network_config"]
    obs = (
        {"state": {"task_obs": reference, "proprioception": body}} if is_nested else recorded["obs"]
    )
    report("policy", act(obs, jax.random.PRNGKey(0))[0], recorded["action"])
    try:
        from track_mjx.agent.mlp_ppo.ppo_networks import make_decoder_policy_fn
    except ImportError:
        from track_mjx.agent.ff_ppo.ppo_networks import make_decoder_policy_fn
    decode = make_decoder_policy_fn(path)
    decoded = decode(np.concatenate([recorded["latent"], body], axis=1))[0]
    report("decoder", decoded, recorded["decoded"])


def report(what: str, found, expected) -> None:
    """Prints the largest difference."""
    print(f"{what}: largest difference {np.abs(np.asarray(found) - expected).max():.2g}")


if __name__ == "__main__":
    {"expect": expect, "compare": compare}[sys.argv[1]](*sys.argv[2:4])
