"""Whether the feet stand when the reference's do, and whether those that stand slide."""

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.body_motion import BodyMotion, compared_state
from vnl_mjx.evaluation.foot_slip import FootSlip
from vnl_mjx.evaluation.per_episode import ratio
from vnl_mjx.evaluation.rollout import Rollout


def contact_metrics(
    rollout: Rollout,
    clips: ReferenceClips,
    simulated: BodyMotion,
    reference: BodyMotion,
    foot_slip: FootSlip,
) -> dict[str, np.ndarray]:
    """Figures of each episode, [episode] each; NaN where there is nothing to measure."""
    wanted = reference.at(compared_state(rollout, clips)).contacts
    return contact_agreement(simulated.contacts[1:], wanted, rollout.valid) | {
        "foot_slip_mm_per_s": foot_slip.of_rollout(rollout)
    }


def contact_agreement(
    contacts: np.ndarray, reference: np.ndarray, valid: np.ndarray
) -> dict[str, np.ndarray]:
    """How well feet stand and swing with the reference's.

    Both are found by the same rule (`clips.features.ContactRule`).

    Args:
        contacts: bool [time, episode, foot], of the simulation.
        reference: bool, as `contacts`.
        valid: bool [time, episode], what counts.

    Returns:
        [episode] each: `contact_agreement` share of feet and steps in which both stand or neither
        does; `contact_f1` harmonic mean of precision and recall of the contacts of the simulation;
        NaN where no foot stands in either.
    """
    counted = np.broadcast_to(valid[..., None], contacts.shape)

    def count(feet: np.ndarray) -> np.ndarray:
        return (feet & counted).sum(axis=(0, 2))

    both, one = count(contacts & reference), count(contacts ^ reference)
    return {
        "contact_agreement": ratio(count(contacts == reference), counted.sum(axis=(0, 2))),
        "contact_f1": ratio(2 * both, 2 * both + one),
    }
