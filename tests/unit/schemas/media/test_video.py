"""Video: formats in and out, judged by their frames and samples; bad files, judged by what they cost."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.media import avio, video, videoout
from schemas.media.attributes import Choice, Range, Size
from schemas.media.avio import in_memory, reading
from schemas.media.containers import inspect
from schemas.media.errors import MediaError
from schemas.media.forms import VideoForm
from schemas.media.limits import MediaLimits
from schemas.media.pictures import decoded
from schemas.media.rules import VideoRules
from tests.unit.schemas.media.av_files import (
    frames_of,
    loudness,
    number_of,
    peak,
    picture,
    samples_of,
    tone,
    video_file,
    wav,
)

KINDS = [("mp4", "h264"), ("mov", "h264"), ("webm", "vp9"), ("webm", "vp8"), ("mkv", "h264"), ("mkv", "vp9")]
TWENTY = [picture(n) for n in range(20)]
SOUND = tone(1000, 2000, rate=48_000, seconds=2)


def to(format: str | None = None, codec: str | None = None, **ranges: float) -> VideoRules:
    """Rules that convert whatever comes to one form."""
    numbers: Any = {name: Range(supported=(number,), auto_convert=True) for name, number in ranges.items()}
    return VideoRules(
        format=Choice((format,), auto_convert=True) if format else Choice(),
        video_codec=Choice((codec,), auto_convert=True) if codec else Choice(),
        **numbers,
    )


def sized(method: str = "scale", **size: Any) -> VideoRules:
    """Rules that convert to a size."""
    return VideoRules(size=Size(auto_convert=True, **size), resize_method=method)


@pytest.fixture(scope="module")
def film() -> bytes:
    """Two seconds, 160 x 120, 10 frames a second that tell their number, 1 kHz left, 2 kHz right."""
    return video_file(TWENTY, sound=SOUND, movflags="faststart")


def same(frames: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert [frame.shape for frame in frames] == [frame.shape for frame in wanted]
    assert [number_of(frame) for frame in frames] == [number_of(frame) for frame in wanted]
    for frame, original in zip(frames, wanted, strict=True):
        assert np.abs(frame.astype(int) - original).mean() < 4


@pytest.mark.parametrize(("format", "codec"), KINDS)
def test_every_format_keeps_frames_times_and_sound(format: str, codec: str, film: bytes) -> None:
    made = video.convert(film, replace(to(format, codec), frame_rate=Range(maximum=30, auto_convert=True)))
    frames, times = frames_of(made if (format, codec) != ("mp4", "h264") else film)
    same(frames, TWENTY)
    assert times == pytest.approx([n / 10 for n in range(20)], abs=0.01)
    samples, rate = samples_of(made)
    assert rate == 48_000
    assert samples.shape[1] / rate == pytest.approx(2, abs=0.06)
    assert [round(peak(channel, rate), -1) for channel in samples] == [1000, 2000]
    assert loudness(samples) == pytest.approx(loudness(SOUND), rel=0.05)
    info = video.probe(made)
    assert (info.format, info.codec, info.size) == (format, codec, (160, 120))
    assert (float(info.frame_rate), info.frames) == (10, 20)
    assert info.duration == pytest.approx(2, abs=0.06)
    assert info.sound is not None
    assert info.sound.codec == ("opus" if format == "webm" else "aac")
    back = video.convert(made, to("mp4"))
    same(frames_of(back)[0], TWENTY)


def test_a_file_that_fits_comes_back_byte_for_byte(film: bytes) -> None:
    fits = replace(
        to("mp4", "h264", frame_rate=10, channels=2),
        size=Size(maximum=(160, 120), align=(8, 8), auto_convert=True),
        duration=Range(minimum=1, maximum=2, auto_convert=True),
    )
    assert video.convert(film, fits) is film
    assert video.convert(film, VideoRules()) is film


@pytest.mark.parametrize(
    ("rules", "size"),
    [
        (sized(maximum=(80, 80)), (80, 80)),
        (sized(maximum=(80, 80), keep_aspect_ratio=True), (80, 60)),
        (sized(minimum=(320, 320), keep_aspect_ratio=True), (426, 320)),
        (sized(align=(64, 64)), (128, 64)),
        (sized(supported=((96, 64),)), (96, 64)),
    ],
)
def test_sizes_are_bent_as_those_of_images(rules: VideoRules, size: tuple[int, int], film: bytes) -> None:
    made = video.convert(film, rules)
    assert video.probe(made).size == size
    frames, _ = frames_of(made)
    assert [number_of(frame) for frame in frames] == list(range(20))
    reds = frames[3][-10:, : size[0] // 2 - 8].mean(axis=(0, 1))
    assert reds == pytest.approx((200, 40, 40), abs=12)


def test_scale_squeezes_and_crop_cuts(film: bytes) -> None:
    thin = {"supported": ((40, 120),)}
    squeezed = frames_of(video.convert(film, sized("scale", **thin)))[0][10]
    cropped = frames_of(video.convert(film, sized("crop", **thin)))[0][10]
    assert squeezed.shape == cropped.shape == (120, 40, 3)
    assert squeezed[:25, :8].mean() == pytest.approx(100, abs=8)  # the corner is still there
    assert cropped[:25, :8].mean(axis=(0, 1)) == pytest.approx((200, 40, 40), abs=12)  # it was cut off
    assert cropped[60, 35] == pytest.approx((40, 60, 200), abs=12)


@pytest.mark.parametrize(
    ("rate", "numbers"),
    [(5, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]), (20, [n // 2 for n in range(40)]), (10, list(range(20)))],
)
def test_frames_are_left_out_or_come_again(rate: int, numbers: list[int], film: bytes) -> None:
    made = video.convert(film, to("webm", frame_rate=rate))
    frames, times = frames_of(made)
    assert [number_of(frame) for frame in frames] == numbers
    assert times == pytest.approx([n / rate for n in range(len(numbers))], abs=0.01)


def test_irregular_times_become_regular() -> None:
    times = [0, 0.1, 0.2, 0.6, 0.7, 0.8, 0.9]
    odd = video_file(TWENTY[:7], "webm", "libvpx", times=times)
    frames, _ = frames_of(video.convert(odd, to("mp4", frame_rate=10)))
    assert [number_of(frame) for frame in frames] == [0, 1, 2, 2, 2, 2, 3, 4, 5, 6]


def test_a_single_frame_stays_one() -> None:
    still = video_file(TWENTY[3:4], "webm", "libvpx", sound=SOUND[:, :4800])
    for rules in (
        to("mp4"),
        to("mp4", frame_rate=1),
        VideoRules(duration=Range(maximum=0.01, auto_convert=True)),
    ):
        assert [number_of(frame) for frame in frames_of(video.convert(still, rules))[0]] == [3]


def test_30_frames_a_second_in_rounded_milliseconds_stay_what_they_are() -> None:
    original = video_file((picture(n % 25) for n in range(60)), "webm", "libvpx", rate=30)
    assert video.probe(original).frame_rate == 30
    frames, _ = frames_of(video.convert(original, to("mp4")))
    assert [number_of(frame) for frame in frames] == [n % 25 for n in range(60)]


def test_what_is_too_long_is_cut_off_or_refused(film: bytes) -> None:
    made = video.convert(film, VideoRules(duration=Range(maximum=1, auto_convert=True)))
    frames, _ = frames_of(made)
    assert [number_of(frame) for frame in frames] == list(range(10))
    samples, rate = samples_of(made)
    assert samples.shape[1] / rate == pytest.approx(1, abs=0.06)
    with pytest.raises(MediaError, match="is too long: at most 1 s allowed"):
        video.convert(film, VideoRules(duration=Range(maximum=1)))


def test_sound_keeps_the_rules(film: bytes) -> None:
    made = video.convert(film, to(channels=1, sample_rate=16_000))
    samples, rate = samples_of(made)
    assert (samples.shape[0], rate) == (1, 16_000)
    left, right = SOUND
    assert loudness(samples) == pytest.approx(loudness((left + right) / 2), rel=0.05)


def test_sound_stays_with_its_pictures() -> None:
    silence = np.zeros((2, 48_000), np.float32)
    click = np.concatenate([silence, SOUND[:, :48_000]], axis=1)
    times = [n / 10 for n in range(5, 20)]  # pictures begin half a second after the sound
    late = video_file(TWENTY[:15], "webm", "libvpx", times=times, sound=click)
    made = video.convert(late, to("mp4"))
    samples, rate = samples_of(made)
    onset = np.argmax(np.abs(samples[0]) > 0.1) / rate
    assert onset == pytest.approx(1, abs=0.05)
    frames, _ = frames_of(made)
    assert number_of(frames[10]) == 5


def test_sound_that_begins_late_begins_late() -> None:
    late = video_file(TWENTY, "webm", "libvpx", sound=SOUND[:, :48_000], sound_at=0.7)
    samples, rate = samples_of(video.convert(late, to("mp4")))
    assert np.argmax(np.abs(samples[0]) > 0.1) / rate == pytest.approx(0.7, abs=0.05)


def test_a_video_without_sound_stays_without() -> None:
    made = video.convert(video_file(TWENTY), to("webm"))
    assert video.probe(made).sound is None
    same(frames_of(made)[0], TWENTY)


@pytest.mark.parametrize(("degrees", "turns"), [(-90, 3), (90, 1), (180, 2)])
def test_turned_videos_become_upright(degrees: int, turns: int) -> None:
    lying = video_file(TWENTY, rotation=degrees)
    size = (160, 120) if degrees == 180 else (120, 160)
    assert video.probe(lying).size == size
    made = video.convert(lying, to("webm"))
    frames, _ = frames_of(made)
    assert frames[5].shape == (size[1], size[0], 3)
    assert np.abs(frames[5].astype(int) - np.rot90(TWENTY[5], turns)).mean() < 5


def test_odd_sizes_lose_a_row_where_the_format_has_only_pairs() -> None:
    odd = video_file([picture(n, (161, 121)) for n in range(5)], "webm", "libvpx")
    assert video.probe(odd).size == (161, 121)
    assert video.convert(odd, VideoRules()) is odd
    assert video.probe(video.convert(odd, to("mp4"))).size == (160, 120)
    with pytest.raises(MediaError, match="160 x 120 pixels is not supported: only 161 x 121"):
        video.convert(odd, replace(to("mp4"), size=Size(supported=((161, 121),), auto_convert=True)))


def test_bit_rates_are_kept_low() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (20, 120, 160, 3), np.uint8)
    large = video_file(noise)
    assert video.probe(large).bit_rate > 800_000
    rule = Range(maximum=300_000, auto_convert=True)
    small = video.convert(large, VideoRules(video_bit_rate=rule))
    assert video.probe(small).bit_rate < 450_000


def test_all_that_is_wrong_is_told_at_once(film: bytes) -> None:
    strict = VideoRules(
        format=Choice(("webm",)),
        video_codec=Choice(("vp9",)),
        size=Size(maximum=(64, 64)),
        frame_rate=Range(maximum=5),
        duration=Range(maximum=1),
        channels=Range(maximum=1),
    )
    with pytest.raises(MediaError) as caught:
        video.convert(film, strict)
    assert len(caught.value.problems) == 7  # both sides


def test_conversions_side_by_side_give_the_same(film: bytes) -> None:
    wanted = [to(format, codec, frame_rate=rate) for format, codec in KINDS[1:] for rate in (5, 8)]
    alone = [video.convert(film, rules) for rules in wanted]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda rules: video.convert(film, rules), wanted)) == alone


def as_floats(frame: np.ndarray) -> np.ndarray:
    return frame.astype(np.float32) / 255


@pytest.mark.parametrize(("format", "codec"), KINDS)
@pytest.mark.parametrize(
    "form", [list, np.stack, lambda f: map(Image.fromarray, f), lambda f: [as_floats(x) for x in f]]
)
def test_frames_of_models_are_written(format: str, codec: str, form: Any) -> None:
    made = videoout.encode(form(TWENTY), VideoForm(format=format, video_codec=codec, frame_rate=10))
    info = video.probe(made)
    assert (info.format, info.codec, float(info.frame_rate), info.sound) == (format, codec, 10, None)
    frames, times = frames_of(made)
    same(frames, TWENTY)
    assert times == pytest.approx([n / 10 for n in range(20)], abs=0.01)


def test_models_may_give_sound_and_a_rate_of_their_own() -> None:
    value = {"frames": TWENTY, "frame_rate": 5, "sound": SOUND.T, "sample_rate": 48_000}
    made = videoout.encode(value, VideoForm(frame_rate=10, size=(80, 80)))
    frames, _ = frames_of(made)
    assert [number_of(frame) for frame in frames] == [n // 2 for n in range(40)]
    assert frames[0].shape == (60, 80, 3)
    samples, rate = samples_of(made)
    assert [round(peak(channel, rate), -1) for channel in samples] == [1000, 2000]


def test_colors_of_models_stay_what_they_are() -> None:
    colors = [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
        (0, 0, 0),
        (128, 128, 128),
        (255, 160, 0),
    ]
    stills = [np.full((64, 64, 3), color, np.uint8) for color in colors]
    for format in ("mp4", "webm"):
        made = videoout.encode(stills, VideoForm(format=format, frame_rate=10))
        for data in (made, video.convert(made, to("mkv", frame_rate=10, audio_bit_rate=64_000, channels=1))):
            for frame, color in zip(frames_of(data)[0], colors, strict=True):
                assert frame.mean(axis=(0, 1)) == pytest.approx(color, abs=6)


def test_models_may_give_files(film: bytes) -> None:
    assert videoout.encode(film, VideoForm()) == film
    assert videoout.encode(io.BytesIO(film), VideoForm(format="mp4")) == film
    assert video.probe(videoout.encode(film, VideoForm(format="webm", size=(80, 80)))).size == (80, 60)


@pytest.mark.parametrize(
    ("value", "rate", "text"),
    [
        (TWENTY, None, "no frame rate"),
        (TWENTY, float("nan"), "frame rate of nan"),
        ({"frames": TWENTY, "frame_rate": 0}, None, "frame rate of 0"),
        ({"frames": TWENTY, "frame_rate": 1000}, None, "frame rate of 1000"),
        ([], 10, "no frames"),
        (7, 10, "must be frames"),
        ({"frames": TWENTY, "fps": 10}, 10, "has fps: only frames, frame_rate"),
        ([np.zeros((4, 4, 3, 3))], 10, "shape"),
        ([np.full((4, 4), np.nan)], 10, "NaN"),
        ({"frames": TWENTY, "sound": np.array([np.nan])}, 10, "sample rate"),
        ({"frames": TWENTY, "sound": np.array([np.nan]), "sample_rate": 8000}, 10, "nan"),
        (b"", 10, "is empty"),
        (b"garbage", 10, "no sound and no video"),
    ],
)
def test_models_nonsense_is_told(value: object, rate: float | None, text: str) -> None:
    with pytest.raises(MediaError, match=text):
        videoout.encode(value, VideoForm(frame_rate=rate))


def test_limits_of_the_server_hold(film: bytes) -> None:
    for limits, text in (
        (MediaLimits(max_seconds=1), "too long: at most 1 s"),
        (MediaLimits(max_frames=10), "has 20 frames: at most 10"),
        (MediaLimits(max_side=100), "160 x 120 pixels is too large: at most 100 a side"),
        (MediaLimits(max_pixels=10_000), "at most 10000 pixels in all"),
        (MediaLimits(video_formats=("webm",)), "format mp4 is not allowed on this server: only webm"),
    ):
        with pytest.raises(MediaError, match=text):
            video.convert(film, VideoRules(limits=limits))
    webm = video_file(TWENTY, "webm", "libvpx")  # whose header does not tell how many
    with pytest.raises(MediaError, match="has too many frames: at most 10"):
        video.convert(webm, VideoRules(limits=MediaLimits(max_frames=10)))
    with pytest.raises(MediaError, match=r"is a sound \(wav\): only videos"):
        video.convert(wav(SOUND), VideoRules())


def test_no_larger_picture_is_decoded_than_is_allowed(film: bytes) -> None:
    file = inspect(film)
    with in_memory(file) as descriptor:
        with reading(file, descriptor, max_pixels=160 * 120) as container:
            assert len(list(decoded(container, container.streams.video[0], 160 * 120))) == 20
        too_large = pytest.raises(MediaError, match="has pictures of 160 x 120 pixels")
        with reading(file, descriptor, max_pixels=160 * 120) as container, too_large:
            list(decoded(container, container.streams.video[0], 160 * 120 - 1))


def test_a_picture_far_larger_than_allowed_is_not_even_begun() -> None:
    file = inspect(video_file([picture(1, (1280, 720))], "webm", "libvpx"))
    with in_memory(file) as descriptor:
        with reading(file, descriptor, max_pixels=1000) as container:
            assert container.streams.video[0].pix_fmt is None  # nothing was decoded to find it out
        with reading(file, descriptor, max_pixels=1280 * 720) as container:
            assert list(decoded(container, container.streams.video[0], 1000)) == []


def test_work_and_results_are_limited(film: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    live = video_file(TWENTY, "webm", "libvpx", live="1")  # whose header tells no duration
    with pytest.raises(MediaError, match=r"its duration of 1\.\d s is too long: at most 1 s"):
        video.convert(live, VideoRules(limits=MediaLimits(max_seconds=1)))
    with monkeypatch.context() as patch:
        patch.setattr(video, "MOST_PIXELS", 160 * 120 * 19)
        with pytest.raises(MediaError, match=r"too much to convert: 384000 pixels .* at most 364800"):
            video.convert(film, to("webm"))
        assert video.convert(film, to("mp4")) is film
    monkeypatch.setattr(avio, "LARGEST_RESULT", 10_000)
    with pytest.raises(MediaError, match="converted it takes more than 10000 bytes"):
        video.convert(film, to("mkv"))


def test_fragments_that_are_cut_off_are_refused_even_if_they_fit() -> None:
    data = video_file(TWENTY, movflags="frag_keyframe+empty_moov", g="5")
    assert video.convert(data, VideoRules()) is data
    for end in (len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(MediaError, match="is cut off"):
            video.convert(data[:end], VideoRules())


def test_a_broken_frame_is_no_reason_to_refuse_the_others() -> None:
    data = bytearray(video_file(TWENTY, "webm", "libvpx", g="1"))
    at = data.index(b"\x9d\x01\x2a", len(data) // 2)  # the start of a frame
    data[at : at + 3] = b"xxx"
    frames, _ = frames_of(video.convert(bytes(data), to("mp4")))
    assert len({number_of(frame) for frame in frames} & set(range(20))) == 19
