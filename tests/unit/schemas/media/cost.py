"""A process of its own that converts files, and tells what came of it and what it cost.

python -m tests.unit.schemas.media.cost audio FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from schemas.media import audio, video
from schemas.media.attributes import Choice
from schemas.media.errors import MediaError
from schemas.media.rules import AudioRules, VideoRules

CONVERT: dict[str, Callable[[bytes], bytes]] = {
    "audio": lambda data: audio.convert(data, AudioRules(format=Choice(("mp3",), auto_convert=True))),
    "video": lambda data: video.convert(data, VideoRules(format=Choice(("webm",), auto_convert=True))),
}


def peak() -> float:
    """Memory that this program needed at most until now, in MB; `getrusage` would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(kind: str, folder: Path) -> None:
    """Print a line of JSON for each file."""
    for path in sorted(folder.iterdir()):
        data, problems = path.read_bytes(), None
        start = time.monotonic()
        try:
            CONVERT[kind](data)
        except MediaError as error:
            problems = error.problems
        seconds = time.monotonic() - start
        told = {"name": path.name, "problems": problems, "seconds": seconds, "peak": peak()}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
