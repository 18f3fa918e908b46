"""What lies at a path that a user gave: a student, a teacher, or a file."""

from pathlib import Path

from vnl_mjx.compat.teacher_checkpoints import TEACHER_FOLDER
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX
from vnl_mjx.errors import UserError
from vnl_mjx.utils.vae_checkpointing import CHECKPOINT_FOLDER

EXPECTED = (
    "a run folder or student checkpoint of vnl-mjx, a track-mjx checkpoint (a folder holding "
    f"{STEP_PREFIX}_<step>), or a file of reference clips or of recorded poses"
)


def recognise(path: Path) -> tuple[str, Path]:
    """The kind, "student", "teacher" or "file", and where it is, which for a run may be below `path`.

    Raises:
        UserError: nothing is there, or nothing known.
    """
    if not path.exists():
        raise UserError(f"{path}: does not exist; expected {EXPECTED}")
    if path.is_file():
        return "file", path
    for folder in (path, path / TEACHER_FOLDER):
        if _is_teacher(folder):
            return "teacher", folder
    if _is_student(path):
        return "student", path
    if (path / "config.json").is_file() and (path / CHECKPOINT_FOLDER).is_dir():
        raise UserError(f"{path}: a run folder without a complete checkpoint yet")
    names = sorted(child.name for child in path.iterdir())
    found = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
    raise UserError(f"{path}: expected {EXPECTED}; found a folder with {found or 'nothing in it'}")


def _is_teacher(path: Path) -> bool:
    own = path.resolve().name.startswith(f"{STEP_PREFIX}_")
    return own or any(path.glob(f"{STEP_PREFIX}_*"))


def _is_student(path: Path) -> bool:
    if (path / "student").is_dir() and (path / "metadata").is_dir():
        return True
    folders = [path / CHECKPOINT_FOLDER, *([path] if path.name == CHECKPOINT_FOLDER else [])]
    return any(p.name.isdigit() for f in folders if f.is_dir() for p in f.iterdir())
