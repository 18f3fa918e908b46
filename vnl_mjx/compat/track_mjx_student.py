"""Converts students that track-mjx distilled to students of this package.

track-mjx stores an encoder, a decoder and a prior. Here these are a student with the frozen networks of its
teacher (`models.student_networks.FrozenTeacherModule`), and that teacher is the student's own encoder and
decoder.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.compat.track_mjx_loader import LoadedTeacher
from vnl_mjx.compat.track_mjx_policy import hidden_sizes
from vnl_mjx.errors import UserError
from vnl_mjx.models.student_networks import trunk_of
from vnl_mjx.models.vae import StudentVAE, VaeConfig

_UNLIMITED = 1e6  # bound of a log-variance without clipping


def as_student(loaded: LoadedTeacher) -> tuple[StudentVAE, dict[str, Any]]:
    """Returns a student's networks and their parameters.

    Raises:
        UserError: the checkpoint holds no prior.
    """
    where, network = f"{loaded.kind}_{loaded.step}/policy", loaded.policy.config
    if loaded.prior is None:
        raise UserError(f"{where}: expected a prior beside encoder and decoder, found none")
    layers = loaded.prior
    reader = JsonReader(loaded.raw_config, f"{loaded.kind}_{loaded.step}/config")
    config = VaeConfig(
        latent_dim=network.latent_dim,
        encoder_hidden_sizes=network.encoder_hidden_sizes,
        decoder_hidden_sizes=network.decoder_hidden_sizes,
        prior_hidden_sizes=hidden_sizes(layers),
        activation=network.activation,
        logvar_min=reader("number", "distill_config.prior_logvar_min", -_UNLIMITED),
        logvar_max=reader("number", "distill_config.prior_logvar_max", _UNLIMITED),
        network="teacher",
        reference_size=network.reference_size,
        proprioception_size=network.proprioception_size,
        action_size=network.action_size,
    )
    hidden = {name: layer for name, layer in layers.items() if not name.startswith("fc2_")}
    prior = {"trunk": trunk_of(hidden), "mean": layers["fc2_mean"], "logvar": layers["fc2_logvar"]}
    params = {"intention": loaded.policy.params["params"], "prior_network": prior}
    return StudentVAE(config, network), params


def teacher_as_student(loaded: LoadedTeacher) -> tuple[StudentVAE, dict[str, Any]]:
    """Returns a teacher as a student: its own encoder and decoder, with the prior N(0, I).

    The teacher's training kept its latents near that prior. The prior's network is all zeros.
    """
    network = loaded.policy.config
    sizes = {"hidden_0": (network.proprioception_size, 1)}
    sizes |= dict.fromkeys(("fc2_mean", "fc2_logvar"), (1, network.latent_dim))
    prior: dict[str, Any] = {
        name: {"kernel": np.zeros(size, np.float32), "bias": np.zeros(size[1], np.float32)}
        for name, size in sizes.items()
    }
    prior["LayerNorm_0"] = {"scale": np.ones(1, np.float32), "bias": np.zeros(1, np.float32)}
    return as_student(replace(loaded, prior=prior))
