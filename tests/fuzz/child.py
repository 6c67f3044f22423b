"""Converts one damaged file after another: python -m tests.fuzz.child KIND SEED SECONDS FILE

Each is in FILE before it is opened, so that it is there when this process dies of it. What it prints last is
how many there were. It ends with status 3 when a file did what no file may do.
"""

from __future__ import annotations

import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from schemas.media import audio, image, video
from schemas.media.attributes import Choice, Range, Size
from schemas.media.errors import MediaError
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules, ImageRules, VideoRules
from tests.fuzz.files import damaged, whole

LONGEST = 5.0  # s of CPU for one file
MEMORY = 400_000_000  # bytes that one file may take
STATUS = 3
LIMITS = MediaLimits(max_pixels=4_000_000)
CONVERT: dict[str, Callable[[bytes, Any], bytes]] = {
    "image": image.convert,
    "audio": audio.convert,
    "video": video.convert,
}
RULES: dict[str, tuple[ImageRules | AudioRules | VideoRules, ...]] = {
    "image": (
        ImageRules(limits=LIMITS),
        ImageRules(
            format=Choice(("png",), auto_convert=True),
            size=Size(maximum=(32, 32), auto_convert=True),
            frames=Range(maximum=3, auto_convert=True),
            limits=LIMITS,
        ),
        ImageRules(
            format=Choice(("gif", "webp"), auto_convert=True),
            frames=Range(maximum=9, auto_convert=True),
            limits=LIMITS,
        ),
    ),
    "audio": (
        AudioRules(),
        AudioRules(
            format=Choice(("wav",), auto_convert=True),
            sample_rate=Range(supported=(16_000,), auto_convert=True),
            channels=Range(supported=(1,), auto_convert=True),
        ),
        AudioRules(format=Choice(("ogg", "flac"), auto_convert=True)),
    ),
    "video": (
        VideoRules(limits=LIMITS),
        VideoRules(
            format=Choice(("webm",), auto_convert=True),
            video_codec=Choice(("vp8",), auto_convert=True),
            size=Size(maximum=(32, 32), auto_convert=True),
            limits=LIMITS,
        ),
    ),
}

LENIENT = {"image": ImageRules(frames=Range(maximum=9)), "audio": AudioRules(), "video": VideoRules()}
"""Rules that whatever was made must keep."""


def memory() -> int:
    """Give the bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def attempt(kind: str, data: bytes, number: int) -> None:
    """Convert a file by one of the rules; what is made must be right.

    Raises:
        Exception: anything but a MediaError with a reason.
    """
    rules = RULES[kind][number % len(RULES[kind])]
    convert = CONVERT[kind]
    try:
        made = convert(data, rules)
    except MediaError as error:
        assert error.problems, "refused without a reason"
        return
    if made is not data:
        assert convert(made, LENIENT[kind])


def main(kind: str, seed: int, seconds: float, place: Path) -> None:
    """Try damaged files until the time is over."""
    signal.signal(signal.SIGXCPU, lambda *_: sys.exit(STATUS))
    files = whole(kind)
    names = list(files)
    for name in names:
        for number in range(len(RULES[kind])):
            attempt(kind, files[name], number)  # whole ones, so that all memory that is kept is there
    # Address space is what a bomb asks for, whether it is used or not; threads reserve some, too.
    resource.setrlimit(resource.RLIMIT_AS, (memory() + MEMORY,) * 2)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        random = Random(f"{kind} {seed} {number}")
        data = damaged(files[random.choice(names)], files, random)
        place.write_bytes(data)
        began = time.process_time()
        try:
            attempt(kind, data, number)
        except Exception:
            traceback.print_exc()
            sys.exit(STATUS)
        if (spent := time.process_time() - began) > LONGEST:
            sys.exit(f"took {spent:.1f} s")
        number += 1
    sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
