"""The process of a `VideoQueue`.

Usage: python -m vnl_mjx.report.rendering.video_worker FOLDER

Each line of the standard input names a file in FOLDER that describes a video; the last is `NO_MORE`.
Where the input ends without it, the process that asked is gone, and this one stops.
"""

import contextlib
import json
import os
import pickle
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from vnl_mjx.errors import UserError, first_line
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import render_side_by_side
from vnl_mjx.report.rendering.video_queue import NO_MORE, RESULTS_FILE
from vnl_mjx.walkers.walker import Walker, build_walker

_LOWEST_PRIORITY = 19


def main(folder: Path) -> None:
    """Draws what is asked for until nothing more comes."""
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_LOWEST_PRIORITY)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    with (folder / RESULTS_FILE).open("w", buffering=1) as results:

        def tell(**result: Any) -> None:
            results.write(json.dumps(result) + "\n")

        try:
            choose_backend()
            walker = build_walker(pickle.loads((folder / "walker.pickle").read_bytes()))
        except UserError as error:
            tell(error=str(error), name=None)
            return
        while (line := jobs.get()) != NO_MORE:
            job = folder / line
            tell(**_draw(walker, *pickle.loads(job.read_bytes())))
            job.unlink()


def _draw(walker: Walker, name: str, motions: Any, path: Path, sheet: Path | None) -> dict:
    try:
        video = render_side_by_side(walker, motions, path, sheet=sheet)
    except UserError as error:
        return {"name": name, "error": str(error)}
    except Exception as error:  # one video must not cost the others
        return {"name": name, "error": f"{path.name}: {type(error).__name__}: {first_line(error)}"}
    return {"name": name, "seconds": video.seconds}


def _read(jobs: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        jobs.put(line.strip())
        if line.strip() == NO_MORE:
            return
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
