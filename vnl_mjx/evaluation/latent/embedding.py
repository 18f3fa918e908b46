"""Latents in two dimensions: coordinates only, nothing is drawn."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.errors import UserError

_NEIGHBORS = 15


@dataclass(frozen=True)
class Embedding:
    """Points of the latent space in two dimensions.

    Attributes:
        method: "PCA" or "UMAP".
        points: [point, 2] coordinates.
        explained: [2] share of the variance along each coordinate; None where there is no such share.
    """

    method: str
    points: np.ndarray
    explained: np.ndarray | None

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the coordinates, for a picture."""
        if self.explained is None:
            return tuple(f"{self.method} {1 + i}" for i in range(self.points.shape[1]))
        return tuple(f"PC {1 + i} ({100 * s:.0f} %)" for i, s in enumerate(self.explained))


def principal_components(latents: np.ndarray) -> Embedding:
    """Projects [point, dim] latents on their two directions of largest variance, as far as there are two."""
    from sklearn.decomposition import PCA  # here: scikit-learn takes seconds to import

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
            "UMAP: needs the extra 'umap', found no umap-learn; run `uv sync --extra umap`, or pip "
            "install 'vnl-mjx[umap]'"
        ) from error
    if len(latents) <= _NEIGHBORS:
        raise UserError(
            f"UMAP: expected more than {_NEIGHBORS} visited states, found {len(latents)}; give more "
            "episodes (eval_config.starts_per_clip)"
        )
    # one thread: with a seed it is used alone in any case
    model = UMAP(n_neighbors=_NEIGHBORS, n_components=2, random_state=seed, n_jobs=1)
    return Embedding("UMAP", np.asarray(model.fit_transform(latents), np.float64), None)
