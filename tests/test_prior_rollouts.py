"""Who has fallen, what the prior is played from and how, and the shares of those who stand."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from policy_helpers import OnTheReference

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.evaluation.prior_rollouts import (
    STARTS,
    PriorEvaluation,
    PriorEvaluator,
    PriorMode,
    fallen,
    neutral_clip,
    prior_modes,
    survival_curve,
    wilson,
)
from vnl_mjx.evaluation.rollout import EpisodeRunner
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import prior_policy

SECONDS = 1.2  # longer than either clip
NUM_EPISODES = 5


@pytest.fixture(scope="module")
def evaluator(task, toy, toy_clips) -> PriorEvaluator:
    return PriorEvaluator(task, toy, toy_clips)


@pytest.fixture(scope="module")
def evaluation(evaluator, toy) -> PriorEvaluation:
    return evaluator.run(seconds=SECONDS, num_episodes=NUM_EPISODES)


@pytest.mark.parametrize(
    ("height", "roll", "expected"),
    [
        (0.0, 0.0, False),
        (0.05, 1.4, False),
        (0.08, 1.7, True),
        (0.5, 3.1, True),
        (-0.029, 0.0, False),  # the torso of the clips is at 6 cm
        (-0.031, 0.0, True),
    ],
)
def test_upside_down_or_low_is_fallen(task, toy_walker, toy_clips, height, roll, expected):
    qpos = toy_walker.model.qpos0.copy()
    qpos[2] = height
    if roll:
        qpos[3:7] = [np.cos(roll / 2), np.sin(roll / 2), 0.0, 0.0]
        qpos[2] += 0.06 * (1.0 - np.cos(roll))  # so that it is not low too
    state = task.reset_to(jax.random.key(0), toy_clips, 0, 0, jax.random.key(0))
    physics = task.physics.reset(jnp.asarray(qpos, jnp.float32), jnp.zeros(task.physics.model.nv))
    failed, over = fallen(toy_walker, toy_clips)(state.replace(physics=physics), None)
    assert bool(failed) == expected and not over


def test_a_simulation_that_diverged_has_fallen(task, toy_walker, toy_clips):
    state = task.reset_to(jax.random.key(0), toy_clips, 0, 0, jax.random.key(0))
    ending = fallen(toy_walker, toy_clips)
    assert not ending(state, None)[0]
    state = state.replace(physics=state.physics.replace(diverged=jnp.bool_(True)))
    assert ending(state, None)[0]


def test_it_falls_in_the_step_that_is_too_low(task, toy, toy_walker, toy_clips):
    num_frames, rate = 40, 50.0
    qpos = np.tile(toy_walker.model.qpos0, (num_frames, 1))
    qpos[:, 2] -= 0.002 * np.arange(num_frames)  # half of 6 cm is left in frame 15
    sinking = clips_from_poses(toy_walker, qpos, [num_frames], rate)
    stub = ImitationTask(task.config, toy_walker, OnTheReference(task.physics, sinking))
    player = EpisodeRunner(stub, fallen(toy_walker, toy_clips))
    episodes = player.draw(sinking, 1, seed=0)
    rollout = player.run(prior_policy(*toy, 1), sinking, episodes, seed=0, num_steps=60)
    steps = rollout.steps
    last = int(steps.alive[:, 0].sum()) - 1
    assert steps.terminated[last, 0] and not steps.terminated[:last].any()
    height = np.asarray(sinking.body_positions)[:, toy_walker.root_body, 2]
    assert height[steps.frame[last - 1, 0]] >= 0.5 * 0.06 - 1e-6
    assert height[steps.frame[last, 0]] < 0.5 * 0.06 + 1e-6
    curve = survival_curve(rollout, 60)
    assert curve.share[last] == 1.0 and not curve.share[last + 1 :].any()
    assert curve.share.shape == curve.low.shape == curve.seconds.shape == (61,)
    assert curve.seconds[-1] == pytest.approx(0.6)


def test_the_neutral_pose_stands_on_the_floor_at_rest(rodent):
    clip = neutral_clip(rodent, 4, 50.0)
    heights = FootHeights(rodent)(
        np.asarray(clip.body_positions), np.asarray(clip.body_quaternions)
    )
    np.testing.assert_allclose(heights.min(axis=1), 0.0, atol=1e-6)
    np.testing.assert_array_equal(clip.qvel(), 0.0)
    np.testing.assert_array_equal(clip.joints, 0.0)
    assert clip.names == ("neutral",)


def test_every_mode_from_both_starts_is_one_program(task, evaluator, evaluation, toy, monkeypatch):
    drawn = {"mean", "learned", "fixed", "smooth", "random_latent", "zero_action"}
    assert set(evaluation.rollouts) == set(prior_modes()) == drawn
    other = {"wide": PriorMode(std_scale=3.0, correlation_s=0.5)}
    monkeypatch.setattr(task.physics, "step", None)  # nothing is traced again
    evaluator.run(other, seconds=0.1, num_episodes=NUM_EPISODES)
    spread = {}
    for mode, starts in evaluation.rollouts.items():
        assert tuple(starts) == STARTS
        seen = starts["clips"].steps.extra
        spread[mode] = np.std(seen.latent - seen.prior.mean)
    assert spread["mean"] == 0.0
    assert spread["fixed"] == pytest.approx(0.37, rel=0.1)
    assert spread["learned"] > 0.0 and spread["smooth"] > 0.0
    latents = evaluation.rollouts["random_latent"]["clips"].steps.extra.latent
    assert latents.mean() == pytest.approx(0.0, abs=0.1) and latents.std() == pytest.approx(1, 0.1)
    for rollout in evaluation.rollouts["zero_action"].values():
        assert not rollout.steps.action.any()
    assert evaluation.rollouts["mean"]["clips"].steps.action.any()


def test_smooth_noise_has_its_time_constant():
    correlation = PriorMode(correlation_s=0.2).correlation(50.0)
    assert correlation**10 == pytest.approx(np.exp(-1.0))  # ten steps are 0.2 s
    assert PriorMode().correlation(50.0) == 0.0


def test_starts_are_the_same_in_every_mode_and_of_both_kinds(evaluation, toy_clips, toy_walker):
    starts = {s: evaluation.rollouts["mean"][s] for s in STARTS}
    for mode in evaluation.rollouts:
        for start, rollout in evaluation.rollouts[mode].items():
            np.testing.assert_array_equal(rollout.start_qpos, starts[start].start_qpos)
    episodes = starts["clips"].episodes
    assert set(episodes.clip.tolist()) == {0, 1} and len(set(episodes.start_frame.tolist())) > 1
    rows = np.asarray(toy_clips.starts)[episodes.clip] + episodes.start_frame
    expected = np.asarray(toy_clips.qpos())[rows]
    np.testing.assert_allclose(
        starts["clips"].start_qpos, expected, atol=2e-3
    )  # noise at the start
    neutral = starts["neutral"].start_qpos
    np.testing.assert_allclose(neutral[:, 7:], 0.0, atol=2e-3)
    assert evaluation.clips.names[-1] == "neutral" and toy_clips.num_clips == 2


def test_the_same_seed_gives_the_same_motion(evaluator, toy, evaluation):
    def motion(seed: int) -> np.ndarray:
        one = {"learned": PriorMode()}
        short = evaluator.run(one, seconds=0.2, num_episodes=NUM_EPISODES, seed=seed)
        return short.rollouts["learned"]["clips"].steps.qpos

    first = motion(0)
    np.testing.assert_array_equal(first, motion(0))
    np.testing.assert_array_equal(first, evaluation.rollouts["learned"]["clips"].steps.qpos[:20])
    assert np.abs(first - motion(1)).max() > 1e-4


def test_an_upright_body_survives_beyond_the_end_of_its_clip(evaluation):
    document = json.loads(json.dumps(evaluation.summary(), allow_nan=False))
    halves = document.pop("clips")["clips"]
    assert halves["over_halves"]["speed"] is None or halves["over_halves"]["speed"] > 0
    assert set(document) == set(evaluation.rollouts)
    for starts in document.values():
        for figures in starts.values():
            assert figures["num_episodes"] == NUM_EPISODES
            assert figures["survival"] == {"1": 1.0, "1.2": 1.0}
            assert figures["seconds_alive"] == figures["seconds"] == pytest.approx(SECONDS)
            assert figures["survival_interval"]["1"]["high"] == 1.0
            assert 0.4 < figures["survival_interval"]["1"]["low"] < 0.7  # five say little
            assert figures["torso_height"]["data_mean"] == pytest.approx(0.06, abs=0.005)
            assert set(figures["joint_angles"]["per_joint"]) == set(evaluation.clips.joint_names)


def test_progress_counts_all_of_it(evaluator, toy):
    calls = []
    evaluator.run(
        {"mean": PriorMode(std_scale=0.0)},
        starts=("neutral",),
        seconds=0.1,
        num_episodes=NUM_EPISODES,
        progress=lambda *done: calls.append(done),
    )
    assert calls == [(10, 10)]


def test_survival_of_some(evaluation):
    rollout = evaluation.rollouts["mean"]["clips"]
    steps = rollout.steps
    terminated = np.zeros_like(steps.alive)
    terminated[19, 0] = terminated[49, 1] = True  # in the 20th and the 50th step
    alive = np.cumsum(terminated, axis=0) - terminated == 0
    some = rollout.replace(steps=replace(steps, alive=alive, terminated=terminated))
    curve = survival_curve(some, evaluation.num_steps)
    np.testing.assert_array_equal(curve.share[[0, 19, 20, 49, 50, 120]], [1, 1, 0.8, 0.8, 0.6, 0.6])
    assert curve.seconds[20] == pytest.approx(0.2)
    assert (curve.low <= curve.share).all() and (curve.share <= curve.high).all()


@pytest.mark.parametrize(("alive", "count"), [(0, 8), (5, 8), (26, 32), (32, 32)])
def test_interval_of_a_share(alive, count):
    low, high = wilson(np.array([alive / count]), count)
    expected = scipy.stats.binomtest(alive, count).proportion_ci(method="wilson")
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-6)
