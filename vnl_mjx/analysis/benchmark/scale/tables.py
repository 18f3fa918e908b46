"""What the jobs found, as tables in Markdown and in one line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TARGET = 0.9
_MB = 1e6
_LAYERS = ("physics", "environment", "teacher", "distillation")


def headline(result: Mapping[str, Any]) -> str:
    """A job's result in a few words."""
    found = result["found"]
    words = []
    for name in (*_LAYERS, "ppo"):
        if name in found:
            words.append(f"{name} {_rate(found[name])} steps/s")
    if "learning" in found:
        learning = found["learning"]
        words.append(f"reward {learning['reward_before']:.2f} to {learning['reward']:.2f}")
    if "ratio" in found:
        ratio = found["ratio"]
        words.append(f"{ratio.get('ratio', 0):.3f} of the teacher in {_time_to_target(ratio)}")
    if "profile" in found:
        words.append(_shares(found["profile"]["parts"]))
    if "error" in result:
        words.append(result["error"])
    return ", ".join(words) or "nothing found"


def markdown(document: Mapping[str, Any]) -> str:
    """All tables."""
    jobs = document["jobs"]
    sections = [
        "# Measured by benchmarks/gpu.py",
        _machine(document["machine"]),
        _rates(_of_kind(jobs, "rates")),
        _ppo(_of_kind(jobs, "ppo")),
        _costs(_of_kind(jobs, "rates") + _of_kind(jobs, "ppo")),
        _learning(_of_kind(jobs, "learning")),
        _ratios(_of_kind(jobs, "ratio")),
        *(_profile(*row) for row in _of_kind(jobs, "profile")),
        _unfinished(jobs),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


Row = tuple[str, int | None, Mapping[str, Any]]  # back end, environments, what was found


def _of_kind(jobs: Mapping[str, Any], kind: str) -> list[Row]:
    """Results of one kind by back end and number of environments."""
    rows = [
        (name.split("/")[1], result.get("num_envs"), result["found"])
        for name, result in jobs.items()
        if name.split("/")[0] == kind and result["found"]
    ]
    return sorted(rows, key=lambda row: (row[0], row[1] or 0))


def _machine(machine: Mapping[str, Any] | None) -> str:
    if machine is None:
        return ""
    versions = ", ".join(
        f"{name} {version}"
        for name, version in machine["versions"].items()
        if version != "not installed"
    )
    device = machine["gpu"] or ", ".join(machine["devices"])
    return (
        f"{device}; {machine['cpu']}, {machine['cores']} cores; {machine['date']}; "
        f"products of matrices in {machine['matmul_precision']}; {versions}."
    )


def _rates(rows: Sequence[Row]) -> str:
    columns = ("back end", "environments", *_LAYERS, "distillation / environment")
    columns += ("bytes of an environment", "room for contacts / rows")
    lines = []
    for backend, num_envs, found in rows:
        ratio = ""
        if "environment" in found and "distillation" in found:
            rates = [_median(found[name]) for name in ("distillation", "environment")]
            ratio = f"{rates[0] / rates[1]:.3f}"
        cells = (_spread(found[name]) if name in found else "" for name in _LAYERS)
        distillation = found.get("distillation", {})
        room = distillation.get("room") or {}
        room = " / ".join(str(value) for value in room.values())
        lines.append(
            (backend, num_envs, *cells, ratio, distillation.get("environment_bytes", ""), room)
        )
    caption = (
        "Median (lowest-highest): control steps of bare physics; environments with the teacher's recorded "
        "actions; environments and teacher; distillation end to end, whose target is "
        f"{TARGET:g} of the environments' rate."
    )
    return _table("Environment steps per second", columns, lines, caption)


def _ppo(rows: Sequence[Row]) -> str:
    lines = [(b, n, _spread(found["ppo"])) for b, n, found in rows if "ppo" in found]
    columns = ("back end", "environments", "environment steps per second")
    return _table("PPO end to end", columns, lines)


def _costs(rows: Sequence[Row]) -> str:
    """Compiling and memory of every program."""
    lines = []
    for backend, num_envs, found in rows:
        for layer, measured in found.items():
            for name, program in measured.get("programs", {}).items():
                lines.append(
                    (
                        backend,
                        num_envs,
                        layer if name == layer else f"{layer}: {name}",
                        f"{program['seconds']:.1f}",
                        f"{program['total_bytes'] / _MB:.1f}",
                        f"{program['total_bytes'] / (num_envs or 1) / 1e3:.1f}",
                        f"{measured['peak'].get('device_bytes', 0) / _MB:.0f}",
                        f"{measured['peak']['host_bytes'] / _MB:.0f}",
                        _count(measured, "diverged"),
                        _count(measured, "overflowed"),
                    )
                )
    columns = (
        "back end",
        "environments",
        "program",
        "compiling, s",
        "memory, MB",
        "per environment, kB",
    )
    columns += ("device's peak so far, MB", "host's peak, MB", "diverged steps", "overflowed steps")
    caption = (
        "Programs of one process may compile at the same time, and may have been compiled before."
    )
    return _table("Compiling and memory", columns, lines, caption)


def _learning(rows: Sequence[Row]) -> str:
    lines = []
    for backend, _, found in rows:
        if "learning" in found:
            run = found["learning"]
            rewards = (f"{run[name]:.3f}" for name in ("reward_before", "reward", "passing_reward"))
            passed = "yes" if run["passed"] else "NO"
            lines.append((backend, *rewards, passed, f"{run['train_seconds']:.1f}"))
    columns = ("back end", "reward before", "after", "needed", "passed", "seconds of training")
    return _table("PPO on the toy walker: reward per step", columns, lines)


def _ratios(rows: Sequence[Row]) -> str:
    lines = []
    for backend, num_envs, found in rows:
        if "ratio" in found:
            run = found["ratio"]
            elsewhere = run.get("ratio_elsewhere")
            lines.append(
                (
                    backend,
                    num_envs,
                    f"{run.get('ratio', 0):.3f}",
                    _time_to_target(run),
                    f"{run.get('env_steps', 0):,}",
                    "" if elsewhere is None else f"{elsewhere:.3f}",
                )
            )
    columns = ("back end", "environments", "reward / teacher's", "training", "steps", "on MuJoCo C")
    return _table("Distillation of the teacher until 0.95 of its reward", columns, lines)


def _profile(backend: str, num_envs: int | None, found: Mapping[str, Any]) -> str:
    if "profile" not in found:
        return ""
    profile = found["profile"]
    lines = [
        (
            f"`{row['operation']}`",
            row["part"],
            f"{1e3 * row['seconds']:.2f}",
            f"{100 * row['share']:.1f}",
            row["count"],
            f"`{row['traced_as'][-60:]}`",
        )
        for row in profile["operations"]
    ]
    caption = (
        f"{profile['wall_seconds']:.3f} s under the profiler, of which operations "
        f"{profile['busy_seconds']:.3f} s: {_shares(profile['parts'])}."
    )
    title = f"One update of {backend} with {num_envs} environments"
    columns = ("operation", "part", "ms", "%", "times", "traced as")
    return _table(title, columns, lines, caption)


def _unfinished(jobs: Mapping[str, Any]) -> str:
    lines = [
        (name, result["status"], f"{result['seconds']:.0f}", result.get("error", ""))
        for name, result in jobs.items()
        if result["status"] != "done"
    ]
    return _table("Jobs that did not end well", ("job", "", "s", "said last"), lines)


def _table(
    title: str, columns: Sequence[str], lines: Sequence[Sequence[Any]], caption: str = ""
) -> str:
    if not lines:
        return ""
    row: Callable[[Sequence[Any]], str] = lambda cells: f"| {' | '.join(map(str, cells))} |"  # noqa: E731
    above = [f"## {title}", "", *([caption, ""] if caption else [])]
    return "\n".join([*above, row(columns), row(["---"] * len(columns)), *map(row, lines)])


def _median(measured: Mapping[str, Any]) -> float:
    return measured["steps_per_second"]["median"]


def _rate(measured: Mapping[str, Any]) -> str:
    return f"{_median(measured):,.0f}"


def _spread(measured: Mapping[str, Any]) -> str:
    rates = measured["steps_per_second"]
    return f"{_rate(measured)} ({rates['min']:,.0f}-{rates['max']:,.0f})"


def _count(measured: Mapping[str, Any], name: str) -> str:
    return f"{measured[name]:.0f}" if name in measured else ""


def _time_to_target(ratio: Mapping[str, Any]) -> str:
    """The bracket that evaluations put around the moment."""
    curve = ratio["curve"]
    if not curve:
        return "no time"
    if not ratio["reached"]:
        return f"more than {curve[-1]['train_seconds']:.1f} s"
    before = curve[-2]["train_seconds"] if len(curve) > 1 else 0.0
    return f"{before:.1f}-{curve[-1]['train_seconds']:.1f} s"


def _shares(parts: Mapping[str, float]) -> str:
    ordered = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in ordered)
