"""Unbiased distances, CKA and latent variability on made activity whose answer is known."""

import numpy as np
import pytest
from made_records import RATE_HZ, made_rows, slow

from vnl_mjx.activity.file import Rows
from vnl_mjx.neurons.activities import (
    matching_rows,
)
from vnl_mjx.neurons.blocks import blocks_of, folds_of
from vnl_mjx.neurons.similarity import (
    Folded,
    cka,
    covariance_products,
    crossnobis,
    rdm_comparison,
    rdm_similarity,
)
from vnl_mjx.neurons.variability import across_dimensions, across_time, repetition_variance

LABELS = ("walk", "trot", "rear", "groom", "sit")


def cka_of(x, y, fold):
    first, second = Folded.of(x, fold), Folded.of(y, fold)
    pairs = ((first, second), (first, first), (second, second))
    return cka(*(covariance_products(*pair) for pair in pairs))


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_cka_knows_itself_whatever_the_rotation_and_scale(random):
    x, fold = random.normal(size=(60, 200)), np.arange(60) % 6
    rotation = np.linalg.qr(random.normal(size=(200, 200)))[0]
    assert cka_of(x, x, fold).value == pytest.approx(1.0)
    assert cka_of(x, 3.0 * x @ rotation + 1.0, fold).value == pytest.approx(1.0)


def test_cka_of_unrelated_noise_is_zero_on_average_with_few_rows_and_many_columns(random):
    fold = np.arange(60) % 6
    found = [
        cka_of(random.normal(size=(60, 200)), random.normal(size=(60, 200)), fold).value
        for _ in range(50)
    ]
    assert abs(np.mean(found)) < 3.0 * np.std(found) / np.sqrt(50)
    assert abs(np.mean(found)) < 0.02  # 0.77 by the plain estimate


def unbiased_hsic(x, y):
    """Song et al., "Feature selection via dependence maximization", 2012, equation 5."""
    k, el = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(el, 0.0)
    n = len(x)
    total = np.sum(k * el) + k.sum() * el.sum() / ((n - 1) * (n - 2))
    return (total - 2.0 * (k.sum(axis=0) @ el.sum(axis=0)) / (n - 2)) / (n * (n - 3))


def test_cka_agrees_with_the_unbiased_hsic_on_independent_rows(random):
    shared = random.normal(size=(1500, 3))
    x = shared @ random.normal(size=(3, 8)) + random.normal(size=(1500, 8))
    y = shared @ random.normal(size=(3, 6)) + random.normal(size=(1500, 6))
    expected = unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
    assert cka_of(x, y, np.arange(1500) % 10).value == pytest.approx(expected, abs=0.02)


def test_intervals_of_cka_hold_the_truth_at_their_rate_on_slow_activity(random):
    a, b = random.normal(size=(3, 10)), random.normal(size=(3, 12))
    cov_x, cov_y = a.T @ a + 2.0 * np.eye(10), b.T @ b + 2.0 * np.eye(12)
    truth = np.sum((a.T @ b) ** 2) / np.sqrt(np.sum(cov_x**2) * np.sum(cov_y**2))
    rows = made_rows(LABELS)
    block = blocks_of(rows, RATE_HZ, 1.0, 0.2)
    kept, num = block >= 0, rows.num_rows
    fold = folds_of(block, np.zeros_like(block), 10)[kept]
    held = 0
    for _ in range(200):
        shared = slow(random, num, 3)
        x = shared @ a + np.sqrt(2.0) * slow(random, num, 10)
        y = shared @ b + np.sqrt(2.0) * slow(random, num, 12)
        found = cka_of(x[kept], y[kept], fold)
        held += found.low <= truth <= found.high
    assert 180 <= held <= 198  # 190 expected, and three standard deviations of luck


def made_conditions(random, means, folds=6, rows=12):
    """Activity [row, column] of white noise around means [condition, column]; conditions and folds."""
    condition = np.repeat(np.arange(len(means)), folds * rows)
    fold = np.tile(np.repeat(np.arange(folds), rows), len(means))
    return means[condition] + random.normal(size=(len(condition), means.shape[1])), condition, fold


def test_distances_of_no_difference_are_zero_on_average(random):
    nothing = np.zeros((4, 15))
    found = np.array([crossnobis(*made_conditions(random, nothing))[0, 1:] for _ in range(200)])
    assert np.all(np.abs(found.mean(axis=0)) < 3.5 * found.std(axis=0) / np.sqrt(200))
    assert (found < 0).any()


def test_distances_find_a_known_geometry_whatever_the_unit_of_a_column(random):
    means = np.zeros((5, 15))
    means[:, :2] = [[0, 0], [3, 0], [0, 4], [3, 4], [6, 0]]
    values, condition, fold = made_conditions(random, means, rows=100)
    expected = np.sum((means[:, None] - means) ** 2, axis=-1) / 15
    assert crossnobis(values, condition, fold) == pytest.approx(expected, rel=0.1, abs=0.02)
    units = 10.0 ** random.uniform(-3, 3, size=15)
    found = crossnobis(values * units, condition, fold)
    assert found == pytest.approx(crossnobis(values, condition, fold))


@pytest.mark.filterwarnings("ignore")
def test_distances_agree_with_rsatoolbox(random):
    data = pytest.importorskip(
        "rsatoolbox.data", reason="needs rsatoolbox (pip install rsatoolbox)"
    )
    from rsatoolbox.rdm import calc_rdm

    values, condition, fold = made_conditions(random, random.normal(size=(5, 8)))
    cells = [values[(fold == f) & (condition == c)] for f in range(6) for c in range(5)]
    residuals = np.concatenate([cell - cell.mean(axis=0) for cell in cells]) * np.sqrt(12 / 11)
    from sklearn.covariance import ledoit_wolf

    scale = residuals.std(axis=0)
    shrunk = ledoit_wolf(residuals / scale, assume_centered=True)[0]
    precision = np.linalg.inv(shrunk * np.outer(scale, scale))
    described = {"condition": condition, "fold": fold}
    expected = calc_rdm(
        data.Dataset(values, obs_descriptors=described),
        method="crossnobis",
        descriptor="condition",
        cv_descriptor="fold",
        noise=precision,
    )
    assert crossnobis(values, condition, fold) == pytest.approx(expected.get_matrices()[0])


def squared_distances(points):
    return np.sum((points[:, None] - points) ** 2, axis=-1)


def test_similarity_of_distances_is_unbiased_and_its_intervals_hold_the_truth(random):
    truth, held, found = 0.6, 0, []
    for _ in range(300):
        first = random.normal(size=(10, 3))
        second = np.sqrt(truth) * first + np.sqrt(1.0 - truth) * random.normal(size=(10, 3))
        result = rdm_comparison(squared_distances(first), squared_distances(second))
        held += result.low <= truth <= result.high
        found.append(result.value)
    assert 0.93 <= held / 300 <= 1.0
    assert abs(np.mean(found) - truth) < 0.06
    unrelated = [
        rdm_similarity(*(squared_distances(random.normal(size=(6, 3))) for _ in range(2)))
        for _ in range(300)
    ]
    assert abs(np.mean(unrelated)) < 0.05  # 0.38 without U-centring


def test_blocks_stay_in_clips_away_from_invalid_rows_and_from_each_other():
    valid = np.ones(1000, bool)
    valid[210:300] = False
    rows = made_rows(LABELS, valid=valid)
    block = blocks_of(rows, RATE_HZ, 1.0, 0.2)
    assert (block[~valid] == -1).all()
    for k in range(block.max() + 1):
        own = np.flatnonzero(block == k)
        assert len(set(rows.clip[own])) == 1 and np.all(np.diff(own) == 1)
    edges = np.flatnonzero(np.diff(block[:200]))
    assert list(block[:50]) == [0] * 40 + [-1] * 10 and len(edges) == 6


def test_records_are_matched_by_session_clip_and_frame_and_repetition():
    first, second = made_rows(LABELS[:2], sessions=2), made_rows(LABELS[:2], sessions=2)
    order = np.r_[
        400:800, 0:400, 0:100
    ]  # the other session first; then a repetition that only it has
    parts = {
        n: getattr(second, n)[order] for n in ("time", "session", "clip", "frame", "start", "valid")
    }
    other = Rows(
        **parts, **{n: getattr(second, n) for n in ("sessions", "clip_names", "clip_labels")}
    )
    found = matching_rows([first, other], [np.arange(800), np.arange(900)])
    assert found is not None and len(found[0]) == 800
    for name in ("session", "clip", "frame"):
        assert (getattr(first, name)[found[0]] == getattr(other, name)[found[1]]).all()
    assert found[1].max() < 800


def test_variability_that_avoids_sensitive_dimensions_is_found(random):
    block = np.repeat(np.arange(20), 10)
    sensitivity = np.exp(random.normal(size=12) + 0.1 * random.normal(size=(200, 12)))
    found = across_dimensions(1.0 / sensitivity, sensitivity, block)
    assert found["correlation"] < -0.95 and found["p_value"] < 0.01
    assert found["null_low"] < 0 < found["null_high"] and found["high"] < found["null_low"]
    unrelated = across_dimensions(np.exp(random.normal(size=(200, 12))), sensitivity, block)
    assert unrelated["null_low"] < unrelated["correlation"] < unrelated["null_high"]
    # A dimension that is idle at all times says nothing about time.
    steady = np.ones(12) + 1e-3 * random.normal(size=(200, 12))
    assert (
        abs(across_time(steady / sensitivity.mean(axis=0), sensitivity, block)["correlation"]) < 0.1
    )
    assert across_time(1.0 / sensitivity, sensitivity, block)["correlation"] < -0.99


def test_spread_between_repetitions_is_that_of_the_same_moment(random):
    moment = np.tile(np.arange(500), 4)
    values = 10.0 * np.sin(moment[:, None]) + random.normal(size=(2000, 3)) * [0.5, 1.0, 2.0]
    variance, first = repetition_variance(values, moment)
    assert np.sqrt(variance.mean(axis=0)) == pytest.approx([0.5, 1.0, 2.0], rel=0.1)
    assert first.tolist() == list(range(500))
    assert len(repetition_variance(values[:500], moment[:500])[0]) == 0
