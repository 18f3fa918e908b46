"""Bodies with muscles: kept when asked, excited by actions from -1 to 1, and observed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from vnl_mjx import cli
from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.config.walker import body_of_keys
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.walkers.proposal import propose
from vnl_mjx.walkers.walker import build_walker

MUSCLES = Path(__file__).parents[1] / "examples" / "extend" / "muscles.xml"


def test_muscles_are_kept_when_asked_and_observed():
    servos, own = propose(str(MUSCLES)), propose(str(MUSCLES), keep_actuators=True)
    assert "servo_hz" in servos.keys and any("--actuators own" in check for check in servos.checks)
    assert "servo_hz" not in own.keys and not any("own" in check for check in own.checks)
    assert own.keys["task"]["proprioception"][-1] == "activations"
    assert own.keys["task"]["initial_activation"] == "zero"
    walker = build_walker(body_of_keys({"source": str(MUSCLES), **own.keys}, MUSCLES))
    assert walker.model.na == walker.model.nu == 4
    assert walker.actuator_groups == {"actuators": [0, 1, 2, 3]}  # no rodent's forelimb


@pytest.mark.parametrize("backend", ["mujoco", "mjx"])
def test_an_action_of_minus_one_relaxes_a_muscle_and_of_one_excites_it(backend):
    keys = propose(str(MUSCLES), keep_actuators=True).keys
    walker = build_walker(body_of_keys({"source": str(MUSCLES), **keys}, MUSCLES))
    physics = make_physics(walker.model, PhysicsConfig(solver="newton"), backend)
    state = physics.reset(jnp.zeros(walker.model.nq), jnp.zeros(walker.model.nv))
    step = jax.jit(physics.step)
    actions = jnp.asarray([-1.0, 0.0, 1.0, -1.0])
    for _ in range(25):  # half a second: a muscle's time constants are 10 and 40 ms
        state = step(state, actions)
    np.testing.assert_allclose(state.act, [0.0, 0.5, 1.0, 0.0], atol=1e-3)


def test_the_command_keeps_muscles(tmp_path, capsys):
    body = tmp_path / "muscles.yaml"
    assert cli.main(["body", str(MUSCLES), str(body), "--actuators", "own"]) == 0
    out = capsys.readouterr().out
    assert "4 muscle" in out and "ppo.guidance=0" in out and "pose held" not in out
    assert "servo_hz" not in yaml.safe_load(body.read_text())
