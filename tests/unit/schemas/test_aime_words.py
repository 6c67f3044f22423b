"""AIME's types, attributes and defaults: what its endpoint files say, and what that means here."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schemas import Endpoint, InputError, load_endpoints
from schemas.media import audio, video
from schemas.media.source import data_url, read_source
from tests.data.hostile import picture
from tests.services import ROOT
from tests.unit.schemas.media.av_files import picture as frame
from tests.unit.schemas.media.av_files import sound_file, tone, video_file, wav

AIMES = ROOT / "tests" / "data" / "aime"
DIFFERENCES = (ROOT / "docs" / "endpoint-files.md").read_text().partition("## Differences from AIME")[2]
REFUSED = object()
ABSENT = object()


def given(folder: Path, rules: str, value: Any) -> Any:
    """Give what the model gets as `x`, or REFUSED, or ABSENT."""
    head = '[ENDPOINT]\nname = "it"\n[WORKER]\njob_type = "q"\n[INPUTS]\n'
    (folder / "aime_api_endpoint.cfg").write_text(f"{head}x = {{ {rules} }}\n")
    try:
        found = load_endpoints([folder])["it"].load_inputs({} if value is ABSENT else {"x": value})
    except InputError as error:
        assert error.errors.keys() == {"x"}
        return REFUSED
    return found.get("x", ABSENT)


NUMBER = 'type = "integer", min = 64, max = 1000, align = 48'
CHOICE = 'type = "selection", supported = ["a", "b"]'
CHAT = '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"text": "ho"}]}]'
SAME: list[tuple[str, Any, Any]] = [
    ("", "text", "text"),
    ('type = "string"', "text", "text"),
    ('type = "str"', "text", "text"),
    ('type = "str"', None, ABSENT),
    ('type = "str"', 5, REFUSED),
    ('type = "str", auto_convert = true', 5, "5"),
    ('type = "str", max_length = 3', "four", REFUSED),
    ('type = "str", required = true', ABSENT, REFUSED),
    ('type = "str", default = "d"', ABSENT, "d"),
    ('type = "str", default = "d"', None, "d"),
    ('type = "str", required = true, default = "d"', None, REFUSED),
    ('type = "int"', 3, 3),
    ('type = "integer"', 3.0, 3),
    ('type = "integer"', "3", REFUSED),
    ('type = "integer", auto_convert = true', "3", 3),
    ('type = "float"', 3, 3.0),
    ('type = "float"', "3", REFUSED),
    ('type = "float", auto_convert = true', "3", 3.0),
    ('type = "float", minimum = 0.0', -0.5, REFUSED),
    ('type = "float", minimum = 0, auto_convert = true', -0.5, 0.0),
    ('type = "integer", maximum = 0', 1, REFUSED),
    (NUMBER, 63, REFUSED),
    (NUMBER, 1001, REFUSED),
    (NUMBER, 100, REFUSED),
    (NUMBER, 96, 96),
    (f"{NUMBER}, auto_convert = true", 2000, 960),
    (f"{NUMBER}, auto_convert = true", 200, 192),
    (f"{NUMBER}, auto_convert = true", 70, 96),
    ('type = "bool"', True, True),
    ('type = "boolean"', False, False),
    ('type = "bool"', "true", REFUSED),
    ('type = "bool"', 1, REFUSED),
    ('type = "bool", auto_convert = true', 1, True),
    (CHOICE, "b", "b"),
    (CHOICE, "c", REFUSED),
    (f"{CHOICE}, auto_convert = true", "c", "a"),
    (f'{CHOICE}, default = "b", auto_convert = true', "c", "b"),
    ('type = "json"', '{"a": [1]}', {"a": [1]}),
    ('type = "json"', "", None),
    ('type = "json"', "{", REFUSED),
    ('type = "text_context"', "said", "said"),
    ('type = "chat_context"', CHAT, [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"text": "ho"}]},
    ]),
    ('type = "chat_context"', '[{"role": "nobody", "content": "hi"}]', REFUSED),
    ('type = "chat_context"', '[{"role": "user", "content": [{"text": "a", "image": "b"}]}]', REFUSED),
    ('type = "chat_context"', '[{"role": "user", "content": [{"image": "data:"}]}]', REFUSED),
]  # fmt: skip
OTHERWISE: list[tuple[str, Any, Any, str]] = [
    ('type = "str", max_length = 3, auto_convert = true', "four", "fou", "too long string"),
    ('type = "str", auto_convert = true', [1], REFUSED, "other values with `auto_convert` to string"),
    ('type = "integer"', 3.9, REFUSED, "`3.9` as integer"),
    ('type = "integer", auto_convert = true', 3.9, 4, "`3.9` as integer"),
    ('type = "integer"', True, REFUSED, "`true` as integer or float"),
    ('type = "integer"', 2**65, REFUSED, "integers"),
    ('type = "float", maximum = 1, auto_convert = true', "nan", REFUSED, '`"nan"`'),
    ('type = "integer", max = 0', 1, REFUSED, "`max = 0`"),
    ('type = "bool", auto_convert = true', "false", False, '`"false"` as bool'),
    ('type = "bool", auto_convert = true', "maybe", REFUSED, "any other value as bool"),
    (CHOICE, ABSENT, ABSENT, "`selection` without default"),
    ('type = "json"', {"a": 1}, {"a": 1}, "`json`"),
    ('type = "json"', '{"a": 1, "a": 2}', REFUSED, "a name twice in one JSON object"),
    ('type = "chat_context"', [{"role": "user", "content": "hi"}], [{"role": "user", "content": "hi"}],
     "`chat_context`"),
    ('type = "image"', base64.b64encode(picture("PNG")).decode(), data_url(picture("PNG"), "image/png"),
     "media"),
    ('type = "image"', "/etc/passwd", REFUSED, "media"),
    ('type = "image"', data_url(picture("PNG"), "image/JPEG"), data_url(picture("PNG"), "image/png"),
     "the type in a data URL"),
]  # fmt: skip
"""Rules, value, what becomes of it here, and the row of the documentation that says so."""


@pytest.mark.parametrize(("rules", "value", "expected"), SAME)
def test_a_value_means_what_it_means_to_aime(tmp_path: Path, rules: str, value: Any, expected: Any) -> None:
    found = given(tmp_path, rules, value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(("rules", "value", "expected", "row"), OTHERWISE)
def test_what_is_done_otherwise_is_documented(
    tmp_path: Path, rules: str, value: Any, expected: Any, row: str
) -> None:
    found = given(tmp_path, rules, value)
    assert found == expected and type(found) is type(expected)
    assert f"\n| {row}" in DIFFERENCES


def image_of(url: str) -> Image.Image:
    image = Image.open(io.BytesIO(read_source(url, 10**7)))
    image.load()
    return image


LIMIT = 'size = { %s, auto_convert = true }, format = { supported = ["jpeg"], auto_convert = true }'


@pytest.mark.parametrize(
    ("size", "rules", "expected"),
    [
        ((300, 200), "maximum = [128, 128]", (128, 128)),
        ((300, 200), "maximum = [128, 128], keep_aspect_ratio = true", (128, 85)),
        ((10, 10), "minimum = [64, 64]", (64, 64)),
        ((100, 70), "align = [32, 32]", (96, 64)),
        ((100, 70), "supported = [[32, 32], [64, 64]]", (32, 32)),
        ((100, 70), "supported = [[32, 32], [64, 64]], default = [64, 64]", (64, 64)),
    ],
)
@pytest.mark.parametrize("method", ["scale", "crop"])
def test_sizes_of_images(
    tmp_path: Path, size: tuple[int, int], rules: str, expected: tuple[int, int], method: str
) -> None:
    value = data_url(picture("PNG", size), "image/png")
    found = given(tmp_path, f'type = "image", resize_method = "{method}", {LIMIT % rules}', value)
    image = image_of(found)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", expected)


@pytest.mark.parametrize("word", ["rgb", "bgr", "gbr", "yuv", "rgba", "yuva", "gbr_alpha", "gray", "alpha",
                                  "monochrome", "palette"])  # fmt: skip
def test_color_spaces(tmp_path: Path, word: str) -> None:
    rules = f'type = "image", color_space = {{ supported = ["{word}"], auto_convert = true }}'
    modes = {"rgba": "RGBA", "gray": "L", "alpha": "LA", "monochrome": "1", "palette": "P"}
    modes |= {"yuva": "RGBA", "gbr_alpha": "RGBA"}
    source = data_url(picture("PNG", mode="LA" if word == "rgb" else "RGB"), "image/png")
    assert image_of(given(tmp_path, rules, source)).mode == modes.get(word, "RGB")
    assert word not in ("bgr", "gbr", "yuv", "yuva", "gbr_alpha") or f"`{word}`" in DIFFERENCES


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_formats_become_jpeg(tmp_path: Path, format: str) -> None:
    rules = 'type = "image", format = { supported = ["jpeg"], auto_convert = true }, ' \
            'color_space = { supported = ["rgb"], auto_convert = true }'  # fmt: skip
    image = image_of(given(tmp_path, rules, data_url(picture(format), "image/png")))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))


SOUND = wav(tone(1000, 1000, rate=44_100, seconds=3), 44_100)


@pytest.mark.parametrize(
    ("rules", "told", "expected"),
    [
        ('format = { supported = ["mp3"], %s }', lambda info: info.format, "mp3"),
        ('format = { supported = ["ogg", "mp3"], default = "mp3", %s }', lambda info: info.format, "mp3"),
        ("sample_rate = { supported = [16000], %s }", lambda info: info.sound.sample_rate, 16_000),
        ("sample_rate = { maximum = 22050, %s }", lambda info: info.sound.sample_rate, 22_050),
        ("channels = { max = 1, %s }", lambda info: info.sound.channels, 1),
        ("sample_bit_depth = { supported = [8, 32], default = 32, %s }", lambda info: info.sound.bits, 32),
        ('audio_codec = { supported = ["pcm_f32le"], %s }', lambda info: info.sound.codec, "pcm_f32le"),
        ("duration = { maximum = 2, %s }", lambda info: info.duration, 2.0),
        ("duration = { minimum = 4, auto_convert = false }", None, REFUSED),
        ("duration = { maximum = 2 }", None, REFUSED),
        ("sample_rate = { minimum = 48000 }", None, REFUSED),
        ("sample_rate = { align = 1000 }", None, REFUSED),
        ("sample_rate = { align = 1000, %s }", lambda info: info.sound.sample_rate, 44_000),
    ],
)
def test_attributes_of_sounds(
    tmp_path: Path, rules: str, told: Callable[[audio.AudioInfo], Any] | None, expected: Any
) -> None:
    rules = rules.replace("%s", "auto_convert = true")
    found = given(tmp_path, f'type = "audio", {rules}', data_url(SOUND, "audio/wav"))
    if told is None:
        assert found is expected
    else:
        assert told(audio.probe(read_source(found, 10**7))) == expected


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture("JPEG", (64, 48), exif=exif)


def animation() -> bytes:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


FILES: list[tuple[str, Callable[[], bytes], Any, str]] = [
    ('type = "audio", format = { supported = ["wav"], auto_convert = true }',
     lambda: sound_file(tone(1000), 44_100, "mp3", "libmp3lame"), "audio/wav", "a conversion to WAV"),
    ('type = "audio", duration = { maximum = 2 }', lambda: wav(tone(1000, seconds=2.4), 44_100), REFUSED,
     "`duration`"),
    ('type = "audio"', lambda: sound_file(tone(1000), 44_100, "aiff", "pcm_s16be"), REFUSED,
     "files that FFmpeg can read"),
    ('type = "video"', lambda: video_file([frame(1)], "mp4"), "video/mp4", "`video`"),
    ('type = "image"', animation, REFUSED, "animations"),
    ('type = "image"', turned, (48, 64), "EXIF orientation"),
    ('type = "image", size = { minimum = [64, 64], keep_aspect_ratio = true, auto_convert = true }',
     lambda: picture("PNG", (40, 20)), (128, 64), "`keep_aspect_ratio` with `minimum`"),
]  # fmt: skip
"""Rules, a file, its media type or size as the model gets it, and the row of the documentation."""


@pytest.mark.parametrize(("rules", "file", "expected", "row"), FILES, ids=[row for *_, row in FILES])
def test_what_is_done_otherwise_with_files_is_documented(
    tmp_path: Path, rules: str, file: Callable[[], bytes], expected: Any, row: str
) -> None:
    found = given(tmp_path, rules, data_url(file(), "image/JPEG"))
    if expected is REFUSED or isinstance(expected, tuple):
        assert (found if expected is REFUSED else image_of(found).size) == expected
    else:
        assert found.startswith(f"data:{expected};base64,")
    assert f"\n| {row}" in DIFFERENCES


@pytest.fixture(scope="module")
def endpoints() -> Mapping[str, Endpoint]:
    """Endpoints of files in AIME's words."""
    return load_endpoints([AIMES])


def test_whole_files_load_with_aimes_defaults(endpoints: Mapping[str, Endpoint]) -> None:
    assert {"drawing", "filming", "hearing", "talking"} <= set(endpoints)
    plain, drawing = endpoints["hearing"], endpoints["drawing"]
    assert (plain.methods, plain.max_queue_length, plain.max_time_in_queue) == (("GET", "POST"), 1000, 3600)
    assert (plain.result_lifetime, plain.version) == (900, None)
    assert (endpoints["talking"].title, drawing.queue, drawing.version) == ("talking", "drawing", 2)
    assert (drawing.max_queue_length, drawing.provide_worker_meta_data) == (50, True)
    assert drawing.authorization_keys == {"someone": "a-key-of-someone"}
    assert endpoints["talking"].default_session_vars() == {"turns": 0}


def test_an_endpoint_for_images(endpoints: Mapping[str, Endpoint]) -> None:
    drawing = endpoints["drawing"]
    assert drawing.load_inputs({"prompt": "a"}) == {
        "prompt": "a", "seed": -1, "height": 512, "guidance": 3.5, "tiled": False, "sampler": "euler",
    }  # fmt: skip
    found = drawing.load_inputs({
        "prompt": "a", "height": 600, "guidance": 30, "sampler": "x", "more": "[1]",
        "image": data_url(picture("GIF", (300, 40)), "image/JPEG"),
    })  # fmt: skip
    assert (found["height"], found["guidance"], found["sampler"], found["more"]) == (576, 20.0, "euler", [1])
    image = image_of(found["image"])
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 64))
    made = drawing.dump_outputs({"images": [image.convert("RGBA")], "seed": 3, "dropped": 1})
    assert made.keys() == {"images", "seed"}
    assert image_of(made["images"][0]).format == "JPEG"


def test_an_endpoint_for_sounds(endpoints: Mapping[str, Endpoint]) -> None:
    mp3 = sound_file(tone(1000, 1000, rate=44_100, seconds=3), 44_100, "mp3", "libmp3lame")
    found = endpoints["hearing"].load_inputs({"speech": data_url(mp3, "audio/mpeg")})
    info = audio.probe(read_source(found["speech"], 10**7))
    assert (info.format, info.sound.codec, info.sound.sample_rate) == ("wav", "pcm_s16le", 16_000)
    assert (info.sound.channels, info.sound.bits, info.duration) == (1, 16, 2.0)
    assert found["language"] == "none"


def test_an_endpoint_for_conversations(endpoints: Mapping[str, Endpoint]) -> None:
    said = [{"role": "user", "content": [
        {"text": "This?"}, {"image": data_url(picture("PNG", (128, 64)), "image/png")},
    ]}]  # fmt: skip
    (message,) = endpoints["talking"].load_inputs({"chat_context": said})["chat_context"]
    image = image_of(message["content"][1]["image"])
    assert (image.format, image.size) == ("JPEG", (64, 32))
    with pytest.raises(InputError, match=r"prompt_input.*one of them"):
        endpoints["talking"].load_inputs({"chat_context": said, "prompt_input": "hi"})


def test_an_endpoint_for_videos(endpoints: Mapping[str, Endpoint]) -> None:
    frames = [frame(number, (160, 120)) for number in range(20)]
    clip = video_file(frames, "webm", "libvpx", sound=tone(500, 500, rate=48_000, seconds=2))
    found = endpoints["filming"].load_inputs({"clip": data_url(clip, "video/webm")})["clip"]
    info = video.probe(read_source(found, 10**7))
    assert (info.format, info.codec, info.size) == ("mp4", "h264", (64, 48))
    assert info.sound is not None
    assert (info.sound.codec, info.sound.sample_rate, info.sound.channels) == ("aac", 44_100, 2)
    assert info.duration == pytest.approx(1.0, abs=0.15)
