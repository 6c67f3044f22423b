"""What an endpoint file says of one attribute, and what becomes of a file that is otherwise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Problem
from schemas.media.attributes import Choice, Range, Size, crop_box
from schemas.media.limits import MediaLimits
from schemas.media.rules import AudioRules, ImageRules, VideoRules
from schemas.tables import Table

SIDES = st.integers(1, 20_000)
SIZES = st.tuples(SIDES, SIDES)


def read(kind: Any, values: dict[str, Any]) -> tuple[Any, list[str]]:
    """Read a table; gives the rules, and each problem as "table.key"."""
    problems: list[Problem] = []
    table = Table(values, "INPUTS.x", Path("f.toml"), problems)
    rules = kind.read(table, MediaLimits())
    table.finish()
    return rules, [f"{problem.table}.{problem.key}".removeprefix("INPUTS.x") for problem in problems]


def fit(attribute: Any, value: Any, *names: str) -> tuple[Any, list[str]]:
    problems: list[str] = []
    return attribute.fit(value, *names, problems), problems


def test_a_supported_word_stays() -> None:
    assert fit(Choice(("jpeg", "png")), "png", "format") == ("png", [])
    assert fit(Choice(), "bmp", "format") == ("bmp", [])


def test_another_word_becomes_the_default_or_the_first() -> None:
    assert fit(Choice(("jpeg", "png"), auto_convert=True), "bmp", "format") == ("jpeg", [])
    assert fit(Choice(("jpeg", "png"), "png", auto_convert=True), "bmp", "format") == ("png", [])


def test_another_word_is_refused_with_what_is_supported() -> None:
    _, problems = fit(Choice(("jpeg", "png")), "bmp", "format")
    assert problems == ["format bmp is not supported: only jpeg, png"]


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        (Range(maximum=16000), 44100, 16000),
        (Range(minimum=8000), 4000, 8000),
        (Range(supported=(16000, 48000)), 44100, 16000),
        (Range(supported=(16000, 48000), default=48000), 44100, 48000),
        (Range(supported=(16000, 48000)), 48000, 48000),
        (Range(align=1000), 44100, 44000),
        (Range(align=1000), 10, 1000),
        (Range(align=1000, minimum=44050), 44100, 45000),
        (Range(maximum=29.5), 60.0, 29.5),
        (Range(), 3, 3),
    ],
)
def test_numbers_are_bent_to_fit(attribute: Range, value: float, expected: float) -> None:
    attribute = Range(**{**vars(attribute), "auto_convert": True})
    problems: list[str] = []
    found = attribute.fit(value, "rate", problems, "Hz")
    assert (found, problems) == (expected, [])
    assert type(found) is type(value)


def test_numbers_that_do_not_fit_are_refused_with_the_limit_and_the_unit() -> None:
    problems: list[str] = []
    Range(maximum=16000, align=1000).fit(44100, "sample rate", problems, "Hz")
    Range(minimum=2).fit(1, "number of channels", problems)
    Range(supported=(16000, 48000)).fit(8000, "sample rate", problems, "Hz")
    Range(maximum=1.5).fit(2.25, "duration", problems, "seconds")
    assert problems == [
        "its sample rate of 44100 Hz is too high: at most 16000 allowed",
        "its sample rate of 44100 Hz is no multiple of 1000",
        "its number of channels of 1 is too low: at least 2 needed",
        "its sample rate of 8000 Hz is not supported: only 16000, 48000",
        "its duration of 2.25 seconds is too high: at most 1.5 allowed",
    ]


@pytest.mark.parametrize(
    ("size", "rules", "expected"),
    [
        # As AIME does: each side is clamped, then aligned down.
        ((300, 200), Size(maximum=(128, 128)), (128, 128)),
        ((10, 10), Size(minimum=(64, 64)), (64, 64)),
        ((100, 70), Size(align=(32, 32)), (96, 64)),
        ((20, 70), Size(align=(32, 32)), (32, 64)),
        ((100, 70), Size(align=(32, 32), minimum=(100, 1)), (128, 64)),
        ((300, 200), Size(maximum=(128, 128), keep_aspect_ratio=True), (128, 85)),
        ((200, 300), Size(maximum=(128, 128), keep_aspect_ratio=True), (85, 128)),
        ((300, 200), Size(maximum=(128, 128), align=(8, 8), keep_aspect_ratio=True), (128, 80)),
        ((300, 200), Size(maximum=(400, 400), keep_aspect_ratio=True), (300, 200)),
        ((10, 20), Size(minimum=(64, 64), keep_aspect_ratio=True), (64, 128)),
        ((10, 20), Size(minimum=(64, 64), maximum=(100, 100), keep_aspect_ratio=True), (64, 100)),
        ((1, 16000), Size(maximum=(1024, 1024), keep_aspect_ratio=True), (1, 1024)),
        ((1, 1), Size(align=(8, 8)), (8, 8)),
        ((300, 200), Size(supported=((512, 512), (768, 512))), (512, 512)),
        ((300, 200), Size(supported=((512, 512), (768, 512)), default=(768, 512)), (768, 512)),
        ((512, 512), Size(supported=((512, 512), (768, 512)), default=(768, 512)), (512, 512)),
    ],
)
def test_sizes_are_bent_to_fit(size: Any, rules: Size, expected: Any) -> None:
    rules = Size(**{**vars(rules), "auto_convert": True})
    assert fit(rules, size) == (expected, [])


def test_a_size_is_refused_side_by_side() -> None:
    _, problems = fit(Size(maximum=(128, 128), minimum=(16, 16), align=(8, 8)), (300, 4))
    assert problems == [
        "its width of 300 pixels is too high: at most 128 allowed",
        "its width of 300 pixels is no multiple of 8",
        "its height of 4 pixels is too low: at least 16 needed",
        "its height of 4 pixels is no multiple of 8",
    ]
    _, problems = fit(Size(supported=((512, 512), (768, 512))), (300, 4))
    assert problems == ["its size of 300 x 4 pixels is not supported: only 512 x 512, 768 x 512"]


@given(
    size=SIZES,
    low=SIZES,
    more=SIZES,
    align=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    keep=st.booleans(),
)
def test_a_bent_size_lies_in_the_limits(size: Any, low: Any, more: Any, align: Any, keep: bool) -> None:
    high = tuple(-(-low[i] // align[i]) * align[i] + more[i] for i in (0, 1))
    rules = Size(minimum=low, maximum=high, align=align, keep_aspect_ratio=keep, auto_convert=True)
    found, problems = fit(rules, size)
    assert not problems
    for i in (0, 1):
        assert low[i] <= found[i] <= high[i] and found[i] % align[i] == 0
    assert fit(rules, found) == (found, [])


@given(size=SIZES, side=SIDES)
def test_a_kept_ratio_is_kept(size: Any, side: int) -> None:
    found, _ = fit(Size(maximum=(side, side), keep_aspect_ratio=True, auto_convert=True), size)
    factor = min(1, side / max(size))
    for i in (0, 1):
        assert abs(found[i] - max(1, size[i] * factor)) <= 1


@given(size=SIZES, target=SIZES)
def test_a_crop_is_the_largest_middle_part_of_the_ratio(size: Any, target: Any) -> None:
    left, top, right, bottom = crop_box(size, target)
    width, height = right - left, bottom - top
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert width == size[0] or height == size[1]
    assert abs(left - (size[0] - right)) <= 1 and abs(top - (size[1] - bottom)) <= 1
    assert math.isclose(width * target[1], height * target[0], rel_tol=1 / min(width, height))


def test_every_attribute_of_an_image_is_read() -> None:
    rules, problems = read(
        ImageRules,
        {
            "format": {"supported": ["JPG", "png"], "default": "PNG", "auto_convert": True},
            "color_space": {"supported": ["RGB", "yuv", "bgr", "gray"], "auto_convert": True},
            "size": {"minimum": [64, 32], "max": 2048, "align": [8, 8], "keep_aspect_ratio": True},
            "resize_method": "crop",
            "frames": {"maximum": 20},
            "max_bytes": 1000,
            "max_pixels": 2**40,
            "input_temp_file": "auto",
            "output_temp_file": "no",
            "check_conversion": True,
        },
    )
    assert problems == []
    assert rules == ImageRules(
        format=Choice(("jpeg", "png"), "png", True),
        color_space=Choice(("rgb", "gray"), None, True),
        size=Size(minimum=(64, 32), maximum=(2048, 2048), align=(8, 8), keep_aspect_ratio=True),
        resize_method="crop",
        frames=Range(maximum=20),
        limits=MediaLimits(max_bytes=1000),
    )


def test_auto_convert_of_the_parameter_holds_for_attributes_that_do_not_say() -> None:
    rules, _ = read(
        ImageRules,
        {
            "auto_convert": True,
            "format": {"supported": ["png"]},
            "size": {"auto_convert": False, "maximum": 8},
        },
    )
    assert (rules.format.auto_convert, rules.size.auto_convert) == (True, False)
    assert rules.frames == Range(maximum=1)


def test_every_attribute_of_sounds_and_videos_is_read() -> None:
    numbers = {"supported": [16000, 48000], "default": 16000, "minimum": 8000, "maximum": 48000}
    audio = {
        "format": {"supported": ["wav", "mp3"], "default": "wav"},
        "audio_codec": {"supported": ["pcm_s16le"]},
        "sample_rate": {**numbers, "auto_convert": True},
        "channels": {"maximum": 2},
        "sample_bit_depth": {"supported": [16]},
        "audio_bit_rate": {"maximum": 320_000},
        "duration": {"minimum": 0.5, "max": 30},
    }
    rules, problems = read(AudioRules, audio)
    assert problems == []
    assert rules.sample_rate == Range((16000, 48000), 16000, 8000, 48000, None, True)
    assert rules.duration == Range(minimum=0.5, maximum=30)
    video = audio | {
        "format": {"supported": ["mp4"]},
        "video_codec": {"supported": ["h264"]},
        "audio_codec": {"supported": ["aac"]},
        "size": {"maximum": [1920, 1080]},
        "frame_rate": {"maximum": 29.97},
        "video_bit_rate": {"maximum": 5_000_000},
        "color_space": {"supported": ["yuv"]},
        "resize_method": "scale",
    }
    rules, problems = read(VideoRules, video)
    assert problems == []
    assert rules.frame_rate == Range(maximum=29.97)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"format": "JPEG"}, [".format"]),
        ({"format": {"supported": "jpeg"}}, [".format.supported"]),
        ({"format": {"supported": []}}, [".format.supported"]),
        ({"format": {"supported": ["jpgg", 3]}}, [".format.supported", ".format.supported"]),
        ({"format": {"supported": ["png"], "default": "jpeg"}}, [".format.default"]),
        ({"format": {"suported": ["png"]}}, [".format.suported"]),
        ({"format": {"minimum": 3}}, [".format.minimum"]),
        ({"format": {"auto_convert": "yes"}}, [".format.auto_convert"]),
        ({"color_space": {"supported": ["hsv"]}}, [".color_space.supported"]),
        ({"format": {"supported": ["jpeg"]}, "color_space": {"supported": ["rgba"]}}, [".color_space"]),
        ({"size": {"maximum": [10, 0]}}, [".size.maximum"]),
        ({"size": {"maximum": [10, 10, 10]}}, [".size.maximum"]),
        ({"size": {"maximum": "10"}}, [".size.maximum"]),
        ({"size": {"minimum": [10, 20], "maximum": [20, 10]}}, [".size.maximum"]),
        ({"size": {"align": [64, 64], "maximum": [100, 63]}}, [".size.maximum"]),
        ({"size": {"supported": [[1, 2], 3.5]}}, [".size.supported"]),
        ({"size": {"supported": [[8, 8]], "default": [9, 9]}}, [".size.default"]),
        ({"resize_method": "stretch"}, [".resize_method"]),
        ({"frames": {"maximum": 0}}, [".frames.maximum"]),
        ({"frames": {"maximum": 1.5}}, [".frames.maximum"]),
        ({"max_bytes": 0}, [".max_bytes"]),
        ({"format": {"supported": ["x"]}, "size": {"align": -1}}, [".format.supported", ".size.align"]),
    ],
)
def test_a_mistake_is_named_by_table_and_key(values: Any, problems: list[str]) -> None:
    assert read(ImageRules, values)[1] == problems


def test_mistakes_in_numbers_are_named() -> None:
    values = {
        "sample_rate": {"supported": [16000, "x", True], "default": 44100},
        "channels": {"minimum": 3, "maximum": 2},
        "duration": {"maximum": float("nan")},
    }
    assert read(AudioRules, values)[1] == [
        ".sample_rate.supported",
        ".sample_rate.supported",
        ".sample_rate.default",
        ".channels.minimum",
        ".duration.maximum",
    ]


def test_an_endpoint_file_only_tightens_the_limits_of_the_server() -> None:
    problems: list[Problem] = []
    table = Table({"max_bytes": 10**12, "max_pixels": 5}, "INPUTS.x", Path("f.toml"), problems)
    limits = ImageRules.read(table, MediaLimits(max_bytes=100)).limits
    assert (limits.max_bytes, limits.max_pixels) == (100, 5)
