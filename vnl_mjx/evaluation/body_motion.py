"""Where the bodies of simulation and reference were over episodes, as the tracking errors read them."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import points_in_frame
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class BodyMotion:
    """A walker in consecutive states, [state, episode, ...]; entries that are not present mean nothing.

    Attributes:
        present: bool; of each episode a first part.
        bodies_w: [.., tracked body, 3] world, m.
        root_w: [.., 3] the root body, world, m.
        root_quaternion: [.., 4] of the root body.
        end_effectors_b: [.., end effector, 3] in the frame of the root body, m.
        contacts: [.., foot] whether it stands on the floor, bool.
    """

    present: np.ndarray
    bodies_w: np.ndarray
    root_w: np.ndarray
    root_quaternion: np.ndarray
    end_effectors_b: np.ndarray
    contacts: np.ndarray

    @property
    def bodies_b(self) -> np.ndarray:
        """The bodies in the frame of the root body [.., tracked body, 3], m."""
        points = self.bodies_w.reshape(-1, *self.bodies_w.shape[-2:])
        root = self.root_w.reshape(-1, 3), self.root_quaternion.reshape(-1, 4)
        return points_in_frame(*root, points).reshape(self.bodies_w.shape)

    def at(self, state: np.ndarray) -> "BodyMotion":
        """The states [time, episode] that are asked for, each of its own episode."""
        episode = np.arange(state.shape[1])
        return BodyMotion(**{name: values[state, episode] for name, values in vars(self).items()})


def simulated_motion(rollout: Rollout, computer: FeatureComputer) -> BodyMotion:
    """The states of the simulation, before the first step and after each; bodies are computed from poses."""
    present = np.concatenate([np.ones((1, rollout.num_episodes), bool), rollout.valid])
    qpos = np.concatenate([rollout.start_qpos[None], rollout.steps.qpos])
    own = present.T  # an episode after the other, as features of clips are computed
    features = computer(
        qpos.transpose(1, 0, 2)[own].astype(np.float64), own.sum(axis=1), rollout.control_hz
    )

    def spread(values: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        whole = np.zeros((*own.shape, *values.shape[1:]), dtype)
        whole[own] = values
        return whole.swapaxes(0, 1)

    walker = computer.walker
    positions, quaternions = features["body_positions"], features["body_quaternions"]
    return BodyMotion(
        present=present,
        bodies_w=spread(positions[:, walker.tracked_bodies]),
        root_w=spread(positions[:, walker.root_body]),
        root_quaternion=spread(quaternions[:, walker.root_body]),
        end_effectors_b=spread(features["end_effectors"]),
        contacts=spread(features["contacts"], bool),
    )


def reference_motion(rollout: Rollout, clips: ReferenceClips, walker: Walker) -> BodyMotion:
    """The frames of each episode's clip from its start frame to one after the last that a step read."""
    clip, start = rollout.episodes.clip, rollout.episodes.start_frame
    frames = start + np.arange(compared_state(rollout, clips).max(initial=0) + 2)[:, None]
    last = np.asarray(clips.lengths)[clip] - 1
    rows = np.asarray(clips.starts)[clip] + np.minimum(frames, last)
    positions, quaternions = np.asarray(clips.body_positions), np.asarray(clips.body_quaternions)
    return BodyMotion(
        present=frames <= last,
        bodies_w=positions[:, walker.tracked_bodies][rows].astype(np.float64),
        root_w=positions[:, walker.root_body][rows].astype(np.float64),
        root_quaternion=quaternions[:, walker.root_body][rows].astype(np.float64),
        end_effectors_b=np.asarray(clips.end_effectors)[rows].astype(np.float64),
        contacts=np.asarray(clips.contacts)[rows] > 0.5,
    )


def compared_state(rollout: Rollout, clips: ReferenceClips) -> np.ndarray:
    """State of `reference_motion` that each step is compared with, [time, episode]."""
    first = np.asarray(clips.starts)[rollout.episodes.clip] + rollout.episodes.start_frame
    return rollout.reference_rows(clips) - first


def frames_seen(rollout: Rollout, clips: ReferenceClips) -> np.ndarray:
    """How many states of `reference_motion` each episode went through, [episode]."""
    states = np.where(rollout.valid, compared_state(rollout, clips), 0)
    return 1 + states.max(axis=0, initial=0)


def strides(control_hz: float, rate_hz: float) -> tuple[int, int]:
    """How many control steps, and how many frames, are the shortest time that both know."""
    return max(1, round(control_hz / rate_hz)), max(1, round(rate_hz / control_hz))
