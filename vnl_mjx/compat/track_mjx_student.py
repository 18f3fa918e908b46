"""Students that track-mjx distilled, as students of this package.

What it wrote is an encoder, a decoder and a prior over their latent: the networks of a student that has the
frozen ones of its teacher (`models.student_networks.FrozenTeacherModule`), whose teacher is itself.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.compat.track_mjx_loader import LoadedTeacher
from vnl_mjx.errors import UserError
from vnl_mjx.models.vae import StudentVAE, VaeConfig

_UNLIMITED = 1e6  # of a log-variance that is not clipped


def as_student(loaded: LoadedTeacher) -> tuple[StudentVAE, dict[str, Any]]:
    """Returns a student's networks and their parameters.

    Raises:
        UserError: the checkpoint holds no prior, or one that does not fit its latent and proprioception.
    """
    where, network = f"{loaded.kind}_{loaded.step}/policy", loaded.policy.config
    if loaded.prior is None:
        raise UserError(f"{where}: expected a prior beside encoder and decoder, found none")
    layers = loaded.prior
    sizes = []
    while f"hidden_{len(sizes)}" in layers:
        sizes.append(len(layers[f"hidden_{len(sizes)}"]["bias"]))
    reader = JsonReader(loaded.raw_config, f"{loaded.kind}_{loaded.step}/config")
    config = VaeConfig(
        latent_dim=network.latent_dim,
        encoder_hidden_sizes=network.encoder_hidden_sizes,
        decoder_hidden_sizes=network.decoder_hidden_sizes,
        prior_hidden_sizes=tuple(sizes),
        activation=network.activation,
        logvar_min=reader("number", "distill_config.prior_logvar_min", -_UNLIMITED),
        logvar_max=reader("number", "distill_config.prior_logvar_max", _UNLIMITED),
        network="teacher",
        reference_size=network.reference_size,
        proprioception_size=network.proprioception_size,
        action_size=network.action_size,
    )
    trunk = {
        name.replace("LayerNorm", "norm"): layer
        for name, layer in layers.items()
        if not name.startswith("fc2_")
    }
    _check_sizes(where, layers, network.proprioception_size, sizes, network.latent_dim)
    prior = {"trunk": trunk, "mean": layers["fc2_mean"], "logvar": layers["fc2_logvar"]}
    params = {"intention": loaded.policy.params["params"], "prior_network": prior}
    return StudentVAE(config, network), params


def _check_sizes(
    where: str, layers: Mapping[str, Any], first: int, hidden: list[int], last: int
) -> None:
    """Each layer of the prior has to be there and to read what the one before gives."""
    widths = [first, *hidden]
    names = [f"hidden_{number}" for number in range(len(hidden))]
    expected = dict(zip(names, itertools.pairwise(widths), strict=True))
    expected |= dict.fromkeys(("fc2_mean", "fc2_logvar"), (widths[-1], last))
    for name, shape in expected.items():
        found = layers.get(name, {}).get("kernel")
        if found is None or found.shape != shape:
            shown = "nothing" if found is None else found.shape
            raise UserError(f"{where}: prior/{name}/kernel: expected shape {shape}, found {shown}")
