"""The goals of tasks in a student's latent space: what they draw, count and measure, and their arenas."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import vnl_mjx
from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.downstream.arena import in_arena, physics_like
from vnl_mjx.tasks.downstream.bowl import Bowl, BowlGround
from vnl_mjx.tasks.downstream.follow_target import FollowTarget
from vnl_mjx.tasks.downstream.forage import Forage
from vnl_mjx.tasks.downstream.gaps import Gaps, Platforms
from vnl_mjx.tasks.downstream.go_to_target import GoToTarget
from vnl_mjx.tasks.downstream.goal import Frame, Motion
from vnl_mjx.tasks.downstream.goals import GOALS, make_goal
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.rearing import Rearing
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.tasks.downstream.velocity import Velocity
from vnl_mjx.tasks.downstream.walk_and_rear import WalkAndRear
from vnl_mjx.tasks.environment import VectorEnvironment
from vnl_mjx.training.motion_matching import in_hindsight

NUM_ENVS, KEY = 4, jax.random.key(0)


@pytest.fixture(scope="module")
def loaded(distilled):
    return vnl_mjx.load(distilled[0] / "run")


def environment(loaded, goal):
    low_level = LowLevel.of(loaded.student)
    goal.bodies = {called: "leg_front" for called in goal.bodies}  # the toy has no skull
    task = DownstreamTask(goal, loaded.env.task, low_level, episode_s=0.2)
    return VectorEnvironment(task), DownstreamData(low_level, loaded.clips)


def motion(place=(0.0, 0.0, 0.06), yaw=0.0, head=(0.06, 0.0, 0.06), **pace):
    """Of a body that is upright at `place`, its head anywhere in the world."""
    turn = jnp.array(
        [[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
    )
    pace = {"forward": 0.0, "sideways": 0.0, "turning": 0.0} | pace
    head = {"head": Frame(jnp.array(head), turn)}
    return Motion(Frame(jnp.array(place), turn), bodies=head, step_s=0.1, **pace)


def played(goal, motions, state=None):
    """The goal's measures over a series of motions, NumPy, and where it ends."""
    state = goal.draw(KEY, motions[0]) if state is None else state
    measured = []
    for now in motions:
        state = goal.advance(now, state, KEY)
        measured.append(goal.measures(now, state))
    return {name: np.array([m[name] for m in measured], float) for name in measured[0]}, state


@pytest.mark.parametrize("name", sorted(GOALS.keys() - {"joystick"}))
def test_it_runs_and_begins_anew(loaded, name):
    env, data = environment(loaded, goal := make_goal(name, "goal"))
    actions = jax.random.uniform(KEY, (50, NUM_ENVS, env.action_size), minval=-1, maxval=1)

    @jax.jit
    def roll(actions, data):
        state = env.reset(KEY, NUM_ENVS, data)

        def step(state, action):
            moved, outcome = env.step(state, action, data)
            after = env.reset_finished(moved, outcome, data)
            return after, (outcome, env.observe(after, data).parts["goal"], after.goal)

        return state.goal, jax.lax.scan(step, state, actions)[1]

    first, (outcome, seen, goals) = roll(actions, data)
    assert seen.shape == (50, NUM_ENVS, goal.observation_size) and np.isfinite(seen).all()
    assert np.isfinite(outcome.reward).all()
    assert all(np.isfinite(values).all() for values in outcome.distances.values())
    np.testing.assert_allclose(outcome.reward, sum(outcome.terms.values()), rtol=1e-4, atol=1e-5)
    assert set(goal.events) <= outcome.distances.keys()
    assert outcome.done.any(0).all()
    if name in ("go_to_target", "forage"):  # places are those of the new episode
        old = np.asarray(jax.vmap(goal.marks)(first))
        new = np.asarray(jax.vmap(jax.vmap(goal.marks))(goals))
        for i, end in enumerate(np.argmax(outcome.done, axis=0)):
            assert np.abs(new[end, i] - old[i]).max() > 1e-3


def test_what_was_eaten_or_held_is_forgotten_at_a_reset(loaded):
    env, data = environment(loaded, Forage())
    state = env.reset(KEY, NUM_ENVS, data)
    one_ate_all = state.goal.is_left.at[0].set(False)
    moved, outcome = jax.jit(env.step)(
        state.replace(goal=state.goal._replace(is_left=one_ate_all)),
        jnp.zeros((NUM_ENVS, env.action_size)),
        data,
    )
    assert outcome.truncated.tolist() == [True, False, False, False]
    assert not outcome.terminated.any()
    fresh = env.reset_finished(moved, outcome, data)
    assert fresh.goal.is_left.all() and fresh.num_steps.tolist() == [0, 1, 1, 1]
    np.testing.assert_array_equal(fresh.goal.places[1:], state.goal.places[1:])
    assert np.abs(fresh.goal.places[0] - state.goal.places[0]).max() > 1e-3


def test_places_are_seen_from_the_body():
    now = motion(place=(1.0, 2.0, 0.05), yaw=0.7, forward=0.2, sideways=-0.1)
    place = jnp.array([1.3, 1.8, 0.15])
    cosine, sine = np.cos(0.7), np.sin(0.7)
    x, y = 0.3, -0.2
    seen = [cosine * x + sine * y, cosine * y - sine * x, 0.1]
    np.testing.assert_allclose(now.root.sees(place), seen, atol=1e-6)
    np.testing.assert_allclose(
        now.root.beside(*map(jnp.float32, seen[:2]))[:2], place[:2], atol=1e-6
    )
    # the distance shrinks at the speed that `approach` says
    velocity = np.array([0.2 * cosine + 0.1 * sine, 0.2 * sine - 0.1 * cosine])
    np.testing.assert_allclose(now.velocity, velocity, atol=1e-6)
    away = np.array([x, y])
    slower = np.linalg.norm(away - 1e-4 * velocity)
    np.testing.assert_allclose(
        now.approach(place), (np.linalg.norm(away) - slower) / 1e-4, atol=1e-3
    )


def test_a_target_is_reached_once_and_ends_the_episode():
    goal, place = GoToTarget(), jnp.array([0.4, 0.0, 0.06])
    path = [motion(place=(x, 0.03, 0.06)) for x in np.linspace(0.0, 0.4, 9)]
    found, _ = played(goal, path, place)
    np.testing.assert_allclose(
        found["distance_m"], np.hypot(0.4 - np.linspace(0, 0.4, 9), 0.03), atol=1e-6
    )
    assert found["reached"].tolist() == [0.0] * 8 + [1.0]
    assert [bool(goal.finished(now, place)) for now in path[-2:]] == [False, True]
    drawn = jax.vmap(lambda key: goal.draw(key, motion(place=(5.0, 5.0, 0.06), yaw=np.pi / 2)))(
        jax.random.split(KEY, 500)
    )
    ahead, left = drawn[:, 1] - 5.0, 5.0 - drawn[:, 0]
    assert 0.1 <= ahead.min() < 0.15 and 0.75 < ahead.max() <= 0.8
    assert np.abs(left).max() <= 0.15 and left.min() < -0.1 and left.max() > 0.1


def test_a_rear_counts_when_it_was_held_and_the_head_was_down_between():
    def heads(*parts):
        return [motion(head=(0.06, 0.0, 0.06 + over)) for over, n in parts for _ in range(n)]

    up, middle, down = 0.051, 0.03, 0.009
    rears = played(Rearing(), heads((up, 9), (middle, 1), (up, 9)))[0]["rears"]
    assert not rears.any()  # 0.9 s each
    found, state = played(Rearing(), heads((0.0, 2), (up, 30), (middle, 1), (up, 15)))
    assert np.flatnonzero(found["rears"]).tolist() == [11]  # at 1 s; neither held on nor half down
    assert not state.is_armed
    found, _ = played(Rearing(), heads((up, 12), (down, 1), (up, 10)))
    assert np.flatnonzero(found["rears"]).tolist() == [9, 22]
    np.testing.assert_allclose(found["head_height_m"][0], 0.111, atol=1e-6)


def test_walk_and_rear_is_done_after_a_second_without_a_break():
    goal, there = WalkAndRear(), (0.5, 0.04, 0.115)
    start = goal.draw(KEY, motion())
    np.testing.assert_allclose(start.place, [0.5, 0.0, 0.1], atol=1e-6)
    beside, above = (0.5, 0.06, 0.1), (0.5, 0.0, 0.125)
    for away in (beside, above):
        heads = [there] * 6 + [away] + [there] * 10
        found, state = played(goal, [motion(head=head) for head in heads], start)
        assert np.flatnonzero(found["reached"]).tolist() == [16]
        assert goal.finished(motion(head=there), state)


def test_a_treat_is_eaten_once_and_smells_no_more():
    goal = Forage()
    treats = goal.draw(KEY, motion())
    away = np.linalg.norm(treats.places[:, :2], axis=1)
    assert (away > 0.3).all() and (away < 1.0).all() and not treats.places[:, 2].any()
    over = [(*np.asarray(place[:2]), 0.09) for place in treats.places]
    far = (9.0, 9.0, 0.09)
    found, state = played(
        goal, [motion(head=h) for h in (over[0], over[0], far, over[1], over[0])], treats
    )
    others = np.linalg.norm(treats.places[:, None] - treats.places[None, :], axis=-1)
    expected_first = (others[0] < goal.EATEN_M).sum()
    assert found["treats_eaten"].tolist()[:3] == [expected_first, 0, 0]
    assert found["treats_eaten"].sum() == (~state.is_left).sum()
    _, state = played(goal, [motion(head=h) for h in over], treats)
    assert goal.finished(motion(), state) and np.isnan(goal.marks(state)).all()

    def smell(head, left):
        away = np.linalg.norm(np.asarray(treats.places)[:, :2] - head, axis=1)
        return np.log((left * np.exp(-away / 0.1)).sum())

    left, head = np.array([1, 0, 1, 1, 0], bool), np.array([0.1, -0.2])
    now = motion(head=(*head, 0.05), yaw=0.4)
    strength, *way = goal.observe(now, treats._replace(is_left=jnp.asarray(left)))
    assert strength == pytest.approx(smell(head, left), rel=1e-5)
    slopes = [
        0.1 * (smell(head + d, left) - smell(head - d, left)) / 2e-4 for d in 1e-4 * np.eye(2)
    ]
    turned = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]]) @ slopes
    np.testing.assert_allclose(way, [*turned, 0.0], atol=1e-4)


def test_a_gap_counts_once():
    goal = Gaps()
    ends = goal.platforms.gap_ends
    x = [0.0, ends[0] + 0.09, ends[0] + 0.11, ends[0] - 0.2, ends[0] + 0.2, ends[2] + 0.2]
    found, state = played(goal, [motion(place=(v, 0.0, 0.06)) for v in x])
    assert found["gaps_crossed"].tolist() == [0, 0, 1, 0, 0, 2]
    assert found["gained_m"].sum() == pytest.approx(ends[2] + 0.2, abs=1e-5)
    assert not goal.finished(motion(), state)
    _, state = played(goal, [motion(place=(ends[-1] + 0.2, 0.0, 0.06))])
    assert goal.finished(motion(), state)
    seen = np.asarray(goal.observe(motion(place=(ends[7] + 0.05, 0.1, 0.06)), state))
    starts = goal.platforms.gap_starts
    np.testing.assert_allclose(seen[0], starts[8] - ends[7] - 0.05, atol=1e-5)
    np.testing.assert_allclose(seen[[1, 4]], (ends - starts)[8:], atol=1e-5)
    np.testing.assert_allclose(seen[6:9], [2.0, 0.0, 0.0])  # there is no third one
    np.testing.assert_allclose(seen[-1], 0.4, atol=1e-6)


def test_a_wandering_target_glides_within_reach():
    goal, now = FollowTarget(), motion()

    def glide(state, key):
        state = goal.advance(now, state, key)
        return state, state.place

    start = goal.draw(KEY, now)
    _, places = jax.lax.scan(glide, start, jax.random.split(KEY, 3000))
    offsets = np.asarray(places) - np.array([0.06, 0.0, 0.06])
    assert np.abs(offsets[:, :2]).max() <= 0.1 and offsets[:, :2].std(0).min() > 0.02
    assert offsets[:, 2].min() >= -0.03 - 1e-6 and offsets[:, 2].max() <= 0.05
    assert np.linalg.norm(np.diff(offsets, axis=0), axis=1).max() < 0.08  # steps are of 0.1 s here


def test_standing_earns_what_it_should():
    velocity, still = Velocity(), motion()
    goal = velocity.draw(KEY, still)
    assert sum(velocity.terms(still, goal).values()) == 0.0
    assert sum(velocity.terms(motion(forward=0.3), goal).values()) == pytest.approx(1.0)
    assert velocity.measures(motion(forward=0.1), goal)["speed_error_m_per_s"] == pytest.approx(0.2)
    bowl = Bowl()
    assert float(sum(bowl.terms(still, ()).values())) == 0.0
    out = bowl.terms(motion(place=(1.0, 0.0, 0.06), forward=0.2), ())
    assert out["out"] == pytest.approx(0.5) and out["outward"] == pytest.approx(0.6)
    gaps = Gaps()
    terms = gaps.terms(still, gaps.draw(KEY, still))
    assert float(sum(terms.values())) == pytest.approx(0.1 + 0.2)  # alive, and faces along


def test_an_arena_is_where_it_says_it_is(rodent):
    bowl, platforms = BowlGround(), Platforms()
    for arena in (bowl, platforms):
        walker = in_arena(rodent, arena)
        model, data = walker.model, mujoco.MjData(walker.model)
        assert tuple(model.body(i).name for i in range(model.nbody)) == rodent.body_names
        mujoco.mj_kinematics(model, data)
        assert (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE).all()

        def height(x, y, model=model, data=data):
            start, hit = np.array([x, y, 5.0]), np.zeros(1, np.int32)
            distance = mujoco.mj_ray(model, data, start, np.array([0, 0, -1.0]), None, 1, -1, hit)
            return 5.0 - distance if hit[0] >= 0 else -np.inf

        for x, y in np.random.default_rng(0).uniform(0.3, 1.9, (20, 2)) * (-1.0, 1.0):
            if arena is bowl:
                expected = float(arena.ground(jnp.array([x, y]))) + rodent.floor_height
                assert height(x, y) == pytest.approx(expected, abs=1e-5)
    assert abs(float(bowl.ground(jnp.zeros(2)))) < 1e-6  # as high as the floor was
    assert np.ptp(bowl.heights) == 1.0 and BowlGround(1).heights.std() != bowl.heights.std()
    gaps = platforms.gap_ends - platforms.gap_starts
    assert len(gaps) == 10 and (gaps > 0.03).all() and (gaps < 0.12).all()
    for start, end in zip(platforms.gap_starts, platforms.gap_ends, strict=True):
        assert [
            height(x, 0.1) > -1 for x in (start - 1e-3, start + 1e-3, end - 1e-3, end + 1e-3)
        ] == [
            True,
            False,
            False,
            True,
        ]


def test_an_arena_takes_a_clips_frame_to_its_start(loaded):
    env, data = environment(loaded, Gaps())
    task, clips = env.task, data.starts
    turned = clips.at(1, 5).replace(velocity=jnp.array([0.2, 0.1, 0.0]))
    root = task.walker.root_body
    moved = task._at_start(turned)
    data_c = mujoco.MjData(task.walker.model)
    data_c.qpos[:] = moved.qpos()
    mujoco.mj_kinematics(task.walker.model, data_c)
    np.testing.assert_allclose(data_c.xpos[root][:2], 0.0, atol=1e-6)
    assert data_c.xmat[root].reshape(3, 3)[1, 0] == pytest.approx(0.0, abs=1e-6)
    assert data_c.xpos[root][2] == pytest.approx(float(turned.body_positions[root, 2]), abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(moved.velocity), np.hypot(0.2, 0.1), rtol=1e-6)


def test_the_low_level_feels_the_height_over_the_ground(loaded):
    env, data = environment(loaded, Bowl())
    task = env.task
    state = task.reset(KEY, data)
    place = jnp.array([1.2, -0.9])
    rise = task.goal.arena.ground(place)
    shift = jnp.append(place, rise)
    assert abs(rise) > 0.01
    physics = state.physics.replace(
        qpos=state.physics.qpos.at[:3].add(shift), xpos=state.physics.xpos + shift
    )
    there = state.replace(physics=physics, previous_qpos=state.previous_qpos.at[:3].add(shift))
    # the root body's start is the origin, so that it is at `place` now
    np.testing.assert_allclose(
        task.body(there, data.low_level), task.body(state, data.low_level), atol=2e-5
    )
    grounds = [task.motion(where).ground for where in (there, state)]
    np.testing.assert_allclose(grounds[0] - grounds[1], rise, atol=1e-5)


def test_what_cannot_be_is_refused(loaded, rodent):
    low_level = LowLevel.of(loaded.student)
    with pytest.raises(UserError, match="expected a body 'skull'"):
        DownstreamTask(Rearing(), loaded.env.task, low_level)
    with pytest.raises(UserError, match="nearest name is 'velocity'"):
        make_goal("velocty", "goal")
    assert isinstance(make_goal("vnl_mjx.tasks.downstream.gaps:Gaps", "goal"), Gaps)
    mjx = make_physics(rodent.model, PhysicsConfig(), "mjx")
    for arena in (BowlGround(), Platforms()):
        with pytest.raises(UserError, match="choose mujoco or warp"):
            physics_like(mjx, in_arena(rodent, arena).model)


@pytest.mark.parametrize("ahead", [4, 5])
def test_what_came_of_an_action_is_the_goal_that_it_was_for(ahead):
    walks = [motion((0.01 * i, 0.0, 0.06), forward=0.1 * i, turning=-1.0 * i) for i in range(12)]
    walk = jax.tree.map(lambda *x: jnp.stack(x), *walks)
    seen = in_hindsight(make_goal("joystick", "goal"), walk, ahead)
    # speed and turning later on, in the second half of the steps ahead, and as they are
    steps = [np.arange(ahead // 2 + 1, ahead + 1) + i for i in range(12 - ahead)]
    means = np.array([own.mean() for own in steps])
    now = np.arange(12 - ahead)
    expected = np.stack([0.1 * means, -means, 0.1 * now, -now], axis=-1)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
    # a place ahead, farther by as much as it got
    seen = in_hindsight(GoToTarget(), walk, ahead)
    np.testing.assert_allclose(seen, np.tile([0.02 * ahead, 0.0, 0.0], (12 - ahead, 1)), atol=1e-6)
