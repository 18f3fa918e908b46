"""Builds the tables of the report's page from the document of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

from vnl_mjx.evaluation.metrics import EPISODE_GROUPS, GROUPS, METRICS, metric
from vnl_mjx.evaluation.motion_statistics import MOTION_FEATURES, worst_feature
from vnl_mjx.report.document import Document, main_acting, metric_label, metrics_of, set_of
from vnl_mjx.report.table_cells import (
    NOTHING,
    Cell,
    Table,
    interval,
    metric_cell,
    name_cell,
    number,
    number_cell,
)

_MAIN_METRICS = ("survival", "completed_fraction", "reward_fraction", "root_error_mm")
_BASELINES_NOTE = (
    "Random latent decodes latents from N(0, I); zero action does nothing. Their episodes end early, and "
    "their errors count until then."
)
_CLIP_METRICS = ("survival", "reward_per_step", "root_error_mm", "mpjpe_root_relative_mm")
_ERRORS = {"mse": "MSE", "mae": "MAE", "r2": "R²"}
_LATENT_METRICS = tuple(name for name, known in METRICS.items() if known.group == "latent")
# Paths in `document["latent"]`, which `evaluation.latent.statistics` makes.
_LATENT_NUMBERS = {
    "latent dimensions": ("latent_dim",),
    **{METRICS[name].heading: (name,) for name in _LATENT_METRICS},
    "KL(aggregate posterior ‖ aggregate prior), nats": ("aggregate", "kl"),
    "time constant of the posterior mean, s": ("autocorrelation", "time_constant_s"),
}
_PRIOR_NUMBERS = {
    "mean speed, m/s": ("speed", "mean"),
    **{
        METRICS[f"prior/{name}"].heading: (name,)
        for name in ("speed_ratio", "joint_variance_reached", "diversity_ratio")
    },
    **{f"{name.replace('_', ' ')}, times": ("over_halves", name) for name in MOTION_FEATURES},
}
_FEATURES = {
    "posterior_mean": "posterior mean",
    "prior_mean": "prior mean",
    "body": "posture and motion of the body",
}
_MOTION = {
    "seconds": "lasted, s",
    "speed": "speed, m/s",
    "turning_rate": "turning, rad/s",
    "torso_height": "torso height, m",
}


def main_table(documents: Mapping[str, Document]) -> Table:
    """Returns a row for each policy and baseline of one or more evaluations."""
    shown, rows, notes = next(iter(documents.values())), [], []
    for run, document in documents.items():
        parts = {policy: set_of(document, policy) for policy in document["policies"]}
        parts |= document["baselines"]
        for policy, part in parts.items():
            words = policy.replace("_", " ")
            figures = part.get("figures", {})
            cells = [metric_cell(figures.get(name)) for name in _MAIN_METRICS]
            name = f"{run}: {words}" if len(documents) > 1 else words
            rows.append([name_cell(name), *cells])
            notes.append(f"{part.get('num_episodes')} episodes of {part.get('num_clips')} clips")
    note = f"{main_acting(shown).capitalize()}, {'; '.join(dict.fromkeys(notes))}."
    if any(document["baselines"] for document in documents.values()):
        note += f" {_BASELINES_NOTE}"
    heads = ["", *(metric_label(shown, name) for name in _MAIN_METRICS)]
    return Table("Policies and baselines", heads, rows, note)


def metric_tables(document: Document, acting: str) -> dict[str, Table]:
    """Returns a table for each group of metrics: rows of metrics, columns of policies and sets of clips."""
    columns = [
        (policy, which)
        for policy, played in document["policies"].items()
        for which in _sets(played.get(acting, {}))
    ]
    figures = [metrics_of(document, *column, acting) for column in columns]
    rows = {name: [metric_cell(own.get(name)) for own in figures] for name in document["metrics"]}
    labels = {name: metric_label(document, name) for name in rows}
    heads = [
        policy if which == "all" else f"{policy}, {which.replace('_', ' ')} clips"
        for policy, which in columns
    ]
    note = "95 % bootstrap interval over clips"
    return grouped_tables(rows, labels, heads, note)


def grouped_tables(
    rows: Mapping[str, list[Cell]], labels: Mapping[str, str], heads: Sequence[str], note: str
) -> dict[str, Table]:
    """Returns a table for each of `EPISODE_GROUPS`, from the `rows` with a cell that is not 0."""
    tables = {}
    for group in EPISODE_GROUPS:
        own = [
            [name_cell(labels[name]), *cells]
            for name, cells in rows.items()
            if metric(name).group == group and any(cell.sort for cell in cells)
        ]
        if own:
            title, pooled, states, compared = GROUPS[group]
            about = f"{pooled.capitalize()}, {states}; {note}. Compare with the same {compared}."
            if any(
                metric(name).group == group and not any(c.sort for c in cells)
                for name, cells in rows.items()
            ):
                about += " Rows of zeros are left out."
            tables[group] = Table(title, ["", *heads], own, about)
    return tables


def _sets(played: Mapping[str, Any]) -> list[str]:
    """Returns the sets to show: train and held out if both exist, else all."""
    sets = list(played.get("sets", {}))
    apart = [name for name in ("train", "held_out") if name in sets]
    return apart if len(apart) == 2 else [name for name in sets if name == "all"] or sets


def clips_table(document: Document) -> Table:
    """Returns a table of the clips, with the policies' metrics on each."""
    acting = main_acting(document)
    policies = document["policies"]
    shown = [name for name in _CLIP_METRICS if name in document["metrics"]]
    heads = ["clip", "set", "behaviour", "length, s"]
    pairs = [(policy, name) for name in shown for policy in policies]
    heads += [f"{metric_label(document, name)}: {policy}" for policy, name in pairs]
    heads += ["made by"]
    rows = []
    for clip in document["clips"]:
        cells = [name_cell(clip["name"])]
        about = (clip.get("set"), clip.get("label"))
        cells += [Cell((text or NOTHING).replace("_", " "), text or None) for text in about]
        cells += [number_cell(clip.get("seconds"))]
        for policy, name in pairs:
            played = policies[policy].get(acting, {}).get("clips", {})
            cells.append(number_cell(played.get(clip["name"], {}).get(name)))
        made_by = clip.get("made_by")
        rows.append([*cells, Cell(made_by or NOTHING, made_by, tone="words")])
    kept = [c for c in range(len(heads)) if c == 0 or any(r[c].sort is not None for r in rows)]
    rows = [[row[c] for c in kept] for row in rows]
    return Table(f"{len(rows)} clips", [heads[c] for c in kept], rows, "All metrics: per_clip.csv.")


def action_tables(document: Document) -> list[Table]:
    """Returns tables of the student's action errors by part of the body, and by actuator."""
    states = {"on_student_states": "student's states", "on_teacher_states": "teacher's states"}
    tables = []
    for part, title in (("per_group", "By part of the body"), ("per_actuator", "By actuator")):
        found = {k: document["action"].get(k, {}).get(part) or {} for k in states}
        names = list(dict.fromkeys(name for errors in found.values() for name in errors))
        keys = [(k, e) for k in states for e in _ERRORS if found[k]]
        heads = ["", *(f"{_ERRORS[e]}: {states[k]}" for k, e in keys)]
        rows = [
            [name_cell(name), *(number_cell(found[k].get(name, {}).get(e)) for k, e in keys)]
            for name in names
        ]
        note = "Difference from the teacher's action in [-1, 1], on the same states."
        if rows:
            tables.append(Table(title, heads, rows, note, folded=part == "per_actuator"))
    return tables


def latent_tables(document: Document) -> list[Table]:
    """Returns tables of latent metrics, probes, interpolations and traversals."""
    latent = document["latent"]
    found = [
        _figures_table(latent),
        _probe_table(latent.get("probe") or {}),
        _played_table(
            "From one clip's latents to another's",
            latent.get("interpolation") or {},
            {"weights": "weight of the second clip"},
        ),
        _played_table(
            "Along single latent dimensions",
            latent.get("traversal") or {},
            {"dimension": "dimension", "sigma": "offset, prior standard deviations"},
        ),
    ]
    return [table for table in found if table is not None]


def _figures_table(latent: Mapping[str, Any]) -> Table | None:
    values = {label: _inside(latent, path) for label, path in _LATENT_NUMBERS.items()}
    rows = [[name_cell(k), number_cell(v)] for k, v in values.items() if v is not None]
    note = "Over the states that the student visits."
    return Table("Figures", ["", "value"], rows, note) if rows else None


def _probe_table(probe: Mapping[str, Any]) -> Table | None:
    """Returns a table of linear probes of the latent, beside those of the body alone."""
    behaviour, speed = probe.get("behaviour") or {}, probe.get("speed") or {}
    accuracy, r2 = behaviour.get("balanced_accuracy") or {}, speed.get("r2") or {}
    names = [name for name in _FEATURES if name in accuracy or name in r2]
    why = [
        f"{what}: {part['why']}"
        for what, part in (("Behaviour", behaviour), ("Speed", speed))
        if part.get("why")
    ]
    if not names and not why:
        return None
    rows = [
        [name_cell(_FEATURES[name]), number_cell(accuracy.get(name)), number_cell(r2.get(name))]
        for name in names
    ]
    if behaviour.get("chance") is not None:
        rows.append([name_cell("chance"), number_cell(behaviour["chance"]), number_cell(0.0)])
    notes = ["Linear probes, cross-validated with whole clips held out.", *why]
    if left_out := behaviour.get("left_out"):
        notes.append(f"Behaviours of a single clip are left out: {', '.join(left_out)}.")
    heads = ["read from", "behaviour: balanced accuracy", "speed: R²"]
    return Table("What can be read from the latent", heads, rows, " ".join(notes))


def _played_table(title: str, played: Mapping[str, Any], inputs: Mapping[str, str]) -> Table | None:
    first = next(iter(inputs))
    if not played.get(first):
        return None
    columns = {k: label for k, label in {**inputs, **_MOTION}.items() if played.get(k)}
    rows = []
    for i in range(len(played[first])):
        cells = [number_cell(played[key][i]) for key in columns]
        fell = bool(played["fell"][i]) if played.get("fell") else False
        rows.append([*cells, Cell("fell" if fell else "stayed up", int(fell))])
    clips = [played[key] for key in ("first", "second") if key in played]
    note = f"From {clips[0]} (0) to {clips[1]} (1)." if len(clips) == 2 else ""
    return Table(title, [*columns.values(), "end"], rows, note, folded=True)


def prior_table(document: Document) -> Table | None:
    """Returns a row for each prior mode and start, and for each policy that follows the clips."""
    parts = [(m, s, f) for m, starts in document["prior"].items() for s, f in starts.items()]
    if not parts:
        return None
    rows, seconds = [], sorted({t for *_, f in parts for t in f.get("survival", {})}, key=float)
    heads = ["mode or policy", "start", *(f"up at {t}\N{NO-BREAK SPACE}s" for t in seconds)]
    for mode, start, figures in parts:
        intervals = figures.get("survival_interval", {})
        cells = [name_cell(mode), Cell(start, start)]
        for t in seconds:
            ends = intervals.get(t) or {}
            cells.append(metric_cell({"mean": figures.get("survival", {}).get(t), **ends}))
        cells.append(_farthest_cell(figures))
        cells += [number_cell(_inside(figures, path)) for path in _PRIOR_NUMBERS.values()]
        rows.append(cells)
    note = (
        "Student and teacher follow the clips, the other rows follow none; the row “clips” compares one half "
        "of them with the other. “Times” is the 1-Wasserstein distance from the clips' distribution, divided "
        "by that between two halves of the clips; the 95 % interval is a bootstrap over rollouts."
    )
    return Table("Prior rollouts", [*heads, "farthest feature", *_PRIOR_NUMBERS], rows, note)


def behaviour_table(document: Document) -> Table | None:
    """Returns the farthest motion feature by behaviour: rows of labels, columns of policies and modes."""
    columns = {
        who.replace("_", " "): starts["clips"].get("by_behaviour") or {}
        for who, starts in document["prior"].items()
        if "clips" in starts and who != "clips"
    }
    labels = sorted({label for found in columns.values() for label in found})
    rows = [
        [name_cell(label), *(_farthest_cell(found.get(label, {})) for found in columns.values())]
        for label in labels
    ]
    note = (
        "Rollouts that start in a clip of the behaviour, compared with its clips: the farthest "
        "feature, divided by the distance between two halves of all clips. Small sets are farther apart, so "
        "compare each with the teacher's. A rollout of the prior may change its behaviour."
    )
    return Table("By behaviour", ["", *columns], rows, note) if rows else None


def _farthest_cell(figures: Mapping[str, Any]) -> Cell:
    worst = worst_feature(figures)
    if worst is None:
        return Cell(NOTHING)
    ends = interval(figures.get("farthest") or {})
    name = worst[0].replace("_", " ")
    return Cell(f"{number(worst[1], 2)} times", worst[1], f"{name}{ends and f', {ends}'}")


def _inside(figures: Any, path: Sequence[str]) -> Any:
    """Returns the number at a path; None if there is none."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures
