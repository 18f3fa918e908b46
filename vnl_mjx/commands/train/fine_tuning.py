"""Builds a task policy that contains the decoder of its student, so that the low level learns too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.compat.track_mjx_export import intention_decoder, other_decoder
from vnl_mjx.errors import UserError
from vnl_mjx.models.actor_critic import ActorCriticParams
from vnl_mjx.models.intention import IntentionConfig, raw_scale
from vnl_mjx.models.student import Student

_KNOWN = 1e9  # count of observations given to the statistics, so that training hardly moves them


@dataclass(frozen=True)
class DecoderStart:
    """Holds the start of such a policy.

    Attributes:
        decoder: layers as of an `IntentionNetwork`.
        hidden_sizes: widths of these layers.
        student: the student that they come from.
    """

    decoder: Mapping[str, Any]
    hidden_sizes: tuple[int, ...]
    student: Student

    @classmethod
    def of(cls, student: Student) -> "DecoderStart":
        """Reads the decoder of a student.

        Raises:
            UserError: the decoder is not a network of a teacher's kind.
        """
        networks, teacher = student.networks, student.teacher.config
        problem = other_decoder(networks)
        if problem is None and teacher.squash != "tanh":
            problem = f"its actions end in a {teacher.squash}"
        if problem:
            raise UserError(f"mode=fine_tuned: cannot go on from this student: {problem}")
        return cls(*intention_decoder(networks, student.params, teacher), student)

    def config(
        self, goal_size: int, encoder_hidden_sizes: tuple[int, ...], logvar: tuple[float, float]
    ) -> IntentionConfig:
        """Returns the sizes of a policy, whose encoder reads goal and body and gives the student's latent."""
        vae = self.student.networks.config
        return IntentionConfig(
            reference_size=goal_size,
            proprioception_size=vae.proprioception_size,
            action_size=vae.action_size,
            latent_dim=vae.latent_dim,
            encoder_hidden_sizes=encoder_hidden_sizes,
            decoder_hidden_sizes=self.hidden_sizes,
            activation=vae.activation,
            observation_clip=self.student.teacher.config.observation_clip,
            encoder_reads_body=True,
            logvar_range=logvar,
        )

    def begun(
        self, params: ActorCriticParams, statistics: Any, config: IntentionConfig, action_std: float
    ) -> tuple[ActorCriticParams, Any]:
        """Returns parameters with the decoder, and the body's statistics as the student has them.

        Goals are not normalised, because changing statistics would change what the decoder reads.

        Args:
            params: fresh ones.
            statistics: of the observation, as of brax.
            config: of the policy.
            action_std: standard deviation of exploration, before tanh.
        """
        size, name = config.action_size, config.last_layer_name
        last = {name: np.array(values) for name, values in self.decoder[name].items()}
        last["kernel"][:, size:], last["bias"][size:] = 0.0, raw_scale(action_std)
        decoder = jax.tree.map(jnp.asarray, {**self.decoder, name: last})
        teacher = self.student.teacher
        body = slice(teacher.config.reference_size, None)
        std = jnp.append(jnp.ones(config.reference_size), teacher.obs_std[body])
        known = statistics.replace(
            mean=jnp.append(jnp.zeros(config.reference_size), teacher.obs_mean[body]),
            std=std,
            summed_variance=_KNOWN * jnp.square(std),
            count=jnp.full_like(statistics.count, _KNOWN),
        )
        policy = {"params": {**params.policy["params"], "decoder": decoder}}
        return params.replace(policy=policy), known
