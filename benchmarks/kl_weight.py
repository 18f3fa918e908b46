"""What the weight of the KL term costs and buys: the bundled teacher distilled with several of them.

    uv run python benchmarks/kl_weight.py [--weights 1e-5,3e-5,1e-4,...] [--steps 409600] [--runs FOLDER]

Each is a run of `vnl-mjx distill` and one of `vnl-mjx eval`, some five minutes on two cores; runs that are
there already are not made again. Prints a table and draws `kl_weight.png` in the folder.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vnl_mjx.cli import main as vnl_mjx
from vnl_mjx.report.document import read_document
from vnl_mjx.report.pictures.style import BLUE, Estimates, sheet

EVALUATION = (
    "eval_config.acting=deterministic",
    "prior_config.num_episodes=64",
    "prior_config.modes=[mean,learned]",
    "latent_config.umap=false",
    "latent_config.num_traversals=0",
    "latent_config.interpolate=false",
    "video_config.num_clips=0",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", default="1e-5,3e-5,1e-4,3e-4,1e-3")
    parser.add_argument("--steps", type=int, default=409_600)
    parser.add_argument("--runs", type=Path, default=Path("runs/kl_weight"))
    args = parser.parse_args()
    rows = [(float(w), measure(w, args.steps, args.runs)) for w in args.weights.split(",")]
    show(rows, args.runs / "kl_weight.png")


def measure(weight: str, num_steps: int, runs: Path) -> dict[str, float]:
    """Figures of one weight."""
    run = runs / weight
    distill = (
        f"run_dir={run}",
        f"training_config.kl_weight={weight}",
        f"training_config.num_steps={num_steps}",
        "eval_config.interval_steps=0",
        "checkpoint_config.interval_steps=0",
    )
    report = run / "report" / "metrics.json"
    if not report.exists():
        for words in (("distill", *distill), ("eval", str(run), *EVALUATION)):
            if status := vnl_mjx(words):
                raise SystemExit(status)
    document = read_document(report)
    held_out = document["differences"]["student vs teacher"]["deterministic"]["held_out"]
    prior = {mode: found["clips"] for mode, found in document["prior"].items()}
    return {
        "reward ratio": held_out["reward_ratio"]["median"],
        "R2": document["action"]["on_student_states"]["r2"],
        "KL": document["latent"]["kl"],
        "active": document["latent"]["active_units"],
        "up at 10 s": prior["learned"]["survival"]["10"],
        "low": prior["learned"]["survival_interval"]["10"]["low"],
        "high": prior["learned"]["survival_interval"]["10"]["high"],
        "up at 10 s, mean": prior["mean"]["survival"]["10"],
        "speed / data's": prior["learned"]["speed_ratio"],
    }


def show(rows: list[tuple[float, dict[str, float]]], picture: Path) -> None:
    table = Table(title="64 prior rollouts of 10 s; reward ratio: median over held-out clips")
    table.add_column("KL weight")
    for name in rows[0][1]:
        table.add_column(name, justify="right")
    for weight, found in rows:
        table.add_row(f"{weight:g}", *(f"{value:.3g}" for value in found.values()))
    Console(width=140).print(table)
    weights = np.array([weight for weight, _ in rows])
    up, low, high, ratio = (
        np.array([found[name] for _, found in rows])
        for name in ("up at 10 s", "low", "high", "reward ratio")
    )
    caption = "Reward ratio and survival of prior rollouts against the KL weight."
    with sheet(2.2, caption, caption) as drawn:
        axis, spread = drawn.axis, Estimates(up, low, high)
        axis.fill_between(weights, spread.low, spread.high, color=BLUE, alpha=0.2, linewidth=0)
        axis.plot(weights, up, "o-", color=BLUE, label="prior up at 10 s, learned variance")
        axis.plot(weights, ratio, "s--", color="black", label="reward ratio, held-out clips")
        axis.set(xscale="log", xlabel="KL weight", ylim=(0.0, 1.1))
        axis.set_xticks(weights, [f"{weight:g}" for weight in weights])
        axis.set_xticks([], minor=True)
        axis.legend(fontsize="x-small", loc="lower left")
        axis.grid()
    picture.write_bytes(drawn.picture.png)


if __name__ == "__main__":
    main()
