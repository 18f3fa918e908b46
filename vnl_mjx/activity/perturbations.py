"""Perturbs a recorded policy: noise of the latent, ablations, delays."""

from dataclasses import dataclass

import jax.numpy as jnp

from vnl_mjx.activity.ablation import find_ablations
from vnl_mjx.activity.networks import RecordingPolicy
from vnl_mjx.activity.noise import SCHEMES, LatentNoise
from vnl_mjx.activity.record import Recorder
from vnl_mjx.activity.wrappers import BlindPolicy, DelayedPolicy
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.policies import Policy


@dataclass(frozen=True)
class Perturbations:
    """Says how a recorded policy is perturbed.

    Attributes:
        latent_noise: a scheme of `noise.SCHEMES`; None decodes the posterior's mode.
        gain: factor of the noise's standard deviations.
        ablate: names, see `ablation.find_ablations`.
        delay_observation: control steps by which the networks see the state late.
        delay_action: control steps by which the body gets an action late.
    """

    latent_noise: str | None = None
    gain: float = 1.0
    ablate: tuple[str, ...] = ()
    delay_observation: int = 0
    delay_action: int = 0


def perturbed(
    policy: RecordingPolicy, wanted: Perturbations, recorder: Recorder, clips: ReferenceClips
) -> Policy:
    """Returns the policy with perturbations; ablated layers pass on their mean over an unperturbed run.

    Raises:
        UserError: an ablation or scheme is unknown, or the latent has no standard deviation.
    """
    if wanted.latent_noise is not None:
        _check_noise(policy, wanted.latent_noise, recorder, clips)
        noise = LatentNoise(jnp.float32(wanted.gain), wanted.latent_noise)
        policy = policy.replace(noise=noise)
    result: Policy = policy
    if wanted.ablate:
        plain = policy.replace(noise=None, samples=0)
        layers = recorder.layers(plain, clips)
        found = find_ablations(wanted.ablate, recorder.task, layers)
        if found.layers:
            result = policy.replace(replaced=recorder.mean_outputs(plain, clips, found.layers))
        if found.hidden.any():
            result = BlindPolicy(result, jnp.asarray(found.hidden), policy.frozen.obs_mean)
    delays = wanted.delay_observation, wanted.delay_action
    if any(delays):
        task = recorder.task
        sizes = sum(task.observation_sizes.values()), task.action_size
        result = DelayedPolicy(result, sizes, delays)
    return result


def _check_noise(
    policy: RecordingPolicy, scheme: str, recorder: Recorder, clips: ReferenceClips
) -> None:
    if scheme not in SCHEMES:
        raise UserError(f"--latent-noise: expected one of {', '.join(SCHEMES)}, found {scheme!r}")
    if "latent/std" not in recorder.recorded_names(policy, clips):
        raise UserError(
            "--latent-noise: expected a posterior with a standard deviation, found a latent "
            "without one; leave the option out"
        )
