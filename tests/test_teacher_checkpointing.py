"""Both layouts of a teacher's checkpoints: what is kept, and what a kill between the two leaves."""

import resource
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.compat.track_mjx_writer import (
    open_teacher_checkpointer,
    save_track_mjx,
    track_mjx_config,
)
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig

NETWORK = IntentionConfig(4, 3, 2, 2, (4,), (4,))
CONFIG = track_mjx_config(ImitationConfig(), NETWORK)


def state_of(step: int) -> dict:
    return {"x": jnp.full(3, float(step)), "empty": jnp.zeros((0, 2)), "key": jnp.uint32(step)}


def train_state_of(step: int) -> dict:
    names = ("mean", "std", "summed_variance")
    return {
        "env_steps": jnp.int32(step),
        "normalizer_params": {"count": jnp.float32(step), **{n: jnp.ones(7) for n in names}},
        "params": {"policy": {"params": {"w": jnp.full(2, float(step))}}, "value": {}},
    }


def save(checkpointer: RunCheckpointer, step: int, metric: float) -> None:
    checkpointer.save(step, state_of(step), {"config": {}}, metric, exported=train_state_of(step))


def folders(run_dir) -> tuple[list[int], list[int]]:
    """Steps in the two layouts."""
    own = sorted(int(p.name) for p in (run_dir / "checkpoints").iterdir() if p.name.isdigit())
    return own, sorted(int(p.name.rpartition("_")[2]) for p in (run_dir / "teacher").iterdir())


@pytest.mark.parametrize("stopped_after", [0, 30])
def test_the_last_and_the_best_are_kept_in_both_layouts(tmp_path, stopped_after):
    checkpointer = open_teacher_checkpointer(tmp_path, CONFIG, keep_last=2, keep_best=1)
    for step, metric in ((10, 0.2), (20, 0.9), (30, 0.5), (40, -1.0), (50, 0.3)):
        save(checkpointer, step, metric)
        if step == stopped_after:
            checkpointer.close()
            checkpointer = open_teacher_checkpointer(tmp_path, CONFIG, keep_last=2, keep_best=1)
            checkpointer.resume_export(step, train_state_of(step))
    checkpointer.close()
    assert folders(tmp_path) == ([20, 40, 50], [20, 40, 50])


def test_a_state_comes_back_as_it_was(tmp_path):
    checkpointer = open_teacher_checkpointer(tmp_path, CONFIG)
    save(checkpointer, 10, 0.5)
    checkpointer.close()
    reopened = open_teacher_checkpointer(tmp_path, CONFIG)
    assert reopened.latest_step() == 10
    restored = reopened.restore(state_of(0), 10)
    for name, value in state_of(10).items():
        np.testing.assert_array_equal(restored[name], value)
        assert restored[name].dtype == value.dtype
    with pytest.raises(UserError, match=r"x should have shape \(4,\), found \(3,\)"):
        reopened.restore(state_of(0) | {"x": jnp.zeros(4)}, 10)
    reopened.close()


def test_a_kill_between_the_two_layouts_is_repaired(tmp_path):
    checkpointer = open_teacher_checkpointer(tmp_path, CONFIG)
    for step in (10, 20):
        save(checkpointer, step, 0.5)
    checkpointer.close()
    shutil.rmtree(tmp_path / "teacher" / "PPONetwork_20")  # killed before it was written
    stray = train_state_of(30)  # killed before its training state was written
    save_track_mjx(
        tmp_path / "teacher", 30, stray["params"]["policy"], stray["normalizer_params"], CONFIG
    )
    reopened = open_teacher_checkpointer(tmp_path, CONFIG)
    reopened.resume_export(20, train_state_of(20))
    save(reopened, 30, 0.5)
    reopened.close()
    assert folders(tmp_path) == ([10, 20, 30], [10, 20, 30])


def test_a_full_disk_is_said_and_harms_nothing(tmp_path, monkeypatch):
    checkpointer = open_teacher_checkpointer(tmp_path, CONFIG)
    save(checkpointer, 10, 0.5)
    checkpointer.wait()
    usage = shutil.disk_usage(tmp_path)._replace(free=9_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk is full: 9 MB free"):
        save(checkpointer, 20, 0.5)
    checkpointer.close()
    assert folders(tmp_path) == ([10], [10])


def test_a_disk_that_fills_while_both_layouts_are_written_is_said_once(tmp_path):
    checkpointer = open_teacher_checkpointer(tmp_path, CONFIG)
    save(checkpointer, 10, 0.5)
    checkpointer.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write the checkpoint"):
            try:
                save(checkpointer, 20, 0.5)
            finally:
                checkpointer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    reopened = open_teacher_checkpointer(tmp_path, CONFIG)
    np.testing.assert_array_equal(reopened.restore(state_of(0), 10)["x"], state_of(10)["x"])
    reopened.close()
    assert (tmp_path / "teacher" / "PPONetwork_10").is_dir()
    assert not (tmp_path / "teacher" / "PPONetwork_20").exists()
