"""Files that are damaged, or made to hurt: refused soon, at little cost, and with a reason."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.media.attributes import Choice, Range, Size
from schemas.media.errors import MediaError
from schemas.media.image import convert, probe
from schemas.media.limits import MediaLimits
from schemas.media.rules import IMAGE_FORMAT_WORDS, ImageRules
from tests.data.hostile import HOSTILE, gif, picture, truncations
from tests.services import ROOT

SECONDS = 1.0  # of CPU
MEGABYTES = 200  # beside the file itself
FORMATS = tuple(dict.fromkeys(IMAGE_FORMAT_WORDS.values()))
ENDPOINT = """
[ENDPOINT]
name = "it"
[WORKER]
queue = "q"
[INPUTS]
picture = { type = "image" }
[INPUTS.shrunk]
type = "image"
size = { maximum = [64, 64], auto_convert = true }
format = { supported = ["png"], auto_convert = true }
"""
CHILD = """
import json, pathlib, re, sys, time
from schemas import InputError, load_endpoints
from schemas.media import image
def memory(name):
    return int(re.search(name + r":\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
endpoint = load_endpoints([pathlib.Path(sys.argv[1])])["it"]
for line in sys.stdin:
    file, field = line.split()
    value = pathlib.Path(file).read_text()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = memory("VmRSS")
    began = time.process_time()
    try:
        endpoint.load_inputs({field: value})
        errors = {}
    except InputError as error:
        errors = error.errors
    seconds = time.process_time() - began
    print(json.dumps([seconds, memory("VmHWM") - before, errors]), flush=True)
"""
REAL = {
    **{format: picture(format) for format in FORMATS},
    "progressive": picture("JPEG", progressive=True),
    "palette": picture("PNG", mode="P"),
    "lossless": picture("WEBP", lossless=True),
    "packed": picture("TIFF", compression="tiff_lzw"),
    "animated": gif(20, 20, 6),
}
RULES = ImageRules(
    format=Choice(("png", "jpeg"), auto_convert=True),
    size=Size(maximum=(32, 32), auto_convert=True),
    frames=Range(maximum=3, auto_convert=True),
    limits=MediaLimits(max_pixels=1_000_000),
)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A process that loads one input after the other, and tells what that took."""
    folder: Path = tmp_path_factory.mktemp("endpoints")
    (folder / "it.toml").write_text(ENDPOINT)
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("field", ["picture", "shrunk"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_soon_and_cheaply(
    child: Any, tmp_path: Path, name: str, field: str
) -> None:
    make, word = HOSTILE[name]
    (tmp_path / "url").write_text("data:image/png;base64," + base64.b64encode(make()).decode())
    child.stdin.write(f"{tmp_path}/url {field}\n")
    child.stdin.flush()
    seconds, megabytes, errors = json.loads(child.stdout.readline())
    assert list(errors) == [field], "taken"
    assert all(text.startswith(f"Parameter {field}: ") for text in errors[field])
    assert any(word in text for text in errors[field]), errors
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


@pytest.mark.parametrize("name", [name for name in REAL if name != "animated"])
def test_a_file_that_breaks_off_is_never_taken(name: str) -> None:
    for data in truncations(REAL[name]):
        with pytest.raises(MediaError):
            convert(data, ImageRules())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(REAL[draw(st.sampled_from(sorted(REAL)))])
    for _ in range(draw(st.integers(1, 8))):
        # Most of what can go wrong stands in the first bytes.
        position = draw(st.integers(0, min(len(data), 60) - 1) | st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["set", "cut", "add", "end"]))
        if how == "set":
            data[position] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255))
        elif how == "cut":
            del data[position : position + draw(st.integers(1, 9))]
        elif how == "add":
            data[position:position] = draw(st.binary(min_size=1, max_size=9))
        elif position > 12:
            del data[position:]
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=500)
@given(damaged())
def test_a_damaged_file_becomes_a_right_one_or_is_refused(data: bytes) -> None:
    for rules in (RULES, ImageRules(limits=RULES.limits)):
        try:
            made = convert(data, rules)
        except MediaError as error:
            assert error.problems
            continue
        found = probe(made)
        if rules is RULES:
            assert found.format in ("png", "jpeg") and max(found.size) <= 32 and found.frames <= 3
        else:
            assert made is data or found.orientation == 1


@settings(deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
)
def test_no_bytes_raise_anything_else(data: bytes, signature: bytes) -> None:
    with pytest.raises(MediaError):
        convert(signature + data, ImageRules())
