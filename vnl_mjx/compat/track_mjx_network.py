"""Reads the sizes of a policy from the configuration of a track-mjx checkpoint of any generation.

Sources: track-mjx `agent/checkpointing.py`, `agent/recurrent_ppo/networks.py`,
`agent/mlp_distill/student_network.py`, `agent/mlp_prior/prior_networks.py`.
"""

from typing import Any

from vnl_mjx.compat.json_reader import JsonReader
from vnl_mjx.models.intention import CELLS, SQUASHES, IntentionConfig

# What a checkpoint's folder is called holds a teacher, a student of `mlp_distill`, or the frozen teacher with
# a prior of `mlp_prior`.
TEACHER, DISTILLED, WITH_PRIOR = KINDS = ("PPONetwork", "DistillNetwork", "PriorNetwork")

# Names of the two parts of an observation since 2026, in the network's order.
PARTS_OF = {
    "task_obs": ("task_obs", "proprioception"),
    "imitation_target": ("imitation_target", "proprioception"),
}
NETWORK_KEYS = {
    "action_size": ("size", "action_size"),
    "latent_dim": ("size", "intention_size"),
    "encoder_hidden_sizes": ("sizes", "encoder_layer_sizes"),
}
DECODER_KEYS = {"decoder_hidden_sizes": ("sizes", "decoder_layer_sizes")}
LSTM_KEYS = {"hidden_state_size": "size", "hidden_layer_num": "size"}

_SECTION = "network_config"
_ARCHITECTURES = ("intention", "amp_intention", "recurrent_intention")


def read_network(
    reader: JsonReader, kind: str, activation: str, observation_clip: float | None
) -> IntentionConfig:
    """Returns the network of a checkpoint.

    Args:
        reader: reader of its configuration.
        kind: one of `KINDS`.
        activation: activation of its hidden layers, which track-mjx does not record.
        observation_clip: `IntentionConfig.observation_clip`, which track-mjx does not have.

    Raises:
        UserError: a key is missing or wrong, or the kind of network is not supported.
    """
    architecture = _architecture(reader)
    reference_size, proprioception_size = observation_sizes(reader)
    squash = reader("text", f"{_SECTION}.action_distribution", "tanh").lower()
    if squash not in SQUASHES:
        raise reader.error(f"{_SECTION}.action_distribution", " or ".join(SQUASHES), squash)
    sizes = reader.section(_SECTION, NETWORK_KEYS)
    if kind == DISTILLED:
        sizes |= _students_own(reader, sizes)
    return IntentionConfig(
        reference_size=reference_size,
        proprioception_size=proprioception_size,
        activation=activation,
        observation_clip=observation_clip,
        squash=squash,
        **sizes,
        **_decoder(reader, architecture),
    )


def observation_sizes(reader: JsonReader) -> tuple[int, int]:
    """Returns the sizes of reference and proprioception."""
    if reader.has(f"{_SECTION}.obs_sizes"):
        if reader.has(f"{_SECTION}.obs_sizes.vision"):
            raise _with_vision(reader)
        first = next((n for n in PARTS_OF if reader.has(f"{_SECTION}.obs_sizes.{n}")), "task_obs")
        reference, own = (reader("size", f"{_SECTION}.obs_sizes.{n}") for n in PARTS_OF[first])
        return reference, own
    observation_size = reader("size", f"{_SECTION}.observation_size")
    reference_size = reader("size", f"{_SECTION}.reference_obs_size")
    if reference_size >= observation_size:
        expected = f"less than observation_size {observation_size}"
        raise reader.error(f"{_SECTION}.reference_obs_size", expected, reference_size)
    return reference_size, observation_size - reference_size


def _architecture(reader: JsonReader) -> str:
    name = reader("text", f"{_SECTION}.arch_name", "intention")
    if "vision" in name:
        raise _with_vision(reader)
    if name not in _ARCHITECTURES:
        raise reader.error(f"{_SECTION}.arch_name", " or ".join(map(repr, _ARCHITECTURES)), name)
    return name


def _with_vision(reader: JsonReader) -> Exception:
    expected = "a policy that sees reference and proprioception alone"
    return reader.error(
        _SECTION, expected, "one of track-mjx of 2026 with vision, which is not read"
    )


def _decoder(reader: JsonReader, architecture: str) -> dict[str, Any]:
    if architecture == "recurrent_intention":
        cell = reader("text", f"{_SECTION}.rnn_type")
        if cell not in CELLS:
            raise reader.error(f"{_SECTION}.rnn_type", " or ".join(CELLS), cell)
        sizes = reader("sizes", f"{_SECTION}.rnn_hidden_sizes")
        return {"decoder_hidden_sizes": (), "cell": cell, "memory_sizes": sizes}
    found = reader.section(_SECTION, DECODER_KEYS)
    if reader("flag", "train_setup.train_config.use_lstm", False):
        size, layers = (reader(kind, f"{_SECTION}.{key}") for key, kind in LSTM_KEYS.items())
        found["memory_sizes"] = (size,) * layers
    return found


def _students_own(reader: JsonReader, sizes: dict[str, Any]) -> dict[str, Any]:
    """Returns what differs in a student's encoder: a wide layer before its heads, and clipping."""
    factor = reader("size", f"{_SECTION}.encoder_expansion_factor", 1)
    wide = (factor * sizes["latent_dim"],) if factor > 1 else ()
    bounds = tuple(
        reader("number", f"distill_config.encoder_logvar_{end}", None) for end in ("min", "max")
    )
    return {
        "encoder_hidden_sizes": sizes["encoder_hidden_sizes"] + wide,
        "logvar_range": None if bounds == (None, None) else bounds,
    }
