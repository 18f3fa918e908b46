"""The value network: brax's, as track-mjx stores it, and what may differ."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.models.value import ValueConfig, ValueNetwork

SIZE, HIDDEN = 5, (8, 6)


def random_params(config: ValueConfig):
    """Biases and scales too, so that no term can be missing unseen."""
    rng = np.random.default_rng(0)
    params = ValueNetwork(config).init(jax.random.PRNGKey(0), jnp.zeros(SIZE))
    return jax.tree.map(lambda p: p + rng.normal(0, 0.3, p.shape).astype(np.float32), params)


@pytest.fixture(scope="module")
def obs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 3, SIZE)).astype(np.float32)


def test_it_is_braxs_value_network(obs):
    """Same names, same shapes, same arithmetic."""
    importlib.import_module("vnl_mjx.training.brax_parts")  # loads brax quietly
    from brax.training.networks import make_value_network

    config = ValueConfig(SIZE, HIDDEN)
    params = random_params(config)
    brax_network = make_value_network(
        SIZE, lambda obs, _: obs, hidden_layer_sizes=HIDDEN, activation=jax.nn.silu
    )
    shapes = [
        jax.tree.map(jnp.shape, p) for p in (params, brax_network.init(jax.random.PRNGKey(0)))
    ]
    assert shapes[0] == shapes[1]
    found = ValueNetwork(config).apply(params, obs)
    assert found.shape == obs.shape[:-1]
    np.testing.assert_allclose(found, brax_network.apply(None, params, obs), rtol=1e-6)


@pytest.mark.parametrize(("activation", "layer_norm"), [("tanh", True), ("relu", False)])
def test_the_arithmetic_in_numpy(obs, activation, layer_norm):
    config = ValueConfig(SIZE, HIDDEN, activation, layer_norm)
    params = random_params(config)
    layers = jax.tree.map(lambda p: np.asarray(p, np.float64), params)["params"]
    assert len(layers) == len(HIDDEN) * (1 + layer_norm) + 1
    x = obs.astype(np.float64)
    for i in range(len(HIDDEN)):
        x = x @ layers[f"hidden_{i}"]["kernel"] + layers[f"hidden_{i}"]["bias"]
        x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
        if layer_norm:
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
            x = x * layers[f"LayerNorm_{i}"]["scale"] + layers[f"LayerNorm_{i}"]["bias"]
    expected = (x @ layers["hidden_2"]["kernel"] + layers["hidden_2"]["bias"])[..., 0]
    found = ValueNetwork(config).apply(params, obs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_wrong_sizes_and_names_are_refused(obs):
    network = ValueNetwork(ValueConfig(SIZE + 1, HIDDEN))
    with pytest.raises(ValueError, match="observation_size"):
        network.init(jax.random.PRNGKey(0), obs)
    with pytest.raises(ValueError, match="sigmoid"):
        ValueConfig(SIZE, HIDDEN, "sigmoid")
