"""Lists of terms: by name in a configuration, their layout, and the page that describes them."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observation_helpers import functions_of, random_state, reference_terms, terms_at

from vnl_mjx.checkpoints.run import FORMAT_VERSION
from vnl_mjx.commands.train.run_folder import check_same_run
from vnl_mjx.config import imitation
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.terms.state import frames_ahead

DOCS = Path(__file__).parent.parent / "docs" / "observations.md"


def test_the_default_lists_are_track_mjxs_layout(rodent):
    layout = functions_of(rodent).layout(random_state(rodent, 0))
    assert layout.reference == (
        ("reference_root_position", 15),
        ("reference_root_quaternion", 20),
        ("reference_joints", 165),
        ("reference_bodies", 270),
    )
    assert layout.slices()["joint_angles"] == (470, 537)
    playground = functions_of(rodent, reference=imitation.REFERENCE_VNL_PLAYGROUND)
    assert (
        playground.layout(random_state(rodent, 0)).reference_size == 640
    )  # TRACK_MJX.md section 6


def test_every_term_can_be_observed_by_name_and_in_a_batch(toy_walker, toy_motion):
    own = ("appendages", "velocimeter_control", "root_velocity", "joints_vel_control")
    functions = functions_of(
        toy_walker, reference=tuple(reference_terms(toy_walker)), proprioception=own
    )
    states = [random_state(toy_walker, seed) for seed in (1, 2)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    previous = batch.qpos.at[:, 0].add(-0.02)
    clip, frame = jnp.array([0, 1]), jnp.array([3, 9])
    observe = jax.jit(jax.vmap(functions.observe, in_axes=(0, None, 0, 0, 0)))
    found = observe(batch, toy_motion, clip, frame, previous)
    layout = functions.layout(states[0])
    assert found["reference"].shape == (2, layout.reference_size)
    assert found["proprioception"].shape == (2, layout.proprioception_size)
    slices = layout.slices()
    ahead = toy_motion.window(1, 10, 5)
    for name, values in terms_at(toy_walker, states[1], ahead).items():
        start, stop = slices[name]
        np.testing.assert_allclose(
            found["reference"][1, start:stop], values.ravel(), rtol=0, atol=1e-5, err_msg=name
        )
    start, stop = slices["velocimeter_control"]
    moved = np.asarray(found.flat()[1, start:stop])
    np.testing.assert_allclose(np.linalg.norm(moved), 1.0, atol=1e-4)  # 20 mm in 20 ms
    with pytest.raises(ValueError, match="previous_qpos"):
        functions.observe(states[0], toy_motion, 0, 3)


def test_order_is_that_of_the_list(toy_walker, toy_motion):
    state = random_state(toy_walker, 0)
    names = ("reference_rel_root_quat", "reference_joints", "reference_appendages_pos")
    pieces = [
        functions_of(toy_walker, reference=(name,)).observe(state, toy_motion, 0, 2)["reference"]
        for name in names
    ]
    whole = functions_of(toy_walker, reference=names).observe(state, toy_motion, 0, 2)["reference"]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    empty = functions_of(toy_walker, reference=()).observe(state, toy_motion, 0, 2)
    assert empty["reference"].shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reference": ("reference_rel_body_quats",)},
            "reference: unknown part 'reference_rel_body_quats'; the nearest name is "
            "'reference_rel_bodies_quats'",
        ),
        ({"proprioception": ("joint_angle",)}, "the nearest name is 'joint_angles'"),
        ({"reference": ("reference_joints",) * 2}, "reference: 'reference_joints' is listed twice"),
    ],
)
def test_wrong_lists_are_refused(toy_walker, changes, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        functions_of(toy_walker, **changes)
    assert "\n" not in str(caught.value)


def test_older_configurations_have_the_default_list():
    saved = to_dict(ImitationConfig(traj_length=3))
    del saved["reference"]
    assert from_dict(ImitationConfig, saved) == ImitationConfig(traj_length=3)


def test_a_run_of_an_older_version_goes_on_unless_the_lists_differ(tmp_path):
    def document(task: ImitationConfig) -> dict:
        sections = ("teacher_config", "vae_config", "training_config", "physics_config")
        config = {name: {} for name in (*sections, "reference_config", "walker_config")}
        identity = {"task": to_dict(task), "clips_sha256": "a"}
        return {"config": config, "identity": identity, "format_version": FORMAT_VERSION}

    older = document(ImitationConfig())
    del older["identity"]["task"]["reference"]
    check_same_run(older, document(ImitationConfig()), tmp_path)
    changed = document(ImitationConfig(reference=imitation.REFERENCE_DM_CONTROL))
    with pytest.raises(UserError, match="task.reference was"):
        check_same_run(older, changed, tmp_path)


@pytest.mark.parametrize("share, goes_on", [(0.0, True), (0.5, False)])
def test_in_a_run_of_an_older_version_no_prior_acted(tmp_path, share, goes_on):
    def document(training: dict) -> dict:
        config = {"training_config": training}
        identity = {"task": to_dict(ImitationConfig())}
        return {"config": config, "identity": identity, "format_version": FORMAT_VERSION}

    older, current = document({}), document({"prior_fraction": share})
    if goes_on:
        check_same_run(older, current, tmp_path)
    else:
        with pytest.raises(UserError, match=r"prior_fraction was 0\.0"):
            check_same_run(older, current, tmp_path)


def test_the_page_of_terms_is_complete_and_its_sizes_hold(toy_walker):
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", DOCS.read_text(), flags=re.MULTILINE)
    described = {name: shape.strip() for name, shape in rows if not name.isupper()}
    with pytest.raises(UserError) as caught:
        functions_of(toy_walker, proprioception=("none",))
    own = re.findall(r"'(\w+)'", str(caught.value).partition("known are")[2])
    described = {name: shape for name, shape in described.items() if "PROPRIO" not in name}
    assert set(described) == {*reference_terms(toy_walker), *own}
    sizes = {
        "T": 5,
        "joints": len(toy_walker.joint_names),
        "J": len(toy_walker.tracked_joints),
        "B": len(toy_walker.tracked_bodies),
        "E": len(toy_walker.end_effectors),
        "A": len(toy_walker.appendages),
        "nq": toy_walker.model.nq,
        "nv": toy_walker.model.nv,
        "na": toy_walker.model.na,
        "nu": toy_walker.model.nu,
    }

    def size_of(shape: str) -> int:
        total = 1
        for axis in shape.split(","):
            length = axis.strip()
            total *= sizes[length] if length in sizes else int(length)
        return total

    own.remove("touch_sensors")  # the rodent alone has them
    functions = functions_of(
        toy_walker, reference=tuple(reference_terms(toy_walker)), proprioception=tuple(own)
    )
    layout = functions.layout(random_state(toy_walker, 0))
    for name, size in (*layout.reference, *layout.proprioception):
        assert size == size_of(described[name]), name


def test_shapes_of_frames_ahead_are_those_of_clips(toy_walker, toy_motion):
    expected, found = toy_motion.window(0, 1, 5), frames_ahead(toy_walker, 5)
    assert jax.tree.map(jnp.shape, expected) == jax.tree.map(jnp.shape, found)
