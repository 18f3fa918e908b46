"""Tables and warnings on the console."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from vnl_mjx.clips.container import ClipSplit, ReferenceClips, describe_clips


def print_table(console: Console, title: str, rows: Mapping[str, str]) -> None:
    """A two-column table."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def warn(console: Console, message: str) -> None:
    """One warning."""
    console.print(f"warning: {message}", style="yellow", markup=False, highlight=False)


def clip_rows(clips: ReferenceClips, split: ClipSplit) -> dict[str, str]:
    """The clips and how they are split."""
    names = clips.names
    held_out = ", ".join(names[i] for i in split.held_out[:8]) or "none (too few clips)"
    more = f" and {len(split.held_out) - 8} more" if len(split.held_out) > 8 else ""
    return describe_clips(clips) | {
        "trained on": f"{len(split.train)} clips (split seed {split.seed})",
        "held out": held_out + more,
    }


def print_evaluation(console: Console, summary: Mapping[str, Any]) -> None:
    """Student and teacher side by side, then the action error and the latent."""
    table = Table(title="Student against teacher", title_justify="left")
    table.add_column("")
    table.add_column("student", justify="right")
    table.add_column("teacher", justify="right")
    for name, label in {
        "episode_reward": "reward per episode",
        "reward_per_step": "reward per step",
        "episode_steps": "episode length (control steps)",
        "survival": "survival",
    }.items():
        values = (summary[who][name] for who in ("student", "teacher"))
        table.add_row(label, *(f"{value:.3f}" for value in values))
    console.print(table)
    action, latent = summary["action"], summary["latent"]
    ratio = summary["reward_ratio"]
    print_table(
        console,
        f"Over {summary['num_episodes']} episodes, on the states that the student visits",
        {
            "reward ratio": "undefined (teacher's reward is not above 0)"
            if ratio is None
            else f"{ratio:.3f}",
            "action MSE": f"{action['mse']:.5f}",
            "action MAE": f"{action['mae']:.4f}",
            "action R2": "undefined" if action["r2"] is None else f"{action['r2']:.3f}",
            "MAE by part": ", ".join(f"{k} {v['mae']:.3f}" for k, v in action["per_group"].items()),
            "KL to the prior": f"{latent['kl']:.2f} nats",
            "active units": f"{latent['active_units']} of {latent['latent_dim']}",
            "diverged steps": str(summary["nan_steps"]),
        },
    )
