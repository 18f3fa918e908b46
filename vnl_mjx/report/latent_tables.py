"""Tables of the sections on the latent space and on prior rollouts."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vnl_mjx.report.lookup import Document
from vnl_mjx.report.table_cells import Cell, Table, metric_cell, name_cell, number_cell

# Paths in `document["latent"]`, as `evaluation.latent.statistics` makes it.
_FIGURES = {
    "KL(posterior ‖ prior), nats": ("kl",),
    "latent dimensions": ("latent_dim",),
    "active dimensions, by KL": ("active_units",),
    "varying dimensions, by variance of the posterior mean": ("varying_units",),
    "standard deviation of the posterior": ("posterior_std",),
    "standard deviation of the prior": ("prior_std",),
    "KL(aggregate posterior ‖ aggregate prior), nats": ("aggregate", "kl"),
    "variance of the posterior mean that the prior mean explains": ("prior_explains",),
    "time constant of the posterior mean, s": ("autocorrelation", "time_constant_s"),
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


def latent_tables(document: Document) -> list[Table]:
    """Figures of the latent space, probes of it, and what changed latents make the body do."""
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
    values = {label: _inside(*path)(latent) for label, path in _FIGURES.items()}
    rows = [[name_cell(k), number_cell(v)] for k, v in values.items() if v is not None]
    note = "Over the states that the student visits."
    return Table("Figures", ["", "value"], rows, note) if rows else None


def _probe_table(probe: Mapping[str, Any]) -> Table | None:
    """What a linear readout finds in the latent, beside what it finds in the body alone."""
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
    left_out = behaviour.get("left_out") or []
    notes = ["Linear probes, cross-validated with whole clips held out.", *why]
    notes += (
        [f"Behaviours of a single clip are left out: {', '.join(left_out)}."] if left_out else []
    )
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
    """A row for each way to draw latents and each start."""
    rows, heads = [], ["latent drawn", "start"]
    parts = [(m, s, f) for m, starts in document["prior"].items() for s, f in _objects(starts)]
    parts = [(mode, start, figures) for mode, start, figures in parts if "survival" in figures]
    if not parts:
        return None
    seconds = sorted({t for _, _, figures in parts for t in figures["survival"]}, key=float)
    heads += [f"up at {t}\N{NO-BREAK SPACE}s" for t in seconds] + list(_PRIOR_FIGURES)
    for mode, start, figures in parts:
        intervals = figures.get("survival_interval", {})
        cells = [name_cell(mode), Cell(start, start)]
        for t in seconds:
            ends = intervals.get(t) or {}
            cells.append(metric_cell({"mean": figures["survival"].get(t), **ends}))
        cells += [number_cell(read(figures)) for read in _PRIOR_FIGURES.values()]
        rows.append(cells)
    return Table(
        "Prior rollouts", heads, rows, "Overlap of histograms with the data's: 1 is equal."
    )


def _objects(value: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    items = value.items() if isinstance(value, Mapping) else ()
    return [(key, item) for key, item in items if isinstance(item, Mapping)]


def _inside(*path: str) -> Callable[[Mapping[str, Any]], Any]:
    def read(figures: Any) -> Any:
        for key in path:
            figures = figures.get(key) if isinstance(figures, Mapping) else None
        return figures if isinstance(figures, int | float) else None

    return read


_PRIOR_FIGURES = {
    "mean speed, m/s": _inside("speed", "mean"),
    "speed / data's": _inside("speed_ratio"),
    "speed overlap": _inside("speed", "overlap"),
    "height overlap": _inside("torso_height", "overlap"),
    "joint angle overlap": _inside("joint_angles", "overlap"),
    "joint variance / data's": _inside("joint_variance_reached"),
    "diversity / data's": _inside("diversity_ratio"),
}
