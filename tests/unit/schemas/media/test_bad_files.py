"""Files that lie or are damaged are refused with a reason, soon, and without much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.media import audio, video
from schemas.media.attributes import Choice, Range, Size
from schemas.media.avio import in_memory, input_options
from schemas.media.containers import inspect
from schemas.media.errors import MediaError
from schemas.media.rules import AudioRules, VideoRules
from tests.services import ROOT
from tests.unit.schemas.media import bad_files
from tests.unit.schemas.media.av_files import float_wav, picture, sound_file, tone, video_file, wav

LONGEST = 1.0  # s
LARGEST = 200  # MB, of a whole process that reads one bad file after another
SOUND = tone(1000, 2000, rate=48_000, seconds=0.5)
FRAMES = [picture(number, (64, 48)) for number in range(5)]
SOUNDS = {
    "wav": wav(SOUND, 48_000),
    "float wav": float_wav(SOUND, 48_000),
    "mp3": sound_file(SOUND, 48_000, "mp3", "libmp3lame"),
    "ogg": sound_file(SOUND, 48_000, "ogg", "libopus"),
    "flac": sound_file(SOUND, 48_000, "flac", "flac"),
    "m4a": sound_file(SOUND, 48_000, "ipod", "aac", movflags="faststart"),
    "webm": sound_file(SOUND, 48_000, "webm", "libopus"),
}
VIDEOS = {
    "mp4": video_file(FRAMES, sound=SOUND, movflags="faststart"),
    "fragments": video_file(FRAMES, sound=SOUND, movflags="frag_keyframe+empty_moov"),
    "vp8": video_file(FRAMES, "webm", "libvpx", sound=SOUND),
    "vp9": video_file(FRAMES, "webm", "libvpx-vp9", sound=SOUND),
}
ANY = VideoRules(
    format=Choice(("webm",), auto_convert=True),
    video_codec=Choice(("vp8",), auto_convert=True),
    size=Size(maximum=(32, 32), auto_convert=True),
)
PLAIN = AudioRules(
    format=Choice(("wav",), auto_convert=True),
    sample_rate=Range(supported=(16_000,), auto_convert=True),
    channels=Range(supported=(1,), auto_convert=True),
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("put", "put four", "cut", "double", "end")),
        st.floats(0, 1),  # where
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=20,
)


def changed(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    out = bytearray(data)
    for kind, where, number in changes:
        # The beginning of a file is where it can lie.
        at = int(where**3 * len(out))
        if kind == "put":
            out[at : at + 1] = bytes([number % 256])
        elif kind == "put four":
            out[at : at + 4] = number.to_bytes(4)
        elif kind == "cut":
            del out[at : at + number % 50]
        elif kind == "double":
            out[at:at] = out[at : at + number % 200]
        elif number % 4 == 0:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize(("kind", "make"), [("audio", bad_files.bad_sounds), ("video", bad_files.bad_videos)])
def test_bad_files_are_refused_soon_and_without_much_memory(
    kind: str, make: Callable[[], Iterator[tuple[str, bytes]]], tmp_path: Path
) -> None:
    for name, data in make():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-m", "tests.unit.schemas.media.cost", kind, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(list(tmp_path.iterdir()))
    refusals = {case["name"]: " ".join(case["problems"] or ()) for case in told}
    assert [name for name, text in refusals.items() if not text] == []
    assert {n: text for n, text in refusals.items() if bad_files.REASONS.get(n, "") not in text} == {}
    assert [case for case in told if case["seconds"] > LONGEST] == []
    assert told[-1]["peak"] < LARGEST


@pytest.mark.parametrize("name", SOUNDS)
@settings(max_examples=40, deadline=2000, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, as_it_is=st.booleans())
def test_damaged_sound_is_read_or_refused(
    name: str, changes: list[tuple[str, float, int]], as_it_is: bool
) -> None:
    try:
        made = audio.convert(changed(SOUNDS[name], changes), AudioRules() if as_it_is else PLAIN)
    except MediaError as error:
        assert error.problems
    else:
        audio.probe(made)


@pytest.mark.parametrize("name", VIDEOS)
@settings(max_examples=40, deadline=2000, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, as_it_is=st.booleans())
@example(changes=[("cut", 0.5, 1)], as_it_is=False)
def test_damaged_video_is_read_or_refused(
    name: str, changes: list[tuple[str, float, int]], as_it_is: bool
) -> None:
    try:
        made = video.convert(changed(VIDEOS[name], changes), VideoRules() if as_it_is else ANY)
    except MediaError as error:
        assert error.problems
    else:
        video.probe(made)


def test_nothing_else_can_be_opened() -> None:
    file = inspect(SOUNDS["wav"])
    with in_memory(file) as descriptor, input_options(file, descriptor) as options:
        for other in (
            __file__,
            f"file:{__file__}",
            "http://127.0.0.1:9/",
            "data:,x",
            f"subfile:,,:{__file__}",
        ):
            with pytest.raises(av.FFmpegError) as caught:
                av.open(other, format="wav", options=options)
            assert not isinstance(caught.value, av.error.InvalidDataError)  # that is, it was read


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    audio.convert(SOUNDS["mp3"], PLAIN)
    before = count()
    for data in (*SOUNDS.values(), *VIDEOS.values(), b"", b"RIFFxxxxWAVE"):
        for convert in (lambda data: audio.convert(data, PLAIN), lambda data: video.convert(data, ANY)):
            try:
                convert(data)
            except MediaError:
                pass
    assert count() == before
