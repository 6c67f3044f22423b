"""What nobody should send, over HTTP: refused soon, at little cost to the API, with field and limit."""

from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from schemas.media.source import data_url
from tests.data.hostile import HOSTILE, full_gif, picture
from tests.unit.schemas.media.av_files import float_wav, riff, sound_file, tone, video_file
from tests.unit.schemas.media.av_files import picture as frame
from tests.unit.schemas.media.bad_files import STREAMINFO, promising

KEY = "a-key-for-the-tests"
SECONDS = 1.0  # of the API's CPU time
MEGABYTES = 200  # that the API needs more than before
MANY = 10_000_000
ENDPOINT = """
[ENDPOINT]
name = "it"
[WORKER]
queue = "q"
[INPUTS]
image = { type = "image", max_bytes = 20000000, size = { maximum = [512, 512], auto_convert = true } }
images = { type = "image_list", max_items = 4 }
audio = { type = "audio", sample_rate = { supported = [16000], auto_convert = true } }
video = { type = "video", size = { maximum = [64, 64], auto_convert = true } }
chat = { type = "chat_context", support = ["text", "image"] }
data = { type = "json" }
text = { type = "string" }
whole = { type = "integer", auto_convert = true }
real = { type = "float", auto_convert = true }
"""
NOISE = random.Random(1).randbytes(10_000)
MP4 = video_file([frame(number) for number in range(3)], movflags="faststart")


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def escaped(text: str, comma: bytes = b",") -> bytes:
    return b'{"data":"' + text.encode().replace(b",", comma) + b'"}'


BODIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a list 1000 deep": (lambda: b'{"data":' + deep(1000) + b"}", "at most 64 levels"),
    "a list 100,000 deep": (lambda: b'{"data":' + deep(100_000) + b"}", "at most 64 levels"),
    "objects 100,000 deep": (lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "at most 64 levels"),
    "a text 100,000 deep": (lambda: escaped("[" * 100_000 + "]" * 100_000), "data.*at most 100 levels"),
    "1e400 as integer": (lambda: b'{"whole": 1e400}', "whole.*finite"),
    "1e400 as float": (lambda: b'{"real": -1e400}', "real.*finite"),
    "1e400 as text": (lambda: b'{"real": "1e400"}', "real.*finite"),
    "1e400 inside JSON": (lambda: b'{"data": [{"x": 1e400}]}', "data.*inf"),
    "NaN": (lambda: b'{"real": NaN}', "NaN"),
    "NaN inside JSON text": (lambda: escaped("[NaN]"), "data.*NaN"),
    "-Infinity": (lambda: b'{"data": [-Infinity]}', "-Infinity"),
    "a name twice": (lambda: b'{"whole": 1, "whole": 2}', "'whole' more than once"),
    "a name twice, inside": (lambda: b'{"data": [{"x": 1, "x": 1}]}', "'x' more than once"),
    "half of a surrogate pair": (lambda: b'{"text": "\\ud800"}', "surrogate"),
    "half of one as a name": (lambda: b'{"\\udfff": 1}', "surrogate"),
    "half of one inside JSON text": (lambda: escaped(r"[\"\\ud800\"]"), "data.*surrogate"),
    "10 million digits": (lambda: b'{"whole": ' + b"9" * MANY + b"}", "at most 400"),
    "10 million digits as text": (lambda: b'{"whole": "' + b"9" * MANY + b'"}', "whole.*integer"),
    "10,000 integers of 4300 digits": (
        lambda: b'{"data": [' + b",".join([b"9" * 4300] * 10_000) + b"]}",
        "at most 400",
    ),
    "an integer of 100 digits": (lambda: b'{"whole": ' + b"9" * 100 + b', "real": []}', "real"),
    "10 million numbers": (lambda: b'{"data": [' + b"0.5," * MANY + b"0]}", "at most 1000000"),
    "10 million objects": (lambda: b'{"chat": [' + b"{}," * MANY + b"{}]}", "at most 1000000"),
    "10 million files": (lambda: b'{"images": [' + b'"",' * MANY + b'""]}', "at most 1000000"),
    "10 million numbers in a text": (lambda: escaped("[" + "1," * MANY + "1]"), "at most 1000000"),
    "10 million hidden commas": (lambda: escaped("[" + "1," * MANY + "1]", rb"\u002c"), "data.*1000000"),
    "5 million names": (
        lambda: b"{" + b",".join(b'"%x":0' % number for number in range(MANY // 2)) + b"}",
        "at most 1000000",
    ),
    "300,000 names": (
        lambda: b"{" + b",".join(b'"%x":0' % number for number in range(300_000)) + b"}",
        "and 299980 more",
    ),
    "a conversation of 400,000 nothings": (
        lambda: b'{"chat": [' + b"{}," * 400_000 + b"{}]}",
        "chat.*role None",
    ),
    "a million files": (lambda: b'{"images": [' + b'"",' * 900_000 + b'""]}', "images.*at most 4 allowed"),
    "junk in base64": (lambda: b'{"image": "data:image/png;base64,iVBO!!!!"}', "image.*base64"),
    "line breaks in base64": (lambda: b'{"image": "iVBO\\nRw0K"}', "image.*base64"),
    "no data URL": (lambda: b'{"image": "data:image/svg+xml;utf8,<svg/>"}', "image.*data URL"),
    "a data URL whose head does not end": (
        lambda: b'{"image": "data:image/png' + b";a=b" * MANY + b';base64,AAAA"}',
        "image.*data URL",
    ),
    "a path": (lambda: b'{"image": "/etc/passwd"}', "image"),
    "more than a file may have": (
        lambda: b'{"image": "' + b"A" * 28_000_000 + b'"}',
        "image.*at most 20000000 allowed",
    ),
    "not UTF-8": (lambda: b'{"text": "\xff"}', "UTF-8"),
    "a string without end": (lambda: b'{"text": "' + b"\\" * MANY, "not JSON"),
}
"""JSON that is refused, and what is said of it."""


def flac_of(rate: int) -> bytes:
    data = bytearray(sound_file(tone(1000), 44_100, "flac", "flac"))
    at = STREAMINFO + 10
    data[at : at + 3] = (rate << 4 | data[at + 2] & 0xF).to_bytes(3)
    return bytes(data)


FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "nothing": ("image", lambda: b"", "empty"),
    "noise": ("image", lambda: NOISE, "no image of a known format"),
    "a WAV for an image": ("image", lambda: float_wav(tone(1000)), "no image of a known format"),
    "an image for a sound": ("audio", picture, "no sound and no video of a known format"),
    "a video for a sound": ("audio", lambda: MP4, "is a video"),
    "a sound for a video": (
        "video",
        lambda: float_wav(tone(1000)),
        "only videos are taken",
    ),
    "an ICO": ("image", lambda: b"\0\0\1\0\1\0\x10\x10" + NOISE, "no image of a known format: send jpeg"),
    "an SVG": ("image", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "known format"),
    "a PDF": ("image", lambda: b"%PDF-1.7\n" + NOISE, "known format"),
    "EPS, which Pillow would give to Ghostscript": (
        "image",
        lambda: b"%!PS-Adobe-3.0 EPSF\n",
        "known format",
    ),
    "a TIFF, which this server does not take": ("image", lambda: picture("TIFF"), "tiff is not allowed"),
    "a JPEG that breaks off": ("image", lambda: picture("JPEG", (640, 480))[:-900], "damaged"),
    "a WEBP that breaks off": ("image", lambda: picture("WEBP", (640, 480))[:-900], "damaged"),
    "an animation": ("image", lambda: full_gif(9, 9, 3), "frames of 3 .* at most 1 allowed"),
    **{
        name: ("image", HOSTILE[name][0], HOSTILE[name][1])
        for name in (
            "a PNG of a gray screen, 100 megapixels in 97 kB",
            "a GIF that is a zip bomb",
            "a GIF of a million frames",
            "a PNG of 30,000 rows",
            "a JPEG of millions of segments",
            "a TIFF that claims 30,000 x 30,000",
        )
    },
    "a WAV that claims hours": (
        "audio",
        lambda: riff(1, 1, 8000, 8, bytes(1000), promised=0x7FFFFFF0),
        "268435.5 s is too long: at most 3600 s",
    ),
    "a WAV of 0 Hz": ("audio", lambda: riff(1, 1, 0, 16, bytes(99)), "0 Hz is not between 1 and 384000"),
    "a WAV of 0 channels": ("audio", lambda: riff(1, 0, 8000, 16, bytes(99)), "0 is not between 1 and 8"),
    "a WAV of NaN": ("audio", lambda: float_wav(np.array([[0, np.nan]])), "NaN"),
    "a WAV of infinity": ("audio", lambda: float_wav(np.array([[0, -np.inf]])), "infinite"),
    "a FLAC of 655,350 Hz": (
        "audio",
        lambda: flac_of(655_350),
        "longer than its header says|655350 Hz is not between",
    ),
    "an MP4 that promises 100 million frames": ("video", lambda: promising(MP4, 100_000_000), "1000000"),
    "an MP4 that breaks off": ("video", lambda: MP4[: len(MP4) // 2], "cut off"),
}
"""Files that are refused: of which input, and what is said of them."""


def told(found: dict[object, tuple[str, str]]) -> str:
    return "".join(f"\n{name}: {wrong or 'another reason'}: {said}" for name, (wrong, said) in found.items())


@pytest.fixture
def api(stoker_home, start_api, tmp_path):
    (stoker_home / "demo-key").write_text(KEY)
    (tmp_path / "endpoints").mkdir()
    (tmp_path / "endpoints" / "it.toml").write_text(ENDPOINT)
    formats = "jpeg:png:webp:gif"
    return start_api({"STOKER_ENDPOINTS": str(tmp_path / "endpoints"), "STOKER_IMAGE_FORMATS": formats})


class Cost:
    """What requests cost the process of an API."""

    def __init__(self, api):
        (self.pid,) = api.children()
        self.http = httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> float:
        found = re.search(rf"{name}:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024

    def refusal(self, **request) -> tuple[str, str]:
        """Send a request; gives what was said, and what is wrong with that, its status or its cost."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak counts from here on
        memory, cpu = self._memory("VmRSS"), self._cpu()
        answer = self.http.post("/it", **request)
        cpu, memory = self._cpu() - cpu, self._memory("VmHWM") - memory
        wrong = [f"status {answer.status_code}"] if answer.status_code not in (400, 413) else []
        wrong += [f"{cpu:.2f} s"] if cpu > SECONDS else []
        wrong += [f"{memory:.0f} MB"] if memory > MEGABYTES else []
        return answer.text, ", ".join(wrong)


@pytest.fixture
def cost(api):
    cost = Cost(api)
    yield cost
    assert api.children() == [cost.pid], "the process of the API has died"
    cost.http.close()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_bad_requests_are_refused_soon_and_cheaply(cost):
    found = {}
    for name, (make, word) in BODIES.items():
        said, wrong = cost.refusal(content=make(), headers={"Content-Type": "application/json"})
        if wrong or not re.search(word, said):
            found[name] = wrong, said[:300]
    for name, (field, make, word) in FILES.items():
        file = make()
        # What a file is called makes no difference, and no name of a file becomes a path.
        ways = [
            {"json": {field: data_url(file, "image/JPEG"), "wait_for_result": False}},
            {"files": {field: ("../../../etc/cron.d/x", file, "text/html")}},
        ]
        for way in ways:
            said, wrong = cost.refusal(**way)
            if wrong or not re.search(f"{field}: .*({word})", said):
                found[name, *way] = wrong, said[:300]
    assert not found, told(found)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_bad_forms_are_refused_soon_and_cheaply(cost):
    def part(name: str) -> str:
        return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n1\r\n'

    form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
    bodies = {
        "a path as a name": (multipart, part("../../etc/passwd") + "--x--\r\n", "Invalid input parameter"),
        "100,000 parts": (
            multipart,
            "".join(map(part, map(str, range(100_000)))) + "--x--\r\n",
            "1000|large",
        ),
        "a header without end": (multipart, "--x\r\n" + "A: b\r\n" * 2_000_000, "form|large"),
        "no end": (multipart, part("text"), "form"),
        "no boundary": ("multipart/form-data", part("text"), "form|boundary"),
        "a million fields": (form, "&".join(f"a{n}=1" for n in range(1_000_000)), "More than 1000"),
        "10 million escapes": (form, "text=" + "%41" * MANY, "at most 500000"),
        "a name twice": (form, "text=1&text=2", "more than once: text"),
    }
    found = {}
    for name, (kind, body, word) in bodies.items():
        said, wrong = cost.refusal(content=body.encode(), headers={"Content-Type": kind})
        if wrong or not re.search(word, said):
            found[name] = wrong, said[:300]
    assert not found, told(found)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_body_that_is_too_large_is_refused_before_it_comes(cost):
    with socket.create_connection(("127.0.0.1", cost.http.base_url.port), timeout=30) as connection:
        connection.sendall(
            f"POST /it HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100000001\r\n\r\n".encode()
        )
        assert connection.recv(12) == b"HTTP/1.1 413"
