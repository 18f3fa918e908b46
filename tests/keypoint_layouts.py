"""Writes the same key points in every layout that the package reads."""

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from matlab_files import write_mat73

from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.sources import KeyPointOptions, open_key_points

NAMES = ("Snout", "SpineM", "TailBase", "HandL", "HandR", "FootL", "FootR")
FRAMES = 12


def rat() -> np.ndarray:
    """A rat that walks and turns, [frame, point, 3], metres, z up; one point is lost in one frame."""
    body = np.array(
        [[8, 0, 4], [0, 0, 6], [-7, 0, 4], [4, 2, 0], [4, -2, 0], [-4, 3, 0], [-4, -3, 0]], float
    )
    yaw = np.linspace(0.0, 1.5, FRAMES)
    turn = np.zeros((FRAMES, 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(yaw)
    turn[:, 0, 1], turn[:, 1, 0], turn[:, 2, 2] = -np.sin(yaw), np.sin(yaw), 1.0
    path = np.stack([0.02 * np.arange(FRAMES), 0.3 + yaw, np.full(FRAMES, 0.001)], axis=1)
    points = 0.01 * np.einsum("fij,pj->fpi", turn, body) + path[:, None]
    points[3, 4] = np.nan
    return points


RAT = rat()
SCORES = np.where(
    np.isnan(RAT[..., 0]), 0.0, np.linspace(0.5, 1.0, RAT[..., 0].size).reshape(12, 7)
)


def write_rows(path: Path, *rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def table(points: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Columns x, y, z (and score) of each point."""
    parts = points if scores is None else np.concatenate([points, scores[..., None]], axis=-1)
    return parts.reshape(len(points), -1)


def write_anipose(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    header, columns = [], []
    for p, name in enumerate(NAMES):
        header += [f"{name}_{kind}" for kind in ("x", "y", "z", "error", "ncams", "score")]
        columns += [*points[:, p].T, np.full(FRAMES, 2.5), np.full(FRAMES, 3.0), scores[:, p]]
    header += ["M_00", "center_0", "fnum"]
    columns += [np.ones(FRAMES), np.zeros(FRAMES), np.arange(FRAMES)]
    blank = [["" if np.isnan(v) else v for v in row] for row in np.array(columns).T]
    write_rows(path, header, *blank)


def write_deeplabcut(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    kinds = ("x", "y", "z", "likelihood")
    header = [
        ["scorer", *["net"] * 4 * len(NAMES)],
        ["bodyparts", *[name for name in NAMES for _ in kinds]],
        ["coords", *kinds * len(NAMES)],
    ]
    rows = [[f, *row] for f, row in enumerate(table(points, scores).tolist())]
    write_rows(path, *header, *rows)


def write_two_rows(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    header = [[cell for name in NAMES for cell in (name, "", "")], ["X", "Y", "Z"] * len(NAMES)]
    write_rows(path, *header, *table(points).tolist())


def write_columns(path: Path, points: np.ndarray, scores: np.ndarray) -> None:
    header = [f"{name}_{axis}" for name in NAMES for axis in "xyz"]
    header += ["time"]
    times = np.arange(FRAMES) / 40.0
    write_rows(path, header, *np.column_stack([table(points), times]).tolist())


def write_h5(path: Path, **datasets: object) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def write_nwb(path: Path, points: np.ndarray, scores: np.ndarray, rats=("PoseEstimation",)) -> None:
    """As pynwb with ndx-pose writes it, without what a reader does not need."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        for rat in rats:
            group = file.create_group(f"processing/behavior/{rat}")
            group.attrs["neurodata_type"] = "PoseEstimation"
            group["nodes"] = [name.encode() for name in NAMES]
            for p, name in enumerate(NAMES):
                series = group.create_group(name)
                series.attrs["neurodata_type"] = "PoseEstimationSeries"
                series["data"], series["confidence"] = points[:, p], scores[:, p]
                series["data"].attrs["unit"] = "pixels"  # ndx-pose's default, whatever it is
                series["timestamps"] = np.arange(FRAMES) / 40.0


def cells(names: tuple[str, ...] = NAMES) -> np.ndarray:
    return np.array([name.encode() for name in names])


Writer = Callable[[Path, np.ndarray, np.ndarray], None]
LAYOUTS: dict[str, Writer] = {
    "dannce.mat": lambda path, x, c: scipy.io.savemat(
        path,
        {"pred": x.transpose(0, 2, 1), "p_max": c, "sampleID": 33 * np.arange(FRAMES)},
    ),
    "sdannce.mat": lambda path, x, c: scipy.io.savemat(
        path, {"pred": x.transpose(0, 2, 1)[:, None], "p_max": c[:, None], "com": x[:, :1]}
    ),
    "dannce73.mat": lambda path, x, c: write_mat73(path, pred=x.transpose(0, 2, 1), p_max=c),
    "points3d.h5": lambda path, x, c: write_h5(path, tracks=x[:, None]),
    "analysis.h5": lambda path, x, c: write_h5(
        path,
        tracks=x.transpose(2, 1, 0)[None],
        point_scores=c.T[None],
        node_names=cells(),
        track_names=cells(("track_0",)),
    ),
    "anipose.csv": write_anipose,
    "deeplabcut.csv": write_deeplabcut,
    "two_rows.tsv": write_two_rows,
    "columns.txt": write_columns,
    "pose.nwb": write_nwb,
    "points.npz": lambda path, x, c: np.savez(path, keypoints=x, keypoint_names=NAMES),
    "swapped.npz": lambda path, x, c: np.savez(
        path, positions=x.transpose(0, 2, 1), names=NAMES, confidence=c, fps=40.0
    ),
    "points.npy": lambda path, x, c: np.save(path, x),
}
WITHOUT_NAMES = ("dannce.mat", "sdannce.mat", "dannce73.mat", "points3d.h5", "points.npy")
WITHOUT_SCORES = ("points3d.h5", "two_rows.tsv", "columns.txt", "points.npz", "points.npy")
WITH_RATE = ("columns.txt", "pose.nwb", "swapped.npz")


def read(path: Path, **options) -> KeyPoints:
    if path.name in WITHOUT_NAMES:
        options = {"points": ",".join(NAMES)} | options
    return open_key_points(path, KeyPointOptions(**options))


def refusal(path: Path, **options) -> str:
    """The message of the UserError, which is one line and names the file."""
    with pytest.raises(UserError) as caught:
        open_key_points(path, KeyPointOptions(**options))
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message
