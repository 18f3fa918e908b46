"""Compares recipes of a distillation of the bundled teacher, each with several seeds.

    uv run python benchmarks/recipes.py [RECIPE ...] [--seeds 0,1,2] [--runs FOLDER] [--json FILE]

`recipes.yaml` lists the recipes: settings of `vnl-mjx distill`. Each run is a `distill` and an `eval` in
processes of their own, so that its seconds contain imports and compiling; a run that is there already is
not made again. A seed draws the networks and the starts; the bundled clips say which of them are held out.
Prints a table (mean and worst seed) and draws `recipes.png` in the folder of the runs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.ticker import EngFormatter
from rich.console import Console
from timing import exit_status, table

from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.motion_statistics import worst_feature
from vnl_mjx.report.colors import BLUE, GREEN
from vnl_mjx.report.document import read_document
from vnl_mjx.report.pictures.style import sheet
from vnl_mjx.report.verdicts import MET, MISSED, tiles

EVALUATION = (
    "eval_config.acting=deterministic",
    "eval_config.baselines=false",
    "prior_config.num_episodes=64",
    "prior_config.modes=[learned]",
    "latent_config.umap=false",
    "latent_config.num_traversals=0",
    "latent_config.interpolate=false",
    "video_config.num_clips=0",
)
# name: (unit or explanation in the table's head, whether more is better; None where neither is)
COLUMNS: dict[str, tuple[str, bool | None]] = {
    "env_steps": ("environment steps", None),
    "gradient_steps": ("gradient steps", None),
    "seconds": ("s, all of distill", None),
    "reward_ratio": ("reward ratio", True),
    "held_out_ratio": ("reward ratio, held out", True),
    "survival": ("survival", True),
    "root_error_ratio": ("root error / teacher's", False),
    "action_r2": ("action R2", True),
    "kl": ("KL, nats", None),
    "prior_clips": ("prior up, clips", True),
    "prior_neutral": ("prior up, neutral", True),
    "prior_motion": ("prior's motion, times", False),
    "targets_met": ("targets met", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="all without any")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipes", type=Path, default=Path(__file__).with_name("recipes.yaml"))
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")
    args = parser.parse_args()
    recipes = yaml.safe_load(args.recipes.read_text())
    if unknown := set(args.names) - set(recipes):
        raise UserError(f"{args.recipes}: no recipe {unknown}, found {sorted(recipes)}")
    seeds = [int(seed) for seed in args.seeds.split(",")]
    found = {}
    for name in args.names or recipes:
        settings = expanded(recipes, name)
        runs = [(args.runs / name / str(seed), seed) for seed in seeds]
        found[name] = [measured(run, settings, seed) for run, seed in runs]
        if args.json:
            args.json.write_text(json.dumps(found, indent=1))
    show(found, args.runs / "recipes.png")


def expanded(recipes: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The settings of a recipe, those of the recipes that it names in their place."""
    parts = [[s] if "=" in s else expanded(recipes, s) for s in recipes[name]]
    return [setting for part in parts for setting in part]


def measured(run: Path, settings: Sequence[str], seed: int) -> dict[str, float]:
    """Distils and evaluates, unless `run` holds both, and returns the row of the table."""
    report, cost = run / "report" / "metrics.json", run / "seconds.json"
    if not report.exists():
        more = (f"training_config.seed={seed}", "eval_config.interval_steps=0")
        started = time.perf_counter()
        command("distill", f"run_dir={run}", *settings, *more, "checkpoint_config.interval_steps=0")
        cost.write_text(json.dumps(time.perf_counter() - started))
        command("eval", str(run), *EVALUATION)
    config = json.loads((run / "config.json").read_text())["config"]["training_config"]
    return {"seconds": json.loads(cost.read_text())} | row(read_document(report), config)


def command(*words: str) -> None:
    """Runs vnl-mjx without compiled programs from before."""
    environment = os.environ | {"VNL_MJX_CACHE": "off"}
    done = subprocess.run([sys.executable, "-m", "vnl_mjx.cli", *words], env=environment)
    if done.returncode:
        raise SystemExit(done.returncode)


def row(document: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one run that the table shows, from its report."""
    sets = {
        who: document["policies"][who]["deterministic"]["sets"]["all"]["figures"]
        for who in ("student", "teacher")
    }
    differences = document["differences"]["student vs teacher"]["deterministic"]
    prior = document["prior"]["learned"]
    per_update = config["num_envs"] * config["unroll_length"]
    updates = -(-config["num_steps"] // per_update)
    batches = per_update // config["segment_length"] // config["batch_size"]
    judged = tiles(document)
    return {
        "env_steps": updates * per_update,
        "gradient_steps": updates * batches * config["num_epochs"],
        "reward_ratio": differences["all"]["reward_ratio"]["mean"],
        "held_out_ratio": differences["held_out"]["reward_ratio"]["mean"],
        "survival": sets["student"]["survival"]["mean"],
        "root_error_ratio": sets["student"]["root_error_mm"]["mean"]
        / sets["teacher"]["root_error_mm"]["mean"],
        "action_r2": document["action"]["on_student_states"]["r2"],
        "kl": document["latent"]["kl"],
        "prior_clips": prior["clips"]["survival"]["10"],
        "prior_neutral": prior["neutral"]["survival"]["10"],
        "prior_motion": worst[1] if (worst := worst_feature(prior["clips"])) else np.nan,
        "targets_met": sum(tile.verdict == MET for tile in judged),
        "targets": sum(tile.verdict in (MET, MISSED) for tile in judged),
    }


def show(found: Mapping[str, Sequence[Mapping[str, float]]], picture: Path) -> None:
    """Prints the table and draws the picture."""
    shown = table("Mean over seeds (worst seed)", *(head for head, _ in COLUMNS.values()))
    for name, rows in found.items():
        shown.add_row(name, *(cell([r[key] for r in rows], COLUMNS[key][1]) for key in COLUMNS))
    Console(width=200).print(shown)
    caption = "Reward ratio and survival of the prior against environment steps, all seeds."
    with sheet(2.6, caption, caption, columns=2) as drawn:
        for axis, key, color in zip(
            drawn.axes, ("reward_ratio", "prior_clips"), (BLUE, GREEN), strict=True
        ):
            for name, rows in found.items():
                steps, values = rows[0]["env_steps"], [r[key] for r in rows]
                axis.plot([steps] * len(values), values, "o", color=color, markersize=3)
                axis.annotate(
                    name, (steps, float(np.mean(values))), (4, 0), textcoords="offset points"
                )
            axis.set(xscale="log", xlabel="environment steps", ylabel=COLUMNS[key][0])
            axis.set_xticks(sorted({rows[0]["env_steps"] for rows in found.values()}))
            axis.minorticks_off()
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # the style draws no formulas
            axis.grid()
    picture.write_bytes(drawn.picture.png)
    print(picture)


def cell(values: Sequence[float], more_is_better: bool | None) -> str:
    """Mean, and the worst where one is better than the other."""
    mean = f"{np.mean(values):,.4g}"
    if more_is_better is None or len(values) == 1:
        return mean
    return f"{mean} ({min(values) if more_is_better else max(values):.3g})"


if __name__ == "__main__":
    sys.exit(exit_status(main))
