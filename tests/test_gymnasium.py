"""Tasks as environments of Gymnasium, alone, vectorised and by id."""

import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from vnl_mjx.config.imitation import TerminationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.downstream.goals import GOALS
from vnl_mjx.tasks.imitation import ImitationTask

gymnasium = pytest.importorskip(
    "gymnasium", reason="needs the extra 'gymnasium', which is not here"
)

from gymnasium.utils.env_checker import check_env  # noqa: E402

from vnl_mjx.compat.gymnasium_env import TaskEnv, TaskVectorEnv  # noqa: E402

IDS = "vnl_mjx.gymnasium_ids:vnl_mjx/{}-v0"
NUM_ENVS = 5
# Of whatever has no bound; our observations have none.
UNBOUNDED = "ignore:.*observation space m(ini|axi)mum value is:UserWarning"


@pytest.fixture(scope="module")
def mixed_task(toy_config, task) -> ImitationTask:
    """Some of its episodes fail, others meet the end of their clip."""
    termination = TerminationConfig(healthy_z_range=(0.02, 0.5), max_joint_error=0.2)
    config = replace(task.config, episode_frames=6, termination=termination)
    return ImitationTask(config, task.walker, task.physics)


@pytest.fixture(scope="module")
def env(mixed_task, toy_clips) -> TaskEnv:
    return TaskEnv(mixed_task, toy_clips)


@pytest.fixture(scope="module")
def envs(mixed_task, toy_clips) -> TaskVectorEnv:
    return TaskVectorEnv(mixed_task, toy_clips, num_envs=NUM_ENVS)


@pytest.mark.filterwarnings(UNBOUNDED)
@pytest.mark.parametrize("options", [{}, {"observation": "parts"}], ids=["flat", "parts"])
def test_gymnasium_finds_nothing_wrong_with_imitation(distilled, options):
    env = gymnasium.make(IDS.format("Imitation"), path=distilled[0] / "run", **options)
    check_env(env.unwrapped, skip_render_check=True)
    assert isinstance(env.observation_space, gymnasium.spaces.Dict) is bool(options)
    assert env.metadata["render_fps"] == pytest.approx(100.0)


@pytest.mark.filterwarnings(UNBOUNDED)
def test_gymnasium_finds_nothing_wrong_with_the_joystick(distilled):
    env = gymnasium.make(IDS.format("Joystick"), low_level=distilled[0] / "run")
    check_env(env.unwrapped, skip_render_check=True)
    env.reset()
    assert env.action_space.shape == (3,)  # the student's latent
    *_, info = env.step(np.zeros(3, np.float32))
    assert "speed" in info["reward_terms"] and "beyond_prior" in info["distances"]
    assert info["failures"] == {"fall": False, "nan": False} and info["overflowed"] is False


def test_it_steps_as_the_task_does(env, mixed_task, toy_clips):
    seen, _ = env.reset(seed=3)
    state = env.state
    np.testing.assert_allclose(seen, mixed_task.observe(state, toy_clips).flat(), atol=1e-6)
    action = np.full(env.action_space.shape, 0.3, np.float32)
    seen, reward, terminated, truncated, info = env.step(action)
    after, outcome = jax.jit(mixed_task.step)(state, action, toy_clips)
    np.testing.assert_allclose(seen, mixed_task.observe(after, toy_clips).flat(), atol=1e-6)
    assert (
        reward == pytest.approx(float(outcome.reward)) and (terminated, truncated) == (False,) * 2
    )
    assert info["reward_terms"] == pytest.approx(jax.tree.map(float, outcome.terms), abs=1e-6)
    assert sum(info["reward_terms"].values()) == pytest.approx(reward, abs=1e-5)
    assert info["failures"].keys() == outcome.failures.keys()


def played(env, seed, actions):
    """The steps of one episode."""
    steps = [(env.reset(seed=seed)[0], 0.0, False, False, {})]
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


def test_each_of_many_is_as_one_alone_and_starts_again(env, envs):
    size = env.action_space.shape
    push = np.random.default_rng(1).choice([-1.0, 1.0], (NUM_ENVS, *size)).astype(np.float32)
    push[:2] = 0.0  # these come to the end
    alone = [played(env, 7 + row, [push[row]] * 20) for row in range(NUM_ENVS)]
    ends = [len(steps) - 1 for steps in alone]
    assert any(steps[-1][2] for steps in alone) and any(steps[-1][3] for steps in alone)

    obs, _ = envs.reset(seed=7)
    np.testing.assert_allclose(obs, [steps[0][0] for steps in alone], atol=1e-6)
    for t in range(1, max(ends) + 1):
        obs, reward, terminated, truncated, info = envs.step(push)
        done = terminated | truncated
        final, final_info = info.get("final_obs"), info.get("final_info")
        assert ("final_obs" in info) == done.any() and obs.flags.writeable
        for row in np.flatnonzero(np.array(ends) >= t):
            seen, own_reward, *own_ends, own_info = alone[row][t]
            assert reward[row] == pytest.approx(own_reward, abs=1e-4)
            assert [terminated[row], truncated[row]] == own_ends
            assert info["_reward_terms"][row] == (not done[row])
            found = final_info if done[row] else info
            for name, value in own_info["failures"].items():
                assert found["failures"][name][row] == value
            np.testing.assert_allclose(final[row] if done[row] else obs[row], seen, atol=1e-3)
        if done.any():
            np.testing.assert_array_equal(info["_final_obs"], done)
            np.testing.assert_array_equal(info["_final_info"], done)
            assert [x is not None for x in final] == list(done)
            np.testing.assert_array_equal(np.asarray(envs.state.num_steps)[done], 0)
            for row in np.flatnonzero(done):
                assert np.abs(final[row] - obs[row]).max() > 1e-3
    assert envs.metadata["autoreset_mode"].name == "SAME_STEP"


def test_a_seed_says_all_that_follows(envs):
    actions = np.random.default_rng(0).uniform(-1, 1, (15, *envs.action_space.shape))

    def run(seed):
        rows = [envs.reset(seed=seed)[0], *(envs.step(action)[0] for action in actions)]
        return np.array([*rows, envs.reset()[0]])

    first = run(5)
    np.testing.assert_array_equal(first, run(5))
    assert (first != run(6)).any()
    assert (first[0] != first[-1]).any()  # an unseeded reset goes on
    np.testing.assert_array_equal(first[0], run([5, 6, 7, 8, 9])[0])


def test_parts_and_wrappers(mixed_task, toy_clips):
    envs = TaskVectorEnv(mixed_task, toy_clips, num_envs=2, observation="parts")
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    obs, _ = envs.reset(seed=0)
    assert obs in envs.observation_space
    lengths = []
    for _ in range(30):
        obs, _, terminated, truncated, info = envs.step(np.zeros((2, 4), np.float32))
        if (done := terminated | truncated).any():
            assert info["final_obs"][done][0] in envs.single_observation_space
            lengths += list(info["episode"]["l"][done])
    assert lengths and max(lengths) == mixed_task.max_episode_steps == 12


def test_each_goal_has_an_id_and_so_may_ones_own(distilled, tmp_path):
    import vnl_mjx.gymnasium_ids as ids

    found = {name for name in gymnasium.registry if name.startswith("vnl_mjx/")}
    goals = {f"vnl_mjx/{ids.camel(name)}-v0" for name in GOALS}
    assert found == goals | {"vnl_mjx/Imitation-v0", "vnl_mjx/Task-v0"}
    assert "vnl_mjx/GoToTarget-v0" in found
    own = tmp_path / "own_goal.py"
    own.write_text(
        "from vnl_mjx.tasks.downstream.joystick import Joystick\n"
        "class Slow(Joystick):\n    name, FASTEST = 'slow', 0.1\n"
    )
    run = distilled[0] / "run"
    envs = gymnasium.make_vec(
        "vnl_mjx/Task-v0", num_envs=3, goal=f"{own}:Slow", low_level=run, mode="scratch"
    )
    assert envs.action_space.shape == (3, 4) and envs.unwrapped.task.goal.name == "slow"


def test_mistakes_are_named(distilled, task, toy_clips, tmp_path):
    def make(name, **options):
        return gymnasium.make(IDS.format(name), **options)

    with pytest.raises(UserError, match="^mode: expected one of prior_decoder.*found 'latent'"):
        make("Joystick", mode="latent")
    with pytest.raises(UserError, match="^residual: .*found 'ball'"):
        make("Joystick", residual="ball")
    with pytest.raises(UserError, match="^goal: unknown goal 'joystik'"):
        make("Task", goal="joystik")
    with pytest.raises(UserError, match="does not exist"):
        make("Imitation", path=tmp_path / "nothing")
    with pytest.raises(UserError, match="^view: .*found 'back'"):
        make("Imitation", path=distilled[0] / "run", view="back")
    with pytest.raises(UserError, match="^observation: .*found 'pixels'"):
        TaskEnv(task, toy_clips, observation="pixels")
    with pytest.raises(
        UserError, match="^render_mode: expected None or 'rgb_array', found 'human'"
    ):
        TaskEnv(task, toy_clips, render_mode="human")
    with pytest.raises(UserError, match="^render_mode: .*needs a camera"):
        TaskVectorEnv(task, toy_clips, render_mode="rgb_array")
    env = TaskVectorEnv(task, toy_clips, num_envs=2)
    with pytest.raises(UserError, match="^options: expected none, found clip"):
        env.reset(options={"clip": 0})
    with pytest.raises(UserError, match="^seed: expected 2 seeds, found 1"):
        env.reset(seed=[0])


def test_it_is_loaded_only_when_asked_for():
    code = """
import sys, vnl_mjx.compat.brax_env, vnl_mjx.cli, vnl_mjx.api
assert "gymnasium" not in sys.modules
sys.modules["gymnasium"] = None  # as if it were not installed
try:
    import vnl_mjx.gymnasium_ids
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UserError gymnasium: needs the extra 'gymnasium', found no")
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@pytest.mark.render
def test_pictures_of_two_at_once(distilled, backend):
    run, size = distilled[0] / "run", (96, 64)
    one = gymnasium.make(
        IDS.format("Imitation"), path=run, render_mode="rgb_array", size=size, view="top"
    )
    many = gymnasium.make_vec(
        "vnl_mjx/Joystick-v0", num_envs=2, low_level=run, render_mode="rgb_array", size=size
    )
    one.reset(seed=0)
    many.reset(seed=0)
    first, both = one.render(), many.render()
    assert first.shape == (64, 96, 3) and first.dtype == np.uint8 and first.std() > 1
    assert len(both) == 2 and both[0].shape == first.shape and (both[0] != both[1]).any()
    np.testing.assert_array_equal(one.render(), first)
    one.close()
    one.close()
    np.testing.assert_array_equal(many.render()[1], both[1])
    many.close()
