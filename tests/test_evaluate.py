"""`vnl-mjx eval` and `compare` on a toy run, and the summary that the report is made of."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from made_rollouts import made_rollout, upright
from policy_helpers import untrained_policy
from toy_student import untrained_student

from tests.quick_eval import QUICK_EVAL
from tests.toy_run import toy_task
from vnl_mjx.cli import main
from vnl_mjx.config.evaluation import LatentSection, VideoSection
from vnl_mjx.evaluation.motion_statistics import MOTION_FEATURES
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluator, PriorMode
from vnl_mjx.evaluation.protocol import (
    DETERMINISTIC,
    PolicyEvaluator,
    evaluated_teacher,
    student_and_teacher,
)
from vnl_mjx.evaluation.summary import ClipSets, differences, policies
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.report.document import read_document
from vnl_mjx.report.illustrate import latent_pictures
from vnl_mjx.report.rendering import gl
from vnl_mjx.report.rendering.cameras import VIEWS
from vnl_mjx.report.results import measure_latent
from vnl_mjx.report.verdicts import UNMEASURED, tiles
from vnl_mjx.tasks.imitation import ImitationTask


@pytest.fixture(scope="module")
def run_dir(distilled, tmp_path_factory) -> Path:
    """A finished distillation, beside its teacher and clips."""
    folder = tmp_path_factory.mktemp("toy")
    shutil.copytree(distilled[0], folder, dirs_exist_ok=True)
    return folder / "run"


@pytest.fixture(scope="module")
def report(run_dir) -> Path:
    """Everything but UMAP and, for want of something that draws bodies, videos."""
    left_out = ("eval_config", "latent_config", "video_config")
    overrides = [o for o in QUICK_EVAL if not o.startswith(left_out)]
    more = ["latent_config.umap=false", "latent_config.num_traversals=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUJOCO_GL", "off")
        assert main(["eval", str(run_dir), *overrides, *more]) == 0
    return run_dir / "report"


KINDS = ("svg", "png", "pdf")


def refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    return error


def test_the_report_is_complete(report, run_dir):
    document = read_document(report / "metrics.json")
    assert set(document["policies"]) == {"student", "teacher"}
    for ways in document["policies"].values():
        assert set(ways) == {"deterministic", "sampled"}
        for played in ways.values():
            assert set(played["sets"]) == {"all", "train", "held_out"}
            assert played["sets"]["all"]["num_episodes"] == 2 * len(document["clips"])
    assert {clip["set"] for clip in document["clips"]} == {"train", "held_out"}
    ratio = document["differences"]["student vs teacher"]["deterministic"]["all"]["reward_ratio"]
    assert ratio["low"] <= ratio["mean"] <= ratio["high"]
    assert set(document["action"]) == {"on_student_states", "on_teacher_states"}
    assert document["latent"]["latent_dim"] == len(document["latent"]["kl_per_dim"])
    assert set(document["prior"]) == {"learned", "clips", "student", "teacher"}
    everyone = document["policies"]["student"]["deterministic"]["sets"]["all"]
    assert set(document["baselines"]) == {"random_latent", "zero_action"}
    for part in document["baselines"].values():
        assert part["num_episodes"] == everyone["num_episodes"]
        assert part["figures"].keys() == everyone["figures"].keys()
    assert document["prior"]["teacher"]["clips"]["over_halves"].keys() == MOTION_FEATURES.keys()
    assert {"probe", "interpolation", "traversal"} <= set(document["latent"])
    page = (report / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert str(run_dir.parents[1]) not in page  # no path of this machine
    assert "MUJOCO_GL" in page and not list(report.rglob("*.mp4"))
    for section in ("summary", "reward", "errors", "action", "latent", "prior", "training"):
        kinds = [{f.stem for f in (report / "pictures" / section).glob(f"*.{k}")} for k in KINDS]
        assert kinds[0] and kinds[0] == kinds[1] == kinds[2], section
    assert {"joints", "gait"} <= {f.stem for f in (report / "pictures" / "summary").iterdir()}
    program, command, run, *settings = shlex.split(document["made"]["command"])
    assert [program, command, run] == ["vnl-mjx", "eval", run_dir.name]
    assert "latent_config.umap=false" in settings and "latent_config.num_traversals=1" in settings
    assert not any(setting.startswith("latent_config.interpolate") for setting in settings)
    for table in ("figures", "per_clip", "per_actuator"):
        assert (report / f"{table}.csv").read_text().count("\n") > 2


def test_figures_add_up(report):
    document = json.loads((report / "metrics.json").read_text())
    ways = document["policies"]["student"]["deterministic"]
    mean = ways["sets"]["all"]["figures"]["episode_reward"]["mean"]
    of_clips = [clip["episode_reward"] for clip in ways["clips"].values()]
    assert mean == pytest.approx(np.mean(of_clips))
    terms = [v["mean"] for k, v in ways["sets"]["all"]["figures"].items() if k.startswith("term_")]
    assert sum(terms) == pytest.approx(
        ways["sets"]["all"]["figures"]["reward_per_step"]["mean"], rel=1e-3
    )


@pytest.mark.slow
def test_a_further_checkpoint_plays_the_same_and_reports_are_compared(
    report, run_dir, tmp_path, capsys
):
    teacher = run_dir.parent / "teacher"
    os.symlink(run_dir, tmp_path / "again")
    shutil.copytree(teacher, tmp_path / "tutor")
    early = tmp_path / "early"
    further = f"compare_with=['{tmp_path / 'again'}','{tmp_path / 'tutor'}']"
    assert main(["eval", str(run_dir), further, *QUICK_EVAL, f"output_dir={early}"]) == 0
    document = read_document(early / "metrics.json")
    # the link is to the same student, which does the same
    student, other = document["policies"]["student"], document["policies"]["run"]
    assert student["deterministic"]["clips"] == other["deterministic"]["clips"]
    own, tutor = (document["policies"][name]["deterministic"] for name in ("teacher", "tutor"))
    for clip, figures in own["clips"].items():
        reward = tutor["clips"][clip]["episode_reward"]
        assert reward == pytest.approx(figures["episode_reward"], rel=1e-3)
    both = tmp_path / "both"
    assert main(["compare", str(run_dir), str(early), "--output", str(both)]) == 0
    assert "early" in (both / "comparison.html").read_text()
    assert "evaluate it first" in refused(capsys, "compare", str(run_dir), str(tmp_path / "no"))
    assert "two or more" in refused(capsys, "compare", str(run_dir), "--output", str(both))
    line = refused(capsys, "eval", str(run_dir), f"compare_with=['{teacher}','{teacher}']")
    assert "named twice" in line


@pytest.mark.slow
def test_one_sampled_episode_of_one_clip(run_dir, tmp_path):
    """The prior's rollouts last no whole number of steps, and more dimensions are moved than there are."""
    little = ["eval_config.clips=held_out", "eval_config.acting=sampled"]
    little += ["prior_config.num_episodes=1", "prior_config.seconds=0.333"]
    little += ["prior_config.modes=[smooth,learned]"]
    little += ["latent_config.num_traversals=9", "latent_config.interpolate=true"]
    assert main(["eval", str(run_dir), *QUICK_EVAL, *little, f"output_dir={tmp_path}"]) == 0
    document = read_document(tmp_path / "metrics.json")
    for ways in document["policies"].values():
        assert set(ways) == {"sampled"} and set(ways["sampled"]["sets"]) == {"all", "held_out"}
        assert ways["sampled"]["sets"]["all"]["num_episodes"] == 1
    assert list(document["prior"]["learned"]["clips"]["survival"]) == ["0.33"]
    assert set(document["latent"]["traversal"]["dimension"]) == {0, 1, 2}
    assert "interpolation" not in document["latent"]  # there is no other clip to go to


def test_a_prior_that_is_not_drawn_as_learned_is_not_judged(report):
    document = read_document(report / "metrics.json")
    assert tiles(document)[-1].verdict != UNMEASURED
    document["prior"] = {"smooth": document["prior"]["learned"]}
    assert tiles(document)[-1].verdict == UNMEASURED


@pytest.mark.slow
def test_a_recurrent_teacher(toy_config, toy_walker, toy_clips):
    """It remembers where it acts and where it labels; the prior reads its statistics alone."""
    config = toy_task(toy_config)
    task = ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))
    teacher = untrained_policy(task, lstm_num_layers=1)
    toy = untrained_student(task)._replace(teacher=teacher)
    subjects = [
        *student_and_teacher(task, toy.student, toy.params, teacher),
        evaluated_teacher(task, teacher, "alone"),
    ]
    played = PolicyEvaluator().run(subjects, toy_clips, 2, (DETERMINISTIC,))
    own, alone = (played[name][DETERMINISTIC].steps for name in ("teacher", "alone"))
    np.testing.assert_allclose(own.action[:10], alone.action[:10], atol=1e-3)
    np.testing.assert_array_equal(own.action, own.extra.teacher_action)
    assert np.isfinite(played["student"][DETERMINISTIC].steps.extra.teacher_action).all()
    prior = PriorEvaluator(task, toy, toy_clips)
    found = prior.run({"mean": PriorMode(0.0)}, seconds=0.1, num_episodes=2)
    assert set(found.summary()) == {"mean", "clips"}


def test_a_student_that_diverges_at_once_has_no_latent(toy_clips):
    rollout = made_rollout(upright(np.zeros((6, 2, 3))), np.array([5, 5]), np.zeros((5, 2, 3)))
    rollout = rollout.replace(steps=rollout.steps.replace(diverged=np.ones((5, 2), bool)))
    nobody: Any = None
    found = measure_latent(rollout, toy_clips, nobody, LatentSection())
    assert found.statistics == {} and "diverged" in found.missing
    assert latent_pictures(found, toy_clips) == {}


@pytest.mark.render
@pytest.mark.slow
def test_videos_are_in_the_page(run_dir, tmp_path, backend):
    overrides = [o for o in QUICK_EVAL if not o.startswith("video_config")]
    small = ["video_config.num_clips=1", "video_config.width=64", "video_config.height=64"]
    output = tmp_path / "report"
    assert main(["eval", str(run_dir), *overrides, *small, f"output_dir={output}"]) == 0
    assert len(list((output / "videos").glob("*.mp4"))) == 2  # a clip, the prior
    assert (output / "report.html").read_text().count("data:video/mp4;base64,") == 2
    assert gl.choose_backend() == backend


def test_what_cannot_be_written_or_read_is_said_before_anything_is_played(
    run_dir, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    line = refused(capsys, "eval", str(run_dir), f"output_dir={tmp_path / 'file'}")
    assert "output_dir" in line
    line = refused(capsys, "eval", str(run_dir), "compare_with=[no/such/run]")
    assert "no/such/run" in line
    line = refused(capsys, "eval", str(run_dir), "video_config.width=65")
    assert "even" in line
    line = refused(capsys, "eval", str(run_dir), "video_config.camera=behind")
    assert "camera" in line and "top" in line
    line = refused(capsys, "eval", str(run_dir), "prior_config.modes=[]")
    assert "prior_config.seconds=0" in line
    # the teacher is the one that the student carries
    line = refused(capsys, "eval", str(run_dir), "teacher_config.checkpoint_path=other")
    assert "unknown key teacher_config.checkpoint_path" in line
    assert set(get_args(VideoSection.__annotations__["camera"])) == set(VIEWS)


def test_summary_by_hand():
    """Two clips of two episodes each; the second is held out."""
    sets = ClipSets(np.array([0, 1, 0, 1]), ("a", "b"), ["train", "held_out"], seed=0)
    student = {"episode_reward": np.array([1.0, 4.0, 3.0, np.nan]), "x": np.full(4, 2.0)}
    teacher = {"episode_reward": np.array([2.0, 4.0, 2.0, 4.0]), "x": np.full(4, 1.5)}
    figures = {"student": {"deterministic": student}, "teacher": {"deterministic": teacher}}
    found = policies(figures, sets)["student"]["deterministic"]
    assert found["sets"]["all"]["figures"]["episode_reward"]["mean"] == pytest.approx(8 / 3)
    assert found["sets"]["train"]["figures"]["episode_reward"]["mean"] == 2.0
    assert found["clips"]["b"]["episode_reward"] == 4.0
    assert found["sets"]["held_out"]["num_episodes"] == 2
    assert found["sets"]["train"]["figures"]["x"]["low"] is None  # one clip tells of no other
    pair = differences(figures, sets)["student vs teacher"]["deterministic"]
    assert pair["train"]["reward_ratio"]["mean"] == 1.0
    assert pair["held_out"]["reward_ratio"]["mean"] is None  # an episode has no reward
    assert pair["all"]["x"]["mean"] == 0.5
    assert pair["all"]["reward_ratio"]["mean"] is None
    assert "teacher vs teacher" not in differences(figures, sets)
