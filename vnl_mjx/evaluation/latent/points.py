"""Collects latents of visited states, with properties of each state, and maps them to two dimensions."""

from collections.abc import Hashable
from dataclasses import dataclass, fields

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.motion_statistics import CHORD_SECONDS
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import into_frame
from vnl_mjx.versions import how_to_install
from vnl_mjx.walkers.layout import Layout

_NEIGHBORS = 15  # of UMAP


@dataclass(frozen=True)
class LatentPoints:
    """Holds visited states, [point, ...] each, episode after episode, in order of time.

    Attributes:
        posterior_mean: [point, dim]; the mode of a latent that is not Gaussian.
        prior_mean: [point, dim], likewise.
        body: [point, feature] state of the body when the latent was inferred, without place and heading:
            root height, the vertical and the root's velocities in the root's frame, joint angles and
            velocities.
        speed: horizontal speed of the root at that time, m/s, over 0.1 s.
        seconds: time in the clip.
        clip: index into the clips.
        episode: index into the episodes.
    """

    posterior_mean: np.ndarray
    prior_mean: np.ndarray
    body: np.ndarray
    speed: np.ndarray
    seconds: np.ndarray
    clip: np.ndarray
    episode: np.ndarray

    def thinned(self, max_points: int) -> "LatentPoints":
        """Returns at most `max_points`, evenly spread."""
        num = len(self.clip)
        rows = np.linspace(0, num - 1, min(num, max_points)).round().astype(int)
        return LatentPoints(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def latent_points(rollout: Rollout, clips: ReferenceClips) -> LatentPoints:
    """Returns the valid steps of a rollout of a student (`StudentPolicy`)."""
    steps, valid = rollout.steps, rollout.valid
    clip = np.broadcast_to(rollout.episodes.clip, valid.shape)
    episode = np.broadcast_to(np.arange(rollout.num_episodes), valid.shape)

    def of(values: np.ndarray) -> np.ndarray:  # [time, episode, ...] -> [point, ...]
        return np.swapaxes(np.asarray(values), 0, 1)[valid.T]

    return LatentPoints(
        posterior_mean=of(steps.extra.posterior.mode()),
        prior_mean=of(steps.extra.prior.mode()),
        body=_body_features(
            of(_before(rollout.start_qpos, steps.qpos)),
            of(_before(rollout.start_qvel, steps.qvel)),
            clips.layout,
        ),
        speed=of(speed_before_steps(rollout, clips.layout)),
        seconds=of(steps.frame) / clips.rate_hz,
        clip=of(clip),
        episode=of(episode),
    )


def speed_before_steps(rollout: Rollout, layout: Layout) -> np.ndarray:
    """Returns the root's horizontal speed at the start of each step, m/s [time, episode].

    The speed is the chord over 0.1 s around the state (shorter at both ends), from valid steps only.
    """
    qpos = np.concatenate([rollout.start_qpos[None], rollout.steps.qpos])
    position = root_pose(qpos, layout)[0][..., :2]
    last = rollout.valid.sum(axis=0)  # row of each episode's last pose
    half = max(1, round(CHORD_SECONDS * rollout.control_hz / 2))
    row = np.arange(len(rollout.valid))[:, None]
    begin = np.minimum(np.maximum(row - half, 0), last)
    end = np.minimum(row + half, last)
    episode = np.arange(rollout.num_episodes)
    chord = np.linalg.norm(position[end, episode] - position[begin, episode], axis=-1)
    return chord * rollout.control_hz / np.maximum(end - begin, 1)


def clip_groups(clips: ReferenceClips) -> list[Hashable]:
    """Returns the group of each clip for cross-validation: a clip and its mirror image are one group."""
    if not clips.info or not all(info.source for info in clips.info):
        return list(range(clips.num_clips))
    return [info.group("clip") for info in clips.info]


def _before(start: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns values before each step, [time, episode, ...], from the start's and those after each step."""
    return np.concatenate([start[None], after[:-1]])


def _body_features(qpos: np.ndarray, qvel: np.ndarray, layout: Layout) -> np.ndarray:
    qpos, qvel = np.asarray(qpos, np.float32), np.asarray(qvel, np.float32)
    joints = [qvel[:, layout.joint_qvel], qpos[:, layout.joint_qpos]]
    return np.concatenate([root_state(qpos, qvel, layout), *joints], axis=-1)


ROOT_STATE = (
    "height",
    *(f"vertical_{axis}" for axis in "xyz"),
    *(f"velocity_{axis}" for axis in "xyz"),
    *(f"angular_velocity_{axis}" for axis in "xyz"),
)


def root_state(qpos: np.ndarray, qvel: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns the root's state without place and heading, [row, 10], from qpos and qvel [row, *].

    The columns are `ROOT_STATE`: height in the world, m; the vertical, velocity (m/s) and angular velocity
    (rad/s) in the root's frame. Without a free root there are no columns, [row, 0].
    """
    if (root := layout.root) is None:
        return qpos[:, :0]
    quaternion = qpos[:, root.quaternion]
    vertical = into_frame(np.float32([0.0, 0.0, 1.0]), quaternion)
    velocity = into_frame(qvel[:, root.velocity], quaternion)
    height, turning = qpos[:, root.position][:, 2:], qvel[:, root.angular_velocity]
    return np.concatenate([height, vertical, velocity, turning], axis=-1)


@dataclass(frozen=True)
class Embedding:
    """Holds points of the latent space in two dimensions.

    Attributes:
        method: "PCA" or "UMAP".
        points: [point, 2] coordinates.
        explained: [2] share of the variance along each coordinate; None for UMAP.
    """

    method: str
    points: np.ndarray
    explained: np.ndarray | None

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the coordinates, for a picture."""
        if self.explained is None:
            return tuple(f"{self.method} {1 + i}" for i in range(self.points.shape[1]))
        return tuple(f"PC {1 + i} ({100 * s:.0f} %)" for i, s in enumerate(self.explained))


def principal_components(latents: np.ndarray) -> Embedding:
    """Projects [point, dim] latents on their two directions of largest variance, or one if dim is 1."""
    from sklearn.decomposition import PCA  # slow to import

    found = min(2, *latents.shape)
    points, explained = np.zeros((len(latents), 2)), np.zeros(2)
    if np.ptp(latents, axis=0).any():
        model = PCA(found, svd_solver="full")
        points[:, :found] = model.fit_transform(np.asarray(latents, np.float64))
        explained[:found] = model.explained_variance_ratio_
    return Embedding("PCA", points, explained)


def umap_embedding(latents: np.ndarray, seed: int = 0) -> Embedding:
    """Places [point, dim] latents so that neighbours stay neighbours (McInnes et al. 2018).

    Raises:
        UserError: the extra `umap` is not installed, or there are too few points to be neighbours.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise UserError(
            f"UMAP: needs the extra 'umap', found no umap-learn; run {how_to_install('umap')}"
        ) from error
    if len(latents) <= _NEIGHBORS:
        raise UserError(
            f"UMAP: expected more than {_NEIGHBORS} visited states, found {len(latents)}; give more "
            "episodes (eval_config.starts_per_clip)"
        )
    # one thread, which a seed forces in any case
    model = UMAP(n_neighbors=_NEIGHBORS, n_components=2, random_state=seed, n_jobs=1)
    return Embedding("UMAP", np.asarray(model.fit_transform(latents), np.float64), None)
