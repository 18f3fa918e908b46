from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.models.intention import (
    FrozenPolicy,
    IntentionConfig,
    IntentionNetwork,
    action_distribution,
)

MLP = IntentionConfig(
    reference_size=7,
    proprioception_size=5,
    action_size=3,
    latent_dim=4,
    encoder_hidden_sizes=(16, 8),
    decoder_hidden_sizes=(12,),
)
LSTM = IntentionConfig(
    reference_size=7,
    proprioception_size=5,
    action_size=3,
    latent_dim=4,
    encoder_hidden_sizes=(16,),
    decoder_hidden_sizes=(12,),
    activation="relu",
    memory_sizes=(6, 5),
)


def make_policy(config: IntentionConfig) -> FrozenPolicy:
    """Random parameters, biases and scales too, so that no term can be missing unseen."""
    obs = jnp.zeros(config.observation_size)
    params = IntentionNetwork(config).init(jax.random.key(0), obs, config.initial_memory())
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + rng.normal(0, 0.3, p.shape).astype(np.float32), params)
    return FrozenPolicy(
        params=params,
        obs_mean=jnp.asarray(rng.normal(size=config.observation_size), jnp.float32),
        obs_std=jnp.asarray(rng.uniform(0.5, 2, config.observation_size), jnp.float32),
        config=config,
    )


@pytest.fixture(scope="module", params=[MLP, LSTM], ids=["mlp", "lstm"])
def policy(request) -> FrozenPolicy:
    return make_policy(request.param)


@pytest.fixture(scope="module")
def obs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, MLP.observation_size)).astype(np.float32)


def reference_act(policy: FrozenPolicy, obs, memory=(), latent=None):
    """The policy in plain NumPy, float64."""
    config = policy.config
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), policy.params)["params"]
    activation = {
        "relu": lambda x: np.maximum(x, 0),
        "silu": lambda x: x / (1 + np.exp(-x)),
    }[config.activation]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def dense(x, layer):
        return x @ layer["kernel"] + layer.get("bias", 0)

    def hidden(x, layers, count):
        for i in range(count):
            x = activation(dense(x, layers[f"hidden_{i}"]))
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
            x = x * layers[f"LayerNorm_{i}"]["scale"] + layers[f"LayerNorm_{i}"]["bias"]
        return x

    obs = (obs.astype(np.float64) - policy.obs_mean) / np.maximum(policy.obs_std, 1e-6)
    encoder = params["encoder"]
    reference, proprioception = np.split(obs, [config.reference_size], axis=-1)
    x = hidden(reference, encoder, len(config.encoder_hidden_sizes))
    mean, logvar = dense(x, encoder["fc2_mean"]), dense(x, encoder["fc2_logvar"])
    x = np.concatenate([mean if latent is None else latent, proprioception], axis=-1)
    if not config.is_recurrent:
        count = len(config.decoder_hidden_sizes)
        x = hidden(x, params["decoder"], count)
        return dense(x, params["decoder"][f"hidden_{count}"]), mean, logvar, ()
    carries = []
    for i, carry in enumerate(memory):
        cell = params["lstm_decoder"][f"lstm_{i}"]
        c, h = (np.asarray(part, np.float64) for part in carry)
        gate = {g: dense(x, cell[f"i{g}"]) + dense(h, cell[f"h{g}"]) for g in "ifgo"}
        c = sigmoid(gate["f"]) * c + sigmoid(gate["i"]) * np.tanh(gate["g"])
        x = sigmoid(gate["o"]) * np.tanh(c)
        carries.append((c, x))
    logits = dense(x, params["lstm_decoder"]["lstm_projection"])
    return logits, mean, logvar, tuple(carries)


def test_matches_numpy(policy, obs):
    memory = policy.initial_memory((len(obs),))
    rng = np.random.default_rng(2)
    memory = jax.tree.map(lambda m: rng.normal(size=m.shape).astype(np.float32), memory)
    output = policy.act(obs, memory)
    logits, mean, logvar, next_memory = reference_act(policy, obs, memory)
    np.testing.assert_allclose(output.logits, logits, atol=1e-5)
    np.testing.assert_allclose(output.latent_mean, mean, atol=1e-5)
    np.testing.assert_allclose(output.latent_logvar, logvar, atol=1e-5)
    np.testing.assert_array_equal(output.latent, output.latent_mean)
    np.testing.assert_allclose(output.action, np.tanh(logits[:, :3]), atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), output.memory, next_memory
    )


def test_single_batched_and_vmapped_agree(policy, obs):
    memory = policy.initial_memory((len(obs),))
    batched = policy.act(obs, memory)
    vmapped = jax.jit(jax.vmap(policy.act))(obs, memory)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), batched, vmapped)
    single = policy.act(obs[2], policy.initial_memory())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[2], b, atol=2e-6), batched, single)
    grid = policy.act(obs.reshape(2, 3, -1), policy.initial_memory((2, 3)))
    np.testing.assert_allclose(grid.action.reshape(6, -1), batched.action, atol=2e-6)


def test_scan_carries_memory_and_traces_once(policy, obs):
    traces = []

    @jax.jit
    def rollout(policy, obs):
        def step(memory, frame):
            traces.append(None)
            output = policy.act(frame, memory)
            return output.memory, output.action

        return jax.lax.scan(step, policy.initial_memory(), obs)[1]

    actions = rollout(policy, obs)
    rollout(policy, obs + 1)
    assert len(traces) == 1
    memory = policy.initial_memory()
    for frame, action in zip(obs, actions, strict=True):
        output = policy.act(frame, memory)
        memory = output.memory
        np.testing.assert_allclose(output.action, action, atol=2e-6)


def test_lstm_memory_matters_and_resets_to_zeros(obs):
    policy = make_policy(LSTM)
    start = policy.initial_memory((len(obs),))
    assert jax.tree.map(jnp.shape, start) == (((6, 6), (6, 6)), ((6, 5), (6, 5)))
    assert not any(part.any() for part in jax.tree.leaves(start))
    first = policy.act(obs, start)
    second = policy.act(obs, first.memory)
    assert np.abs(second.action - first.action).max() > 1e-2
    # Only the latent and what follows it see the memory.
    np.testing.assert_array_equal(second.latent, first.latent)
    np.testing.assert_array_equal(policy.act(obs, start).action, first.action)


def test_no_gradient_reaches_the_policy_or_the_observation(policy, obs):
    memory = policy.initial_memory((len(obs),))

    def loss(policy, obs, memory):
        output = policy.act(obs, memory)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(output)) + jnp.sum(
            policy.normalize(obs) ** 2
        )

    assert loss(policy, obs, memory) > 0
    for gradient in jax.tree.leaves(jax.grad(loss, argnums=(0, 1, 2))(policy, obs, memory)):
        assert not np.any(gradient)


def test_encoder_sees_the_reference_only(policy, obs):
    memory = policy.initial_memory((len(obs),))
    changed = obs.copy()
    changed[:, policy.config.reference_size :] += 1
    a, b = policy.act(obs, memory), policy.act(changed, memory)
    np.testing.assert_array_equal(a.latent, b.latent)
    assert np.abs(a.action - b.action).max() > 1e-3


def test_normalize_floors_std_and_does_not_clip():
    policy = make_policy(MLP)
    policy = policy.replace(obs_std=policy.obs_std.at[0].set(0.0))
    obs = policy.obs_mean.at[0].add(2e-6).at[1].add(1e6)
    normalized = policy.normalize(obs)
    # Float32 keeps only some digits of mean + 2e-6.
    expected = (obs[0] - policy.obs_mean[0]) / np.float32(1e-6)
    assert normalized[0] == expected and expected > 1
    np.testing.assert_allclose(normalized[1], 1e6 / policy.obs_std[1], rtol=1e-6)


def test_observations_are_clipped_where_the_policy_was_trained_so():
    policy = make_policy(MLP)
    obs = policy.obs_mean + jnp.array([-9.0, -1.0, 3.0, 9.0] * 3) * policy.obs_std
    clipping = policy.replace(config=replace(policy.config, observation_clip=5.0))
    expected = np.clip(policy.normalize(obs), -5.0, 5.0)
    np.testing.assert_array_equal(clipping.normalize(obs), expected)
    assert np.abs(policy.normalize(obs)).max() > 8.9
    # and acts on what it sees so
    seen = policy.obs_mean + expected * policy.obs_std
    np.testing.assert_allclose(clipping.act(obs).action, policy.act(seen).action, atol=1e-5)
    assert np.abs(clipping.act(obs).action - policy.act(obs).action).max() > 1e-4


def test_latent_can_be_given(policy, obs):
    memory = policy.initial_memory((len(obs),))
    latent = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
    output = policy.act(obs, memory, latent=latent)
    logits = reference_act(policy, obs, memory, latent)[0]
    np.testing.assert_array_equal(output.latent, latent)
    np.testing.assert_allclose(output.logits, logits, atol=1e-5)
    np.testing.assert_allclose(output.action, np.tanh(logits[:, :3]), atol=1e-5)


def test_key_draws_from_the_posterior_and_the_action_distribution(obs):
    policy = make_policy(MLP)
    keys = jax.random.split(jax.random.key(0), 4000)
    output = jax.vmap(lambda key: policy.act(obs[0], key=key))(keys)
    mean, std = output.latent_mean[0], jnp.exp(0.5 * output.latent_logvar[0])
    standard = (output.latent - mean) / std
    np.testing.assert_allclose(standard.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(standard.std(0), 1, atol=0.05)
    loc, scale = action_distribution(output.logits)
    raw = np.arctanh(np.clip(np.asarray(output.action, np.float64), -1 + 1e-7, 1 - 1e-7))
    noise = (raw - loc) / scale
    np.testing.assert_allclose(np.median(noise, axis=0), 0, atol=0.1)
    again = policy.act(obs[0], key=keys[0])
    np.testing.assert_allclose(again.action, output.action[0], atol=1e-6)


def test_lstm_decodes_the_mean_even_with_a_key(obs):
    policy = make_policy(LSTM)
    output = policy.act(obs[0], policy.initial_memory(), key=jax.random.key(0))
    np.testing.assert_array_equal(output.latent, output.latent_mean)
    assert np.abs(output.action - policy.act(obs[0], policy.initial_memory()).action).max() > 1e-3


def test_wrong_shapes_are_refused(obs):
    policy = make_policy(LSTM)
    with pytest.raises(ValueError, match=r"must end in .*12"):
        policy.act(obs[:, :-1], policy.initial_memory((6,)))
    with pytest.raises(ValueError, match="initial_memory"):
        policy.act(obs)
    with pytest.raises(ValueError, match="initial_memory"):
        policy.act(obs, policy.initial_memory())
    with pytest.raises(ValueError, match="initial_memory"):
        make_policy(MLP).act(obs, policy.initial_memory((6,)))


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="silu"):
        IntentionConfig(7, 5, 3, 4, (8,), (8,), activation="swoosh")
