"""What a policy learns from at first: a pull to the pose, another policy, torques in their place."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_helpers import untrained_policy
from ppo_batches import quick_jit
from toy_run import toy_task

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.commands.train.experiment import build_actor_critic
from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.config.teacher import GuidedStartSection, NetworkSection
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.guides import BatchedGuide, PolicyGuide, PoseGuide, TorqueGuide
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.training.guided_start import started_from_guide
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.walkers.walker import build_walker

NUM_ENVS = 3
FILTER = 'dyntype="filter" dynprm="0.04"'


def built(config: WalkerConfig) -> ImitationTask:
    walker, task = build_walker(config), toy_task(config)
    return ImitationTask(task, walker, make_physics(walker.model, task.physics, num_threads=1))


def servo(config: WalkerConfig):
    """The body with position actuators, one substep at a time."""
    return make_physics(build_walker(config).model, PhysicsConfig(num_substeps=1), num_threads=1)


@pytest.fixture(scope="module", params=["filter", "none"])
def bodies(request, toy_config, tmp_path_factory) -> tuple[WalkerConfig, WalkerConfig]:
    """The toy walker with torque and with position actuators, that lag or do not."""
    text = Path(toy_config.source).read_text()
    assert FILTER in text
    file = tmp_path_factory.mktemp("bodies") / "toy.xml"
    file.write_text(text if request.param == "filter" else text.replace(FILTER, ""))
    torque = replace(toy_config, source=str(file), torque_actuators=True)
    return torque, replace(torque, torque_actuators=False)


def bent(task: ImitationTask, clips):
    """Environments whose joints are 0.1 rad from the reference, and whose actuators do not pull."""
    state = ImitationEnvironment(task).reset(jax.random.PRNGKey(0), NUM_ENVS, clips)
    physics = state.imitation.physics
    moved = physics.replace(qpos=physics.qpos.at[:, 7:].add(-0.1))
    if physics.act.shape[1] and not task.config.walker.torque_actuators:
        hold = jax.vmap(PoseControl(task.physics.model).hold)
        moved = moved.replace(act=hold(moved.qpos[:, 7:]))
    return state.replace(imitation=state.imitation.replace(physics=moved))


def test_a_guide_is_asked_for_each_environment(bodies, toy_walker):
    """In the pose of the reference, all but for the noise of the reset, it holds that pose: control 0."""
    standing = np.tile(toy_walker.model.qpos0, (20, 1))
    task, clips = built(bodies[1]), clips_from_poses(toy_walker, standing, [20], 50.0)
    guide_fn = BatchedGuide(PoseGuide(task, task.physics.model))
    state = ImitationEnvironment(task).reset(jax.random.PRNGKey(0), 2, clips)
    guide = guide_fn(state, clips)
    assert guide.shape == (2, task.action_size) and np.abs(guide).max() < 0.01
    physics = state.imitation.physics
    lower = physics.qpos.at[1, 7:].add(-0.2)
    state = state.replace(imitation=state.imitation.replace(physics=physics.replace(qpos=lower)))
    pulled = guide_fn(state, clips)
    np.testing.assert_array_equal(pulled[0], guide[0])
    assert (pulled[1] > 0.1).all()


def test_torques_move_the_body_as_position_actuators_do(bodies, toy_clips):
    torque, position = map(built, bodies)
    model = position.physics.model
    guides = (
        TorqueGuide(PoseGuide(torque, model), torque, servo(bodies[1])),
        PoseGuide(position, model),
    )
    ways = []
    for task, guide in zip((torque, position), map(BatchedGuide, guides), strict=True):

        def step(state, task=task, guide=guide):
            ctrl = guide(state, toy_clips)
            moved = jax.vmap(lambda s, a: task.step(s, a, toy_clips)[0])(state.imitation, ctrl)
            return state.replace(imitation=moved)

        state, step, way = bent(task, toy_clips), quick_jit(step), []
        for _ in range(10):
            state = step(state)
            way.append(np.asarray(state.imitation.physics.qpos[:, 7:]))
        ways.append(np.stack(way))
    went = np.abs(ways[1][-1] - ways[1][0]).min()
    assert went > 0.02  # rad
    assert np.abs(ways[0] - ways[1]).max() < 0.2 * went


def test_stiffer_servos_are_pulled_less(bodies, toy_clips):
    def pull(servo_sag: float) -> float:
        task = built(replace(bodies[1], servo_sag=servo_sag))
        guide = BatchedGuide(PoseGuide(task, task.physics.model))
        state = bent(task, toy_clips)
        on_clip = ImitationEnvironment(task).reset(jax.random.PRNGKey(0), NUM_ENVS, toy_clips)
        return float(np.abs(guide(state, toy_clips) - guide(on_clip, toy_clips)).mean())

    assert pull(0.1) == pytest.approx(0.1 * pull(1.0), rel=1e-3)


@pytest.mark.slow
def test_a_policy_starts_from_a_guide(toy_config, toy_clips):
    task = built(replace(toy_config, torque_actuators=False))
    env, guide = ImitationEnvironment(task), BatchedGuide(PoseGuide(task, task.physics.model))
    model = build_actor_critic(env, NetworkSection(encoder_hidden_sizes=(32,), latent_dim=8))
    ppo = PpoSection(num_envs=NUM_ENVS, num_minibatches=1, num_steps=1000)
    trainer = Ppo(env, model, toy_clips, ppo)
    config = GuidedStartSection(num_steps=900, num_rounds=2, gradient_steps=300)
    begun = trainer.init(0)
    state, explained = started_from_guide(trainer, begun, guide, config, seed=0)
    assert explained > 0.9

    def distance(state) -> float:
        starts = env.reset(jax.random.PRNGKey(7), 50, toy_clips)
        acted = trainer.frozen_policy(state).act(env.observe(starts, toy_clips).flat()).action
        return float(jnp.square(acted - guide(starts, toy_clips)).mean())

    assert distance(state) < 0.3 * distance(begun)


def test_a_policy_guides_by_its_mode(bodies, toy_clips):
    task = built(bodies[1])
    policy = untrained_policy(task)
    state = bent(task, toy_clips)
    found = BatchedGuide(PolicyGuide(task, policy))(state, toy_clips)
    seen = ImitationEnvironment(task).observe(state, toy_clips).flat()
    np.testing.assert_allclose(found, jnp.clip(policy.act(seen, ()).action, -0.95, 0.95), atol=1e-6)
    with pytest.raises(UserError, match="recurrent"):
        PolicyGuide(task, untrained_policy(task, lstm_num_layers=1))


def test_actuators_of_other_dynamics_have_no_torque_guide(bodies, toy_config, tmp_path):
    file = tmp_path / "muscle.xml"
    file.write_text(Path(toy_config.source).read_text().replace(FILTER, 'dyntype="integrator"'))
    odd = built(replace(bodies[0], source=str(file)))
    pose = PoseGuide(odd, build_walker(bodies[1]).model)
    with pytest.raises(UserError, match=r"ppo\.guidance: .*INTEGRATOR"):
        TorqueGuide(pose, odd, servo(bodies[1]))


@pytest.mark.parametrize("key", ["init_from=demo", "network.lstm_num_layers=1"])
def test_a_guided_start_is_refused_where_it_cannot_be(key):
    with pytest.raises(UserError, match=r"guided_start\.num_steps: expected 0 with"):
        load_teacher_config(["guided_start.num_steps=100", key])
