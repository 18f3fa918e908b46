"""Writes videos and pictures to disk, complete or not at all."""

import contextlib
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing

MAX_FPS = 60
MIN_FPS = 20  # below this rate, motion looks like single pictures
# What ffmpeg is told, by a file's ending. The mp4 is what every player takes: H.264 in 4:2:0, index first.
ENCODINGS = {
    ".mp4": "-c:v libx264 -pix_fmt yuv420p -crf 20 -preset veryfast -movflags +faststart -f mp4",
    ".webm": "-c:v libvpx-vp9 -pix_fmt yuv420p -crf 32 -b:v 0 -row-mt 1 -f webm",
    ".gif": "-filter_complex split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer -f gif",
    ".webp": "-c:v libwebp_anim -quality 60 -loop 0 -f webp",
}


@contextlib.contextmanager
def video_writer(
    path: str | os.PathLike[str], size: tuple[int, int], fps: float
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends one picture, uint8 [height, width, 3], to a new video.

    The ending of `path` selects the format (`ENCODINGS`; any other: mp4). The video replaces `path` when
    the block ends without an error; otherwise no file is left. `size`, width and height in pixels, must be
    even.

    Raises:
        UserError: there is no ffmpeg, or it cannot write the file.
    """
    with replacing(path) as partial, tempfile.TemporaryFile() as messages:
        # raw pictures in from the pipe
        rate = str(Fraction(fps).limit_denominator(100_000))
        read = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r {rate} -i -"
        encode = ENCODINGS.get(Path(path).suffix.lower(), ENCODINGS[".mp4"])
        arguments = f"-y -v error {read} -an {encode}".split()
        command = [ffmpeg_exe(), *arguments, str(partial)]
        # a separate session, so that Ctrl-C reaches only this process, which then stops ffmpeg
        ffmpeg = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=messages, start_new_session=True
        )
        assert ffmpeg.stdin is not None
        pipe = ffmpeg.stdin

        def failed() -> UserError:
            ffmpeg.wait()
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1].replace(str(partial), "it") if lines else "ffmpeg stopped"
            return UserError(f"{path}: cannot be written ({reason})")

        def write(picture: np.ndarray) -> None:
            try:
                pipe.write(np.ascontiguousarray(picture, np.uint8).data)
            except OSError as error:
                raise failed() from error

        try:
            yield write
            with contextlib.suppress(BrokenPipeError):  # its exit status reports other failures
                pipe.close()
            if ffmpeg.wait() != 0:
                raise failed()
        finally:
            ffmpeg.kill()
            ffmpeg.wait()
            with contextlib.suppress(OSError):
                pipe.close()


def default_fps(rate_hz: float, speed: float) -> float:
    """Returns the frame rate of a video; it steps through whole frames of the motion if possible."""
    shown = rate_hz * speed
    shown /= max(1, math.ceil(shown / MAX_FPS))
    return shown * max(1, math.ceil(MIN_FPS / shown))


def ffmpeg_exe() -> str:
    """Returns the path of imageio-ffmpeg's ffmpeg, or of the machine's.

    Raises:
        UserError: there is no ffmpeg.
    """
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError(
            "video: there is no ffmpeg for this machine; install ffmpeg, or set IMAGEIO_FFMPEG_EXE to one"
        ) from error
