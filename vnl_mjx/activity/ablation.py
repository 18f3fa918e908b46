"""Ablates layers, groups of proprioception and frames of the reference, by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError, did_you_mean
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.observations import ObservationLayout

REFERENCE = "reference"
_FRAMES = re.compile(rf"{REFERENCE}:(\d+)(?:-(\d+))?")
# Terms whose columns are not frame by frame.
_OTHER_ORDER = {"reference_bodies_by_body"}


@dataclass(frozen=True)
class Ablations:
    """Holds what is ablated.

    Attributes:
        layers: names of layers, whose modules then return their mean (`Recorder.mean_outputs`).
        hidden: [observation] bool, entries that the networks see at the mean of their training.
    """

    layers: tuple[str, ...]
    hidden: np.ndarray


def find_ablations(names: Sequence[str], task: ImitationTask, layers: Sequence[str]) -> Ablations:
    """Finds what `--ablate` names.

    A name is a layer ("encoder.hidden_0"), a term of the observation ("joint_angles"), "reference", or some
    of the frames ahead, from 1 on ("reference:1", "reference:2-4").

    Raises:
        UserError: there is nothing of that name.
    """
    layout = task.layout
    slices, hidden = layout.slices(), np.zeros(sum(task.observation_sizes.values()), bool)
    for name in names:
        if name in slices:
            hidden[slice(*slices[name])] = True
        elif name == REFERENCE:
            hidden[: layout.reference_size] = True
        elif found := _FRAMES.fullmatch(name):
            first, last = int(found[1]), int(found[2] or found[1])
            _hide_frames(hidden, layout, task.config.traj_length, first, last)
        elif name not in layers:
            known = [*layers, *slices, REFERENCE, f"{REFERENCE}:1-{task.config.traj_length}"]
            hint = did_you_mean(name, known)
            raise UserError(f"--ablate: expected one of {', '.join(known)}, found {name!r}{hint}")
    return Ablations(tuple(name for name in names if name in layers), hidden)


def _hide_frames(
    hidden: np.ndarray, layout: ObservationLayout, num_frames: int, first: int, last: int
) -> None:
    if not 1 <= first <= last <= num_frames:
        raise UserError(
            f"--ablate: expected frames of {REFERENCE} from 1 to {num_frames}, found {first}-{last}"
        )
    slices = layout.slices()
    for name, size in layout.reference:
        if size % num_frames or name in _OTHER_ORDER:
            raise UserError(
                f"--ablate: the term {name} of the reference does not lie frame by frame; ablate "
                f"{REFERENCE} or terms of it"
            )
        start, width = slices[name][0], size // num_frames
        hidden[start + (first - 1) * width : start + last * width] = True
