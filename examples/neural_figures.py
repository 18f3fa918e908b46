# %% [markdown]
# From the bundled student to the figures of a paper: the student's activity is recorded along one session,
# synthetic units of known truth stand in for recorded neurons, and three commands write tables and a page.
#
#     python examples/neural_figures.py
#
# Cells begin with `# %%`: Jupyter, VS Code and Spyder run them one by one. With data of your own, put your
# checkpoint, clips and sorted units in place of ours.

# %% A session of ten minutes: the bundled clips, four times in random order, a second apart
import shutil
from pathlib import Path

import h5py
import numpy as np

from vnl_mjx.cli import main
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.neurons.tables import read_table

FOLDER = Path("neural_figures")
SESSION, RECORD, UNITS = (
    FOLDER / name for name in ("session.h5", "activity.h5", "synthetic_units.npz")
)
ROUNDS, GAP_S = 4, 1.0


def run(*command):
    """Runs a command of vnl-mjx as in a shell."""
    words = [str(word) for word in command]
    print("vnl-mjx", *words)
    assert main(words) == 0


FOLDER.mkdir(exist_ok=True)
begin_s, parts = 0.0, []
for k in range(ROUNDS):
    parts.append(FOLDER / f"part_{k}.h5")
    shutil.copy(DEMO_CLIPS, parts[-1])
    with h5py.File(parts[-1], "r+") as file:
        seconds = file["clips/length"][()] / file.attrs["rate_hz"] + GAP_S
        order = np.random.default_rng(k).permutation(len(seconds))
        ends = np.cumsum(seconds[order])
        file["clips/start_s"][:] = (begin_s + ends - seconds[order])[np.argsort(order)]
        file["clips/source"][:] = b"session"
        file["clips/mirrored"][:] = False
    begin_s += ends[-1]
run("clips", "merge", *parts, SESSION, "--overwrite")

# %% Record the student along the session
run("record", "demo-student", SESSION, RECORD, "--samples", 20, "--overwrite")

# %% Units: which group of features explains each of them?
# The word `synthetic` simulates units; in its place goes your NWB file, Phy folder or arrays. To be quick,
# bins are wide, shifts are few, and not all layers are asked.
groups = "kinematics,reference,layers/encoder.hidden_1,layers/decoder.hidden_1"
quick = ("--groups", groups, "--bin", 0.04, "--shifts", 100, "--units-per-group", 4)
run("encode", RECORD, "synthetic", FOLDER, *quick, "--overwrite")

# %% Layers: how alike are they to each other and to the units, and where is the latent variable?
run("similarity", RECORD, FOLDER, "--units", UNITS)

# %% All numbers are tables; the page and its pictures are made from them
pair = ("quantity", "other_quantity")
for row in read_table(FOLDER, "cka", pair, ("cka", "low", "high", "shifted")):
    if "units/activity" in (row["quantity"], row["other_quantity"]):
        print(*(row[name] for name in pair), f"CKA {row['cka']:.2f}, shifted {row['shifted']:.2f}")
print("figures:", FOLDER / "report.html")
