"""Latents in two dimensions."""

import sys
import types

import numpy as np
import pytest

from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.latent.points import principal_components, umap_embedding


def test_principal_components_are_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    along = rng.normal(size=(500, 3)) * [5.0, 2.0, 0.0]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = principal_components(along @ rotation.T + 7.0)
    centred = along - along.mean(axis=0)
    share = np.square(centred).sum(axis=0) / np.square(centred).sum()
    np.testing.assert_allclose(found.explained, share[:2], atol=0.01)
    assert found.explained.sum() == pytest.approx(1.0)
    assert abs(np.corrcoef(found.points[:, 0], along[:, 0])[0, 1]) > 0.99
    # what has no third direction keeps its distances
    distances = np.linalg.norm(found.points - found.points[0], axis=1)
    np.testing.assert_allclose(distances, np.linalg.norm(along - along[0], axis=1), rtol=1e-6)
    assert found.axes == tuple(f"PC {i + 1} ({100 * s:.0f} %)" for i, s in enumerate(share[:2]))


@pytest.mark.parametrize("latents", [np.arange(6.0)[:, None], np.ones((6, 4)), np.ones((1, 4))])
def test_directions_that_there_are_not_explain_nothing(latents):
    found = principal_components(latents)
    assert found.points.shape == (len(latents), 2)
    assert np.isfinite(found.explained).all()
    assert found.explained[1] == 0.0
    np.testing.assert_array_equal(found.points[:, 1], 0.0)


class _Umap:
    """In place of the extra: the first dimensions, and what it was asked for."""

    asked = None

    def __init__(self, **settings):
        _Umap.asked = settings

    def fit_transform(self, latents):
        return latents[:, : self.asked["n_components"]].astype(np.float32)


def test_umap_is_asked_for_a_reproducible_plane(monkeypatch):
    module = types.ModuleType("umap")
    module.UMAP = _Umap
    monkeypatch.setitem(sys.modules, "umap", module)
    latents = np.random.default_rng(0).normal(size=(40, 5))
    found = umap_embedding(latents, seed=3)
    assert _Umap.asked["random_state"] == 3
    assert found.points.shape == (40, 2)
    assert found.axes == ("UMAP 1", "UMAP 2")
    with pytest.raises(UserError, match="starts_per_clip"):
        umap_embedding(latents[:5])


def test_without_umap_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match="--extra umap"):
        umap_embedding(np.zeros((40, 5)))
