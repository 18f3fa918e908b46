"""Writes fitted poses in the layout of stac-mjx's output, which track-mjx and `vnl-mjx preprocess` read."""

import os
from collections.abc import Mapping

import numpy as np
import yaml

from vnl_mjx.clips.file import fixed_length
from vnl_mjx.clips.hdf5_access import atomic_hdf5
from vnl_mjx.clips.recording import ROOT_COLUMNS
from vnl_mjx.keypoints.fit import Fit


def write_fit(path: str | os.PathLike[str], fit: Fit) -> None:
    """Writes poses, key points and markers, in lengths of the body, and the frame rate, which is ours.

    Raises:
        UserError: the file cannot be written.
    """
    body, walker = fit.body, fit.body.walker
    root = (walker.model.joint(0).name or "root",) * ROOT_COLUMNS if walker.root else ()
    frames = len(fit.qpos)
    arrays = {
        "qpos": fit.qpos,
        "kp_data": fit.points.reshape(frames, -1),
        "marker_sites": fit.markers,
        "offsets": fit.calibration.offsets,
    }
    names = {"kp_names": body.names, "names_qpos": (*root, *walker.joint_names)}
    with atomic_hdf5(path) as file:
        file.create_dataset("config", data=fixed_length([_config(fit)]).reshape(()))
        file.create_dataset("rate_hz", data=fit.rate_hz)
        for name, strings in names.items():
            file.create_dataset(name, data=fixed_length(strings))
        for name, values in arrays.items():
            file.create_dataset(name, data=np.asarray(values, np.float32), compression="gzip")


def _config(fit: Fit) -> str:
    """Returns the keys of stac-mjx's configuration that its readers use, as YAML."""
    body, walker = fit.body, fit.body.walker
    bodies = [walker.body_names[row] for row in body.bodies]
    config: Mapping[str, Mapping[str, object]] = {
        "model": {
            "SCALE_FACTOR": walker.config.rescale_factor,
            "KP_NAMES": list(body.names),
            "KEYPOINT_MODEL_PAIRS": dict(zip(body.names, bodies, strict=True)),
        },
        "stac": {"n_frames_per_clip": len(fit.qpos)},
    }
    return yaml.safe_dump(config, sort_keys=False)
