"""Videos that are drawn by another process, at the lowest priority, while this one goes on."""

import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.report.rendering.side_by_side import SideBySide

NO_MORE = "no more"
RESULTS_FILE = "results.jsonl"
_POLL_S = 0.1
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class VideoFile:
    """A video that was written.

    Attributes:
        name: that it was given.
        path: of the mp4.
        seconds: that it plays for.
    """

    name: str
    path: Path
    seconds: float


@dataclass(frozen=True)
class DrawnVideos:
    """What became of a queue.

    Attributes:
        videos: in the order in which they were asked for.
        errors: one sentence each: why there is no video, or not that one.
    """

    videos: list[VideoFile]
    errors: list[str]


class VideoQueue:
    """Draws one video after another; nothing that fails there fails here.

    As a context manager it stops what is not drawn yet when the block is left: no process and no part
    of a file stays behind, also after Ctrl-C. The process ends with this one, however that ends.
    """

    def __init__(self, walker: WalkerConfig):
        """Starts the process, which first looks for a way to draw.

        Args:
            walker: who moves in all videos.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="vnl-mjx-videos-")
        folder = Path(self._folder.name)
        self._paths: dict[str, Path] = {}
        (folder / "walker.pickle").write_bytes(pickle.dumps(walker))
        self._messages = (folder / "messages").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vnl_mjx.report.rendering.video_worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then stops that one
        )

    def __enter__(self) -> "VideoQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add(self, name: str, motions: SideBySide, path: Path, sheet: Path | None = None) -> None:
        """Asks for one more video.

        Args:
            name: of the video, unlike the others'.
            motions: what is shown.
            path: of the mp4.
            sheet: PNG of some pictures to write as well.
        """
        if name in self._paths:
            raise ValueError(f"{name=} is asked for already")
        job = Path(self._folder.name) / f"{len(self._paths)}.pickle"
        self._paths[name] = path
        job.write_bytes(pickle.dumps((name, motions, path.absolute(), sheet and sheet.absolute())))
        self._tell(job.name)

    def close(self) -> None:
        """Says that nothing more comes; the process ends once all is drawn."""
        self._tell(NO_MORE)

    @property
    def is_done(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def finish(
        self,
        progress: Callable[[int, int], None] | None = None,
        timeout_s: float | None = None,
    ) -> DrawnVideos:
        """Waits for all videos.

        Args:
            progress: called with the number of videos done and of all.
            timeout_s: give up the rest after so many seconds.
        """
        self.close()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        in_time = True
        while not self.is_done and in_time:
            time.sleep(_POLL_S)
            in_time = deadline is None or time.monotonic() < deadline
            if progress is not None:
                progress(len(self._results()), len(self._paths))
        drawn = self._judge("" if in_time else f"not drawn within {timeout_s:g} s")
        self.stop()
        return drawn

    def stop(self) -> None:
        """Ends the process, drawn or not, and removes what it left."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
            self._process.kill()
            self._process.wait()
            for path in self._paths.values():  # where it had to be killed
                for partial in path.parent.glob(f".{path.name}.{self._process.pid}.partial"):
                    partial.unlink(missing_ok=True)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._messages.close()
        self._folder.cleanup()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended; `finish` says why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _results(self) -> list[dict[str, Any]]:
        path = Path(self._folder.name) / RESULTS_FILE
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def _judge(self, reason: str) -> DrawnVideos:
        results = self._results()
        videos = [
            VideoFile(r["name"], self._paths[r["name"]], r["seconds"])
            for r in results
            if "seconds" in r
        ]
        errors = [r["error"] for r in results if "error" in r]
        told = {r.get("name") for r in results}
        missing = [name for name in self._paths if name not in told]
        if missing and None not in told:  # else nothing can be drawn, and that was said
            reason = reason or self._why_it_ended()
            errors.append(f"videos: {', '.join(missing)} left out: {reason}")
        return DrawnVideos(videos, errors)

    def _why_it_ended(self) -> str:
        lines = (Path(self._folder.name) / "messages").read_text().strip().splitlines()
        status = self._process.returncode
        what = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"the process that draws ended with {what}" + (f" ({lines[-1]})" if lines else "")
