"""Which troubles of a student are told, and that a healthy one gives no alarm."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from made_rollouts import made_rollout, upright

from vnl_mjx.evaluation.latent.alarms import action_noise, report_alarms

ROOT = Path(__file__).parents[1]
LATENT = {"kl": 9.0, "active_units": 20, "latent_dim": 32, "prior_explains": 0.9}
HEALTHY = {
    "action_mse": 5e-4,
    "teacher_noise": 4e-3,
    "teacher_survival": 0.98,
    "teacher_reward_share": 0.9,
    "prior_survival": 0.9,
}


def test_a_healthy_student_and_one_not_measured_give_no_alarm():
    assert report_alarms(LATENT, **HEALTHY) == []
    assert report_alarms({}) == []
    assert report_alarms(LATENT | {"prior_explains": None}) == []


@pytest.mark.parametrize(
    ("latent", "figures", "what", "found", "change"),
    [
        ({"active_units": 2}, {}, "few latent dimensions", "2 of 32", "training_config.kl_weight"),
        ({"kl": 0.01}, {}, "collapse", "0.010 nats", "training_config.kl_weight.start"),
        (
            {"kl": 1e16},
            {"prior_survival": 0.0},
            "runaway",
            "1e+16",
            "training_config.learning_rate",
        ),
        ({"prior_explains": 0.999}, {}, "prior says", "100 %", "training_config.kl_weight"),
        ({}, {"action_mse": 8e-3}, "teacher's noise", "2.0 times", "training_config.num_steps"),
        (
            {},
            {"action_mse": 0.1, "teacher_noise": None},
            "large action error",
            "2.0 times",
            "training_config.num_steps",
        ),
        ({}, {"teacher_survival": 0.3}, "teacher does not", "70 %", "teacher_config"),
        ({}, {"teacher_reward_share": 0.1}, "teacher does not", "10 %", "teacher_config"),
        ({}, {"prior_survival": 0.3}, "stay up", "30 %", "keep training_config.kl_weight"),
        (
            {"kl": 12.0},
            {"prior_survival": 0.3},
            "stay up",
            "30 %",
            "raise training_config.kl_weight",
        ),
    ],
)
def test_each_trouble_is_told_alone_with_its_figure_and_what_to_change(
    latent, figures, what, found, change
):
    """TRIALS T22: a rate that makes the KL run away is not told to train longer."""
    (alarm,) = report_alarms(LATENT | latent, **(HEALTHY | figures))
    assert set(alarm) == {"what", "found", "change"}
    assert what in alarm["what"]
    assert found in alarm["found"]
    assert change in alarm["change"]


def sweep() -> list[dict[str, float]]:
    """Runs that differ in the KL weight alone, from the smallest to the largest."""
    with (ROOT / "benchmarks" / "kl_sweep.csv").open() as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("row", range(3))
def test_the_advice_on_the_kl_weight_is_what_helped_in_the_sweep(row):
    """Where a prior of the sweep falls, the weight that is named made one that stood more often."""
    runs = sweep()
    (alarm,) = report_alarms(LATENT | {"kl": runs[row]["kl"]}, **HEALTHY | {"prior_survival": 0.3})
    up = [run["prior_clips"] for run in runs]
    best = {-1: "lower", 0: "keep", 1: "raise"}[int(np.sign(int(np.argmax(up)) - row))]
    said = [
        word for word in ("lower", "keep", "raise") if f"{word} training_config" in alarm["change"]
    ]
    assert said == [best]


def test_a_large_action_error_is_lower_with_less_kl():
    r2 = [run["action_r2"] for run in sweep()]
    assert r2 == sorted(r2, reverse=True)
    (alarm,) = report_alarms(LATENT, **HEALTHY | {"action_mse": 0.1})
    assert "lower training_config.kl_weight" in alarm["change"]


def test_the_sweep_is_the_one_of_the_docs():
    section = (
        (ROOT / "docs/results.md").read_text().partition("## How much KL")[2].partition("\n##")[0]
    )
    rows = [
        line.strip("| ").split(" | ")
        for line in section.splitlines()
        if re.match(r"\| [*\d]", line)
    ]
    shown = [[float(re.match(r"[\d.e-]+", cell.strip("* "))[0]) for cell in row] for row in rows]
    expected = [list(run.values()) for run in sweep()]
    for found, run in zip(shown, expected, strict=True):
        np.testing.assert_allclose([*found[:-2], *(share / 100 for share in found[-2:])], run)


def test_a_collapsed_latent_is_told_of_once():
    """Where KL is zero the prior explains everything: no second alarm for the same thing."""
    (alarm,) = report_alarms(LATENT | {"kl": 0.0, "prior_explains": 1.0}, **HEALTHY)
    assert "collapse" in alarm["what"]


def test_noise_of_the_teacher_is_that_of_its_valid_steps():
    rollout = made_rollout(upright(np.zeros((11, 1, 3))), np.array([5]), np.zeros((10, 1, 2)))
    action = np.where(np.arange(10)[:, None, None] < 5, 0.1, 9.0) * np.ones((1, 1, 2))
    assert action_noise(rollout) == 0.0
    rollout = rollout.replace(steps=rollout.steps.replace(action=action))
    assert action_noise(rollout) == pytest.approx(0.01)
