"""Runs one evaluation of a student, from the rollouts to the files of the report."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vnl_mjx.commands.console import Console, frame_progress
from vnl_mjx.commands.evaluate.evaluation_origin import clips_section, made_section, without_paths
from vnl_mjx.commands.stored import (
    StoredStudent,
    find_stored,
    load_stored_student,
    load_stored_teacher,
)
from vnl_mjx.commands.train.run_folder import read_metrics
from vnl_mjx.config.evaluation import EvaluationConfig
from vnl_mjx.config.loading import to_yaml
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation import summary
from vnl_mjx.evaluation.action_errors import action_section
from vnl_mjx.evaluation.episode_metrics import episode_metrics
from vnl_mjx.evaluation.latent.alarms import action_noise, report_alarms
from vnl_mjx.evaluation.metrics import in_order, metric
from vnl_mjx.evaluation.prior_rollouts import (
    BASELINES,
    PriorEvaluation,
    PriorEvaluator,
    baselines,
    prior_modes,
)
from vnl_mjx.evaluation.protocol import (
    ACTING,
    DETERMINISTIC,
    SAMPLED,
    STUDENT,
    TEACHER,
    EvaluatedPolicy,
    PolicyEvaluator,
    evaluated_teacher,
    student_and_teacher,
)
from vnl_mjx.evaluation.summary import ClipSets
from vnl_mjx.files import file_name
from vnl_mjx.report import illustrate
from vnl_mjx.report.document import assemble
from vnl_mjx.report.html import write_report
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.pictures.training import training_pictures
from vnl_mjx.report.rendering.video_queue import VideoQueue
from vnl_mjx.report.report_videos import NamedVideos, clip_videos, latent_videos, prior_videos
from vnl_mjx.report.results import measure_latent
from vnl_mjx.report.verdicts import PRIOR_MODE

VIDEO_FOLDER = "videos"
_NOT_GAUSSIAN = "Left out because the prior is not Gaussian"
_NO_PRIOR = "Left out: prior_config.seconds is 0."


class EvaluationRun:
    """Evaluates a student; call its methods in their order."""

    def __init__(self, config: EvaluationConfig, console: Console):
        """Loads and builds the policies and their tasks; runs no episode yet."""
        self.config, self.console = config, console
        self.stored = stored = _load_evaluated(config)
        which, sets = config.eval_config.clips, map(stored.set_of, range(stored.clips.num_clips))
        chosen = {clip: name for clip, name in enumerate(sets) if which in ("all", name)}
        if not chosen:
            raise UserError(
                f"eval_config.clips: none of {stored.clips.source} is known as {which}; "
                "give eval_config.clips=all"
            )
        self.clips, self.clip_sets = stored.clips.select(list(chosen)), list(chosen.values())
        self.policies = _policies_of(config, stored)
        self.walker = self.stored.task.walker
        self.groups = self.walker.actuator_groups
        self.prior: PriorEvaluation | None = None
        self._prior_missing = ""
        self._num_videos = 0

    def play(self) -> None:
        """Runs all policies on the clips and measures their episodes."""
        protocol = self.config.eval_config
        acting = ACTING if protocol.acting == "both" else (protocol.acting,)
        self.how = DETERMINISTIC if DETERMINISTIC in acting else acting[0]
        with frame_progress(self.console, "control steps") as progress:
            num_episodes = self.clips.num_clips * protocol.starts_per_clip
            task, loaded = self.stored.task, self.stored.loaded
            trivial = baselines(task, loaded, num_episodes, self.how) if protocol.baselines else []
            everyone = [*self.policies, *trivial]
            played = PolicyEvaluator().run(
                everyone, self.clips, num_episodes, acting, protocol.seed, progress
            )
            self.rollouts = {policy.name: played[policy.name] for policy in self.policies}
        with self.console.status("measuring"):
            measured = {
                policy.name: {
                    how: episode_metrics(
                        rollout, self.clips, policy.task.walker, policy.task.config.reward
                    )
                    for how, rollout in played[policy.name].items()
                }
                for policy in everyone
            }
        self.figures = {name: measured.pop(name) for name in self.rollouts}
        self._baselines = measured

    def measure(self) -> None:
        """Runs and measures the rollouts that follow no clip: prior and latents."""
        with frame_progress(self.console, "control steps") as progress:
            evaluator = PriorEvaluator(self.stored.task, self.stored.loaded, self.clips)
            self.prior = self._play_prior(evaluator, progress)
        self._reader = evaluator.reader
        with self.console.status("measuring"):
            rollout = self.rollouts[STUDENT][self.how]
            section = self.config.latent_config
            self.latent = measure_latent(rollout, self.clips, evaluator, section)

    def draw_clips(self, queue: VideoQueue, folder: Path) -> None:
        """Queues videos of the policies on the clips, which another process draws in the background."""
        shown = {name: ways[self.how] for name, ways in self.rollouts.items()}
        # the first episodes are those of the clips in order
        scores = self.figures[STUDENT][self.how]["completed_fraction"][: self.clips.num_clips]
        self._ask(queue, folder, clip_videos(shown, self.clips, scores, self.config.video_config))

    def draw_latent(self, queue: VideoQueue, folder: Path) -> None:
        """Queues videos of the rollouts that follow no clip."""
        section = self.config.video_config
        if self.prior is not None:
            self._ask(queue, folder, prior_videos(self.prior, section))
        self._ask(queue, folder, latent_videos(self.latent, section))

    def _ask(self, queue: VideoQueue, folder: Path, videos: NamedVideos) -> None:
        (folder / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
        for name, motions in videos:
            self._num_videos += 1  # several clips may map to one file name
            file = f"{self._num_videos:02d}_{file_name(name.partition('/')[2])}.mp4"
            queue.add(name, motions, folder / VIDEO_FOLDER / file)

    def assemble(self, seconds: float) -> dict[str, Any]:
        """Returns the document of `metrics.json`, for an evaluation that took `seconds`."""
        seed = self.config.eval_config.seed
        clip = self.rollouts[STUDENT][self.how].episodes.clip
        self.sets = sets = ClipSets(clip, self.clips.names, self.clip_sets, seed)
        policies = summary.policies(self.figures, sets)
        teacher = policies[TEACHER][self.how]["sets"]["all"]["figures"]
        names = {m for ways in self.figures.values() for how in ways.values() for m in how}
        action = action_section(
            {n: self.rollouts[n][self.how] for n in (STUDENT, TEACHER)}, self.walker
        )
        sampled = self.rollouts[TEACHER].get(SAMPLED)
        prior = {} if self.prior is None else self.prior.summary() | self._followed(self.prior)
        # of the episodes from the clips that stand at the end, at the learned deviation
        of_clips = prior[PRIOR_MODE]["clips"] if PRIOR_MODE in prior else None
        survival = of_clips and of_clips["survival"][f"{of_clips['seconds']:g}"]
        return assemble(
            made=made_section(self.stored, self.clips, self.config, seconds),
            settings=asdict(self.config.eval_config) | {"prior": asdict(self.config.prior_config)},
            clips=clips_section(self.clips, self.clip_sets),
            policies=policies,
            baselines={
                name: ways[self.how]["sets"]["all"]
                for name, ways in summary.policies(self._baselines, sets).items()
            },
            differences=summary.differences(self.figures, sets),
            metrics={name: metric(name)._asdict() for name in in_order(names)},
            action=action,
            latent=self.latent.statistics,
            prior=prior,
            alarms=report_alarms(
                self.latent.statistics,
                action["on_student_states"]["mse"],
                None if sampled is None else action_noise(sampled),
                teacher["survival"]["mean"],
                teacher["reward_fraction"]["mean"],
                survival,
                self.config.prior_config.seconds,
            ),
        )

    def write(
        self, folder: Path, document: dict[str, Any], videos: Mapping[str, Path], no_videos: str
    ) -> Path:
        """Draws the pictures and writes the report; returns the page.

        `no_videos` says why some videos are missing. Raises UserError if `folder` cannot be written.
        """
        with self.console.status("drawing and writing the report"):
            latent, prior = self.latent.missing, self._prior_missing
            missing = {"videos": no_videos, "prior": prior, "latent": latent}
            missing = {section: why for section, why in missing.items() if why}
            config = to_yaml(without_paths(self.config))
            pictures = self._pictures(document)
            return write_report(folder, document, pictures, videos, missing=missing, config=config)

    def _play_prior(self, evaluator: PriorEvaluator, progress: Any) -> PriorEvaluation | None:
        section = self.config.prior_config
        modes = prior_modes(section.fixed_std, section.correlation_s)
        modes = {name: modes[name] for name in section.modes}
        if not section.seconds:
            self._prior_missing = _NO_PRIOR
            return None
        if not self.stored.loaded.student.is_gaussian:
            left_out = [name for name, mode in modes.items() if mode.needs_gaussian]
            self._prior_missing = f"{_NOT_GAUSSIAN}: {', '.join(left_out)}." if left_out else ""
            modes = {name: mode for name, mode in modes.items() if name not in left_out}
        if not modes:
            return None
        return evaluator.run(
            modes,
            seconds=section.seconds,
            num_episodes=section.num_episodes,
            seed=self.config.eval_config.seed,
            progress=partial(progress, "prior"),
        )

    def _followed(self, prior: PriorEvaluation) -> dict[str, Any]:
        """Returns how student and teacher move, in the form of the prior's rollouts."""
        clip = self.rollouts[STUDENT][self.how].episodes.clip
        motions = {
            name: self._reader.of_rollout(self.rollouts[name][self.how], self.clips.rate_hz)
            for name in (STUDENT, TEACHER)
        }
        return {name: {"clips": prior.compared(own, clip)} for name, own in motions.items()}

    def _pictures(self, document: dict[str, Any]) -> dict[str, Picture]:
        illustrator = illustrate.Illustrator(document, self.figures, self.sets, self.how)
        num_clips, num_episodes = self.clips.num_clips, len(self.sets.clip)
        steps = len(self.latent.points.clip)
        drawn = {
            **illustrator.motion(self.rollouts, self.clips, self.walker),
            **illustrate.with_n(
                illustrator.reward()
                | illustrator.errors(self.rollouts, self.clips, self.walker)
                | illustrator.action(self.groups, self.walker.actuator_names),
                f"{num_episodes} episodes of {num_clips} clips",
            ),
            **illustrate.with_n(
                illustrate.latent_pictures(self.latent, self.clips),
                f"{steps:,} states in {num_episodes} episodes of {num_clips} clips",
            ),
        }
        if self.prior is not None:
            each = f"{self.config.prior_config.num_episodes} rollouts of each kind"
            drawn |= illustrate.with_n(illustrate.prior_pictures(self.prior), each)
        rows = read_metrics(self.stored.run_dir)
        training = {
            f"training/{k.replace('/', '_')}": v for k, v in training_pictures(rows).items()
        }
        return drawn | illustrate.with_n(training, f"{len(rows)} rows of one run")


def _load_evaluated(config: EvaluationConfig) -> StoredStudent:
    """Loads the student to evaluate."""
    path = Path(str(config.checkpoint_path)).expanduser()
    kind, _ = find_stored(path)
    if kind == "teacher":
        raise UserError(
            f"run: {path} is a teacher, expected a student; measure it with vnl-mjx eval-teacher {path}, or "
            f"distil it first (vnl-mjx distill {path})"
        )
    clips, body = config.teacher_config.reference_data_path, config.walker_config.mjcf_path
    cut, where = config.reference_config, config.physics_config
    return load_stored_student(str(path), config.step, clips, body, cut, where)


def _policies_of(config: EvaluationConfig, stored: StoredStudent) -> list[EvaluatedPolicy]:
    """Returns the student, its teacher, and the further policies; names are unique."""
    loaded = stored.loaded
    policies = [
        *student_and_teacher(stored.task, loaded.student, loaded.params, loaded.teacher),
        *(policy for other in config.compare_with for policy in _further(other, stored, config)),
    ]
    names = [*BASELINES, *(policy.name for policy in policies)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"compare_with: {twice[0]} is named twice; rename the folder of one")
    return policies


def _further(given: str, stored: StoredStudent, config: EvaluationConfig) -> list[EvaluatedPolicy]:
    """Returns a further policy, a student or a teacher, that runs on the clips of `stored`."""
    path = Path(given).expanduser()
    kind, found = find_stored(path)
    name = path.resolve().name
    body, cut, where = config.walker_config.mjcf_path, stored.reference, config.physics_config
    if kind == "student":
        other = load_stored_student(str(found), None, stored.clips_file, body, cut, where)
        loaded, task = other.loaded, other.task
        own = (loaded.student, loaded.params, loaded.teacher)
        policies = [student_and_teacher(task, *own, name=name)[0]]
    elif kind == "teacher":
        experiment = load_stored_teacher(
            found, stored.clips_file, body, reference=cut, physics=where
        )
        task = experiment.env.task
        policies = [evaluated_teacher(task, experiment.teacher.policy, name)]
    else:
        raise UserError(f"compare_with: {path} is a file, expected a student or a teacher")
    if task.walker.joint_names != stored.task.walker.joint_names:
        raise UserError(f"compare_with: {path} is of another body than {stored.loaded.path}")
    return policies
