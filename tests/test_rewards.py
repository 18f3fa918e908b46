"""Reward terms of the families track_mjx and vnl_playground, and what is common to all families."""

import json
import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observation_helpers import state_of
from scipy.spatial.transform import Rotation
from toy_run import toy_task

from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import ImitationConfig, UpstreamQuirks
from vnl_mjx.config.rewards import (
    MimicReward,
    RewardConfig,
    RewardTermSection,
    TerminationConfig,
    VnlPlaygroundReward,
)
from vnl_mjx.config.task_presets import COMIC_TASK, VNL_PLAYGROUND_TASK
from vnl_mjx.config.validation import check_bounds
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allow
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms, reward_terms

FAMILIES = ("track_mjx", "vnl_playground", "mimic")
VNL_PLAYGROUND_TERMS = {
    *("root_pos", "root_quat", "joints", "joints_vel", "bodies_pos", "end_eff"),
    *("torso_z_range", "control_cost", "control_diff_cost", "energy_cost"),
}


@pytest.fixture(scope="module")
def evaluate(toy_walker, toy_motion):
    """Evaluates the toy walker at a pose against frame 4 of its first clip."""

    def outcome(
        family: str = "vnl_playground",
        qpos: np.ndarray | None = None,
        qvel: np.ndarray | None = None,
        action: float = 0.0,
        previous: float = 0.0,
        changes: dict | None = None,
        config: dict | None = None,
    ) -> StepOutcome:
        task = replace(toy_task(toy_walker.config), reward=RewardConfig(family=family))
        task = replace(task, **(config or {}))
        imitation = ImitationTask(task, toy_walker, make_physics(toy_walker.model, task.physics))
        frame = toy_motion.at(0, 4)
        qpos = np.asarray(frame.qpos()) if qpos is None else qpos
        qvel = np.asarray(frame.qvel()) if qvel is None else qvel
        physics = state_of(toy_walker.model, qpos, qvel).replace(**(changes or {}))
        window = jnp.zeros((task.reward.num_actions_read, 4))
        state = ImitationState(
            physics=physics,
            clip=jnp.int32(0),
            start_frame=jnp.int32(4),
            num_steps=jnp.int32(1),
            previous_action=jnp.full(4, action),
            action_window=window,
            key=jnp.zeros(2, jnp.uint32),
        )
        return imitation.evaluate(state, jnp.full(4, action), jnp.full(4, previous), toy_motion)

    frame = toy_motion.at(0, 4)
    at = SimpleNamespace(qpos=np.array(frame.qpos()), qvel=np.array(frame.qvel()), of=outcome)
    return at


@pytest.mark.parametrize("family", FAMILIES)
def test_perfect_tracking_earns_the_maximum_of_the_imitation_terms(evaluate, family):
    outcome = evaluate.of(family)
    config = RewardConfig(family=family)
    earned = sum(float(outcome.terms[name]) for name in imitation_terms(config))
    assert earned == pytest.approx(imitation_reward_maximum(config), abs=1e-4)
    assert not outcome.terminated
    # the reward stays the sum of the terms, whichever they are
    assert float(outcome.reward) == pytest.approx(sum(map(float, outcome.terms.values())), abs=1e-5)


def test_the_maximum_counts_weights_of_imitation_only():
    assert imitation_reward_maximum(RewardConfig()) == 4.0
    assert imitation_terms(RewardConfig(angvel_weight=0.5, pos_weight=0.0)) == (
        *("quat_reward", "joint_reward", "angvel_reward", "endeff_reward"),
    )
    playground = VnlPlaygroundReward(joints_vel_weight=0.0, end_eff_weight=2.5)
    config = RewardConfig(family="vnl_playground", vnl_playground=playground)
    assert imitation_reward_maximum(config) == 6.5  # torso_z_range is none of them
    assert "joints_vel" not in imitation_terms(config)
    mimic = RewardConfig(family="mimic", mimic=MimicReward(pose_weight=0.5))
    # dm_control's weights sum to 1.9
    assert imitation_reward_maximum(mimic) == pytest.approx(0.5 + 0.5 * 1.9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_diverged_simulation_earns_nothing(evaluate, family):
    zeros = jax.tree.map(
        jnp.zeros_like, {"qpos": jnp.zeros(11), "qvel": jnp.zeros(10), "xpos": jnp.zeros((8, 3))}
    )
    changes = {**zeros, "xmat": jnp.zeros((8, 3, 3)), "diverged": jnp.bool_(True)}
    outcome = evaluate.of(family, changes=changes)
    assert all(float(term) == 0 for term in outcome.terms.values())
    assert all(float(distance) == 0 for distance in outcome.distances.values())
    # its zeroed pose is below every height limit, which is no fall
    assert {name for name, failed in outcome.failures.items() if bool(failed)} == {"nan"}
    assert bool(outcome.terminated) and not outcome.truncated and not outcome.valid


def test_vnl_playground_terms_at_one_scale_are_exp_of_minus_one_half(evaluate):
    config = VnlPlaygroundReward()
    moved = evaluate.qpos.copy()
    moved[1] += config.root_pos_scale
    half = math.exp(-0.5)
    outcome = evaluate.of(qpos=moved)
    assert set(outcome.terms) == VNL_PLAYGROUND_TERMS
    assert float(outcome.terms["root_pos"]) == pytest.approx(half, abs=1e-5)
    assert float(outcome.terms["joints"]) == pytest.approx(1.0, abs=1e-6)
    # every body moved alike: the summed squared distance of 4 bodies, of 2 end effectors
    squared = 0.035**2
    assert float(outcome.terms["bodies_pos"]) == pytest.approx(
        math.exp(-4 * squared / 0.25**2 / 2), abs=1e-5
    )
    assert float(outcome.terms["end_eff"]) == pytest.approx(
        math.exp(-2 * squared / 0.032**2 / 2), abs=1e-5
    )

    # a rotation by 40 degrees is an error of 20 degrees
    turned = evaluate.qpos.copy()
    turn = Rotation.from_quat(turned[3:7], scalar_first=True) * Rotation.from_rotvec(
        [0, math.radians(40), 0]
    )
    turned[3:7] = turn.as_quat(scalar_first=True)
    assert float(evaluate.of(qpos=turned).terms["root_quat"]) == pytest.approx(half, abs=1e-5)
    turned[3:7] *= -1
    assert float(evaluate.of(qpos=turned).terms["root_quat"]) == pytest.approx(half, abs=1e-5)

    bent, faster = evaluate.qpos.copy(), evaluate.qvel.copy()
    bent[7:9] += 1.4 / math.sqrt(2)
    faster[6:] += 0.5  # four joints: L2 of 1 rad/s
    assert float(evaluate.of(qpos=bent).terms["joints"]) == pytest.approx(half, abs=1e-5)
    assert float(evaluate.of(qvel=faster).terms["joints_vel"]) == pytest.approx(half, abs=1e-5)


def test_vnl_playground_costs_and_height(evaluate):
    forces = jnp.zeros(10).at[6:].set(jnp.array([1.0, -2.0, 0.5, 0.0]))
    speeds = np.concatenate([np.full(6, 9.0), [2.0, 1.0, -4.0, 7.0]])
    outcome = evaluate.of(
        qvel=speeds, action=0.5, previous=-0.25, changes={"qfrc_actuator": forces}
    )
    assert float(outcome.terms["control_cost"]) == pytest.approx(-0.02 * 4 * 0.25)
    assert float(outcome.terms["control_diff_cost"]) == pytest.approx(-0.02 * 4 * 0.75**2)
    assert float(outcome.terms["energy_cost"]) == pytest.approx(-0.01 * (2 + 2 + 2))
    strong = evaluate.of(qvel=speeds, changes={"qfrc_actuator": 100 * forces})
    assert float(strong.terms["energy_cost"]) == pytest.approx(-0.01 * 50)

    assert float(outcome.terms["torso_z_range"]) == 1.0
    low = evaluate.qpos.copy()
    low[2] -= 0.03 + 0.06 - 0.0325  # the torso stands 60 mm above the root
    assert float(evaluate.of(qpos=low).terms["torso_z_range"]) == 0.0


def test_weights_of_the_section_scale_its_terms(evaluate):
    weights = VnlPlaygroundReward(
        root_pos_weight=3.0, torso_z_range_weight=0.5, control_cost_weight=1.0
    )
    reward = RewardConfig(family="vnl_playground", vnl_playground=weights)
    outcome = evaluate.of(action=0.5, config={"reward": reward})
    assert float(outcome.terms["root_pos"]) == pytest.approx(3.0, abs=1e-5)
    assert float(outcome.terms["torso_z_range"]) == 0.5
    assert float(outcome.terms["control_cost"]) == pytest.approx(-1.0)


def test_row_shifts_are_track_mjxs_own(evaluate):
    """Other families read the bodies that are named, whatever the quirks say."""
    shifted = {"quirks": UpstreamQuirks(1, 1, 1, False)}
    qpos = evaluate.qpos.copy()
    qpos[7:] += 0.2
    for family in ("vnl_playground", "mimic"):
        plain, other = evaluate.of(family, qpos), evaluate.of(family, qpos, config=shifted)
        assert all(float(plain.terms[name]) == float(other.terms[name]) for name in plain.terms)
    plain, other = evaluate.of("track_mjx", qpos), evaluate.of("track_mjx", qpos, config=shifted)
    assert float(plain.terms["endeff_reward"]) != float(other.terms["endeff_reward"])


def test_terms_of_ones_own_are_added_to_the_family_or_stand_alone(evaluate, tmp_path):
    file = tmp_path / "own_reward.py"
    file.write_text(
        "def height_error(state, reference, walker, power=1):\n"
        "    return abs(state.root_height - reference.position[2]) ** power\n"
    )
    allow(str(file))
    given = {
        "lift": {"function": f"{file}:height_error", "weight": -2, "arguments": {"power": 2}},
        "effort": {"function": "control", "weight": -0.1},  # a built-in one under another name
        "height_within": {"arguments": {"low": 0.0, "high": 0.5}},  # by its own name
    }
    raised = evaluate.qpos.copy()
    raised[2] += 0.01
    for family in ("none", "track_mjx"):
        config = from_dict(ImitationConfig, {"reward": {"family": family, "terms": given}})
        check_bounds(config)
        plain = evaluate.of(family, raised, action=0.5)
        own = evaluate.of(family, raised, action=0.5, config={"reward": config.reward})
        terms = {name: float(own.terms[name]) for name in own.terms if name not in plain.terms}
        assert terms == pytest.approx({"lift": -2e-4, "effort": -0.1, "height_within": 1.0})
        assert all(float(own.terms[name]) == float(plain.terms[name]) for name in plain.terms)
        assert float(own.reward - plain.reward) == pytest.approx(sum(terms.values()), abs=1e-6)
        assert imitation_reward_maximum(config.reward) == (0.0 if family == "none" else 4.0)


def test_named_bodies_and_joints_and_the_floor_by_hand(evaluate, toy_walker):
    """At a pose 3 cm off in z, with one joint 0.2 rad off and the lowest body 1 cm under a high floor."""
    qpos = evaluate.qpos.copy()
    qpos[2] += 0.03
    joint, body = toy_walker.joint_names[0], toy_walker.config.root_body
    qpos[toy_walker.layout.joint_qpos.start] += 0.2
    physics = state_of(toy_walker.model, qpos, evaluate.qvel)
    lowest = float(physics.xpos[1:, 2].min())
    margin = lowest + 0.01 - toy_walker.floor_height
    terms = {
        "body": RewardTermSection("body_tracking", 2.0, {"bodies": [body], "scale": 100.0}),
        "joint": RewardTermSection("joint_tracking", 1.0, {"joints": [joint], "scale": 3.0}),
        "floor": RewardTermSection("below_floor", -5.0, {"margin": margin}),
    }
    config = {"reward": RewardConfig(family="none", terms=terms)}
    found = evaluate.of("none", qpos, config=config).terms
    np.testing.assert_allclose(found["body"], 2.0 * np.exp(-100.0 * 0.03**2), rtol=1e-4)
    np.testing.assert_allclose(found["joint"], np.exp(-3.0 * 0.2**2), rtol=1e-4)
    np.testing.assert_allclose(found["floor"], -5.0 * 0.01, rtol=1e-4)
    terms = {"body": RewardTermSection("body_tracking", 1.0, {"bodies": ["no_body"], "scale": 1.0})}
    with pytest.raises(UserError, match=r"reward\.terms: expected bodies .* 'no_body'"):
        evaluate.of("none", config={"reward": RewardConfig(family="none", terms=terms)})


def test_an_unknown_term_is_refused_by_its_key(evaluate):
    allow("math")
    for given, words in (
        ({"contrl": {}}, r"reward\.terms\.contrl\.function: .*'contrl'.*'control'"),
        ({"a": {"function": "math:nothing"}}, r"reward\.terms\.a\.function: 'math' has no 'noth"),
    ):
        reward = from_dict(ImitationConfig, {"reward": {"terms": given}}).reward
        with pytest.raises(UserError, match=words):
            evaluate.of(config={"reward": reward})


def test_actions_are_kept_for_the_family_that_reads_them():
    assert RewardConfig().num_actions_read == 50
    assert RewardConfig(action_variance_weight=0, action_jerk_weight=0).num_actions_read == 0
    assert RewardConfig(family="vnl_playground").num_actions_read == 0


def test_configurations_without_a_family_are_track_mjxs():
    stored = json.loads(json.dumps(asdict(ImitationConfig(reward=RewardConfig(pos_weight=2.0)))))
    for section in ("reward", "termination"):
        for key in ("family", "vnl_playground", "mimic"):
            del stored[section][key]
    loaded = from_dict(ImitationConfig, stored)
    assert loaded == ImitationConfig(reward=RewardConfig(pos_weight=2.0))
    assert (loaded.reward.family, loaded.termination.family) == ("track_mjx", "track_mjx")


@pytest.mark.parametrize("task", [VNL_PLAYGROUND_TASK, COMIC_TASK])
def test_a_preset_survives_json_and_its_bounds(task):
    assert from_dict(ImitationConfig, json.loads(json.dumps(to_dict(task)))) == task
    check_bounds(task)


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(
        UserError, match=r"reward.family: expected track_mjx, vnl_playground, mimic or"
    ):
        from_dict(ImitationConfig, {"reward": {"family": "deepmimic"}})
    with pytest.raises(UserError, match=r"did you mean reward.mimic.appendages_weight\?"):
        from_dict(ImitationConfig, {"reward": {"mimic": {"apendages_weight": 1}}})
    zero = from_dict(ImitationConfig, {"reward": {"vnl_playground": {"joints_scale": 0}}})
    with pytest.raises(UserError, match="reward.vnl_playground.joints_scale: .*above 0"):
        check_bounds(zero)


def test_a_term_of_ones_own_does_not_take_the_place_of_another():
    own = {"pos_reward": RewardTermSection("height_within", 1.0, {"low": 0.0, "high": 1.0})}
    with pytest.raises(UserError, match=r"reward\.terms\.pos_reward: .*another name"):
        reward_terms(RewardConfig(terms=own), TerminationConfig())
