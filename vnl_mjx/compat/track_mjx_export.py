"""Writes a teacher or a student in the layouts that track-mjx reads.

Sources: track-mjx `agent/checkpointing.py`, `agent/ff_ppo/intention_network.py` (`make_decoder_policy`),
`agent/mlp_prior/prior_networks.py`, `agent/mlp_distill/student_network.py`. `Export.notes` lists what
upstream does differently, so that no difference goes unnoticed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.compat.track_mjx_layouts import (
    LAYOUTS,
    STUDENTS_ONLY,
    laid_out_config,
    laid_out_statistics,
    newest_names,
)
from vnl_mjx.compat.track_mjx_loader import LoadedTeacher
from vnl_mjx.compat.track_mjx_policy import to_float32
from vnl_mjx.compat.track_mjx_writer import (
    NORMALIZER_KEYS,
    OWN_KEY,
    checkpoint_items,
    save_checkpoint,
)
from vnl_mjx.compat.vnl_playground_config import is_playground
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig, raw_scale
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.walkers.body_files import keep_body, kept_path

# Standard deviation of exploration upstream; a student's decoder has none of its own.
_STUDENTS_ACTION_STD = 0.05


@dataclass(frozen=True)
class Export:
    """Holds a checkpoint for upstream.

    Attributes:
        kind: kind in `track_mjx_network.KINDS`.
        statistics: observation statistics as the layout nests them.
        params: {"params": ...} in upstream's names.
        config: content of `config` in the checkpoint.
        notes: what upstream does differently from this package, one line each.
    """

    kind: str
    statistics: dict[str, Any]
    params: dict[str, Any]
    config: dict[str, Any]
    notes: tuple[str, ...]

    def save(self, folder: Path, step: int) -> Path:
        """Writes `<folder>/<kind>_<step>` and returns it; copies the body to `<folder>/body`.

        Raises:
            UserError: the folder exists.
        """
        walker = self.config.get(OWN_KEY, {}).get("task", {}).get("walker", {})
        source = Path(walker.get("source", ""))
        if source.is_file() and (place := kept_path(source, Path())):
            keep_body(source, folder)
            walker["source"] = place.as_posix()
        items = checkpoint_items(self.params, self.statistics, self.config)
        return save_checkpoint(folder, step, items, self.kind)


def export_teacher(loaded: LoadedTeacher, layout: str) -> Export:
    """Converts a teacher to a layout of upstream.

    Raises:
        UserError: the layout cannot hold it.
    """
    if layout in STUDENTS_ONLY:
        raise UserError(f"--to {layout}: expected a student, found a teacher; give --to track-mjx")
    network, task = loaded.policy.config, loaded.task
    kind, how = LAYOUTS[layout]
    if network.encoder_reads_body:
        raise UserError(
            f"--to {layout}: the encoder reads the body as well, which a teacher's does not there; give "
            "--to distill-network"
        )
    if how == "flat" and not _is_flat_recurrent(network):
        raise UserError(
            f"--to {layout}: cannot hold recurrent layers of {network.cell} cells and widths "
            f"{list(network.memory_sizes)}; give --to track-mjx-2026"
        )
    critic = loaded.raw_config.get("network_config", {}).get("critic_layer_sizes", [256, 256])
    statistics = {name: loaded.statistics.get(name) for name in NORMALIZER_KEYS}
    params = loaded.policy.params["params"]
    if how == "nested":
        params = newest_names(params, network)
    notes = [
        *_notes(network, task, layout),
        "no training state: track-mjx acts with it, and cannot resume it",
    ]
    return Export(
        kind,
        laid_out_statistics(statistics, loaded.policy, how),
        {"params": to_float32(params)},
        laid_out_config(network, task, how, layout, critic, loaded.raw_config),
        tuple(notes),
    )


def export_student(
    student: StudentVAE,
    params: Mapping[str, Any],
    teacher: FrozenPolicy,
    task: ImitationConfig,
    layout: str,
) -> Export:
    """Converts a student to a layout of upstream: its decoder behind a stub encoder, or with its prior.

    Raises:
        UserError: the layout cannot hold it.
    """
    vae, (kind, how) = student.config, LAYOUTS[layout]
    _check_student(student, layout)
    decoder, sizes = intention_decoder(student, params, teacher.config)
    network = dataclasses.replace(
        teacher.config,
        latent_dim=vae.latent_dim,
        encoder_hidden_sizes=(1,),
        decoder_hidden_sizes=sizes,
        activation=vae.activation,
        encoder_reads_body=False,
        logvar_range=None,
    )
    notes, own = [], {}
    parts: dict[str, Any] = {"decoder": decoder}
    if layout == "distill-network":
        parts["encoder"], own = _whole_encoder(student, params, teacher.config)
        network = dataclasses.replace(network, encoder_reads_body=True, **own)
    elif (
        layout == "prior-network"
        and vae.network == "teacher"
        and not teacher.config.encoder_reads_body
    ):
        parts["encoder"] = params["intention"]["encoder"]
        network = dataclasses.replace(
            network, encoder_hidden_sizes=teacher.config.encoder_hidden_sizes
        )
    else:
        parts["encoder"] = _stub_encoder(network)
        notes.append(
            "its encoder is a stub of one unit: upstream decodes latents with it, and encodes none"
        )
    if layout in STUDENTS_ONLY:
        parts["prior"] = _latent_layers(params["prior_network"])
    if layout == "prior-network":
        notes += _clipped(student, params)
    config = laid_out_config(network, task, how, layout, [256, 256], {})
    if layout in STUDENTS_ONLY:
        limits = {"prior_logvar_min": vae.logvar_min, "prior_logvar_max": vae.logvar_max}
        low, high = network.logvar_range or (vae.logvar_min, vae.logvar_max)
        limits |= {"encoder_logvar_min": low, "encoder_logvar_max": high}
        config["distill_config"] = {"action_loss_weight": 1.0, "kl_weight": 0.0, **limits}
        config["network_config"]["prior_layer_sizes"] = list(vae.prior_hidden_sizes)
        config["network_config"]["encoder_expansion_factor"] = 1
    return Export(
        kind,
        laid_out_statistics({}, teacher, how),
        {"params": to_float32(parts)},
        config,
        tuple([*_notes(network, task, layout), *notes]),
    )


def _is_flat_recurrent(network: IntentionConfig) -> bool:
    """Returns whether track-mjx of 2025 supports the memory: LSTM layers of one width, or none."""
    return not network.is_recurrent or (
        network.cell == "lstm" and len(set(network.memory_sizes)) == 1
    )


def other_decoder(student: StudentVAE) -> str | None:
    """Returns why a student's decoder is not an `IntentionNetwork`'s; None if it is."""
    vae = student.config
    if student.is_recurrent:
        return "its networks have a memory"
    if vae.network not in ("mlp", "teacher"):
        return f"its networks are its own ({vae.network})"
    return None if vae.layer_norm else "it has no layer normalisation"


def _check_student(student: StudentVAE, layout: str) -> None:
    vae, problem = student.config, other_decoder(student)
    if problem is None and vae.latent != "gaussian":
        problem = f"its latent is not Gaussian ({vae.latent})"
    elif problem is None and layout == "distill-network" and vae.posterior != "absolute":
        problem = "its posterior is relative to its prior; give --to prior-network"
    if problem:
        raise UserError(f"--to {layout}: cannot hold this student: {problem}")


def intention_decoder(
    student: StudentVAE, params: Mapping[str, Any], teacher: IntentionConfig
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Returns a student's decoder in the form of an `IntentionNetwork`, and its hidden sizes.

    That form reads the latent before proprioception, also outputs a scale, and uses upstream's names.
    """
    if student.config.network == "teacher":
        return params["intention"]["decoder"], teacher.decoder_hidden_sizes
    sizes = student.config.decoder_hidden_sizes
    layers = _layers(params["decoder"])
    body = student.config.proprioception_size
    kernel = np.asarray(params["decoder"]["hidden_0"]["kernel"])
    layers["hidden_0"] = {
        **layers["hidden_0"],
        "kernel": np.concatenate([kernel[body:], kernel[:body]]),
    }
    head = {name: np.asarray(value) for name, value in params["action_head"].items()}
    layers[f"hidden_{len(sizes)}"] = {
        "kernel": np.concatenate([head["kernel"], np.zeros_like(head["kernel"])], axis=1),
        "bias": np.concatenate(
            [head["bias"], np.full_like(head["bias"], raw_scale(_STUDENTS_ACTION_STD))]
        ),
    }
    return layers, sizes


def _whole_encoder(
    student: StudentVAE, params: Mapping[str, Any], teacher: IntentionConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a student's encoder, which reads reference and body, and the network's sizes."""
    vae = student.config
    if vae.network == "teacher":
        layers = dict(params["intention"]["encoder"])
        kernel = np.asarray(layers["hidden_0"]["kernel"])
        if not teacher.encoder_reads_body:
            unread = np.zeros((vae.proprioception_size, kernel.shape[1]), kernel.dtype)
            kernel = np.concatenate([kernel, unread])
        sizes, limits = teacher.encoder_hidden_sizes, teacher.logvar_range
    else:
        layers, body = _latent_layers(params["encoder"]), vae.proprioception_size
        kernel = np.asarray(layers["hidden_0"]["kernel"])
        kernel = np.concatenate([kernel[body:], kernel[:body]])
        sizes, limits = vae.encoder_hidden_sizes, (vae.logvar_min, vae.logvar_max)
    layers["hidden_0"] = {**layers["hidden_0"], "kernel": kernel}
    return layers, {"encoder_hidden_sizes": sizes, "logvar_range": limits}


def _stub_encoder(network: IntentionConfig) -> dict[str, Any]:
    """Returns an encoder of one unit, because upstream builds an encoder before it takes the decoder."""
    heads = {"kernel": np.zeros((1, network.latent_dim)), "bias": np.zeros(network.latent_dim)}
    return {
        "hidden_0": {"kernel": np.zeros((network.reference_size, 1)), "bias": np.zeros(1)},
        "LayerNorm_0": {"scale": np.ones(1), "bias": np.zeros(1)},
        "fc2_mean": heads,
        "fc2_logvar": heads,
    }


def _latent_layers(network: Mapping[str, Any]) -> dict[str, Any]:
    heads = {"fc2_mean": network["mean"], "fc2_logvar": network["logvar"]}
    return _layers(network["trunk"]) | heads


def _layers(trunk: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("norm_", "LayerNorm_"): layer for name, layer in trunk.items()}


def _notes(network: IntentionConfig, task: ImitationConfig, layout: str) -> list[str]:
    """Returns notes on what upstream does differently, and where the policy cannot act."""
    notes = []
    if network.activation != "silu":
        notes.append(
            f"its activation is {network.activation}: track-mjx evaluates it as silu, and acts otherwise"
        )
    if network.observation_clip is not None:
        notes.append(
            f"observations are clipped at {network.observation_clip:g} here, and not upstream"
        )
    if not is_playground(task) and layout != "track-mjx-2025":
        notes.append(
            f"it reads {network.reference_size} + {network.proprioception_size} numbers at "
            f"{1 / task.physics.control_timestep:g} Hz: vnl-playground's tasks, which give 640 + 264 or 277 "
            "at 100 Hz, cannot drive it"
        )
    return notes


def _clipped(student: StudentVAE, params: Mapping[str, Any]) -> list[str]:
    """Returns a note on upstream's prior, which does not clip its log-variance."""
    vae = student.config
    wide = dataclasses.replace(vae, logvar_min=-1e6, logvar_max=1e6)
    size = vae.proprioception_size
    drawn = jax.random.normal(jax.random.key(0), (1000, size))
    prior = StudentVAE(wide, student.teacher).prior(params, drawn)
    beyond = (prior.logvar < vae.logvar_min) | (prior.logvar > vae.logvar_max)
    share = float(jnp.mean(beyond))
    if share == 0.0:
        return []
    return [
        f"the prior's log-variance is clipped to [{vae.logvar_min:g}, {vae.logvar_max:g}] here, and not "
        f"upstream: {100 * share:.2g} % of its entries are beyond, for normalised proprioception drawn "
        "from N(0, 1)"
    ]
