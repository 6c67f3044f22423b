"""Media among the inputs of a job, as a model opens them."""

from __future__ import annotations

import base64

import numpy
import pytest

from tests.data.hostile import picture
from tests.unit.schemas.media.av_files import picture as frame
from tests.unit.schemas.media.av_files import sound_file, tone, video_file, wav
from workers.models import media_bytes, open_image, open_sound, open_video


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_an_image_is_decoded() -> None:
    image = open_image(url(picture("PNG", (30, 20))))
    assert (image.format, image.size, image.mode) == ("PNG", (30, 20), "RGB")
    assert image.getpixel((0, 0)) is not None, "its file may be closed"


def test_a_sound_is_samples_of_its_channels_and_a_rate() -> None:
    original = tone(1000, 2000, rate=16_000)
    for data, error in ((wav(original, 16_000), 1e-4), (sound_file(original, 16_000, "flac", "flac"), 1e-3)):
        samples, rate = open_sound(url(data))
        assert samples.dtype == numpy.float32
        assert (samples.shape, rate) == (original.shape, 16_000)
        assert float(numpy.abs(samples - original).max()) < error


@pytest.mark.parametrize("degrees", [0, 90, -90, 180])
def test_a_video_is_upright_frames_and_a_rate(degrees: int) -> None:
    lying = [frame(number) for number in range(5)]
    frames, rate = open_video(url(video_file(lying, rotation=degrees)))
    upright = numpy.stack([numpy.rot90(picture, degrees // 90) for picture in lying])
    assert (frames.shape, frames.dtype.name, rate) == (upright.shape, "uint8", 10.0)
    assert float(numpy.abs(frames.astype(int) - upright).mean()) < 5


def test_the_sound_of_a_video_opens_like_any_other() -> None:
    samples, rate = open_sound(url(video_file([frame(1)] * 10, sound=tone(500, 500, rate=48_000))))
    assert (samples.shape[0], rate) == (2, 48_000)


def test_any_file_is_there_as_bytes() -> None:
    assert media_bytes(url(b"any bytes")) == b"any bytes"


@pytest.mark.parametrize("value", ["hello", "data:image/png,AAAA", "http://x/data:;base64,AA", ""])
def test_a_string_that_is_no_file_is_a_mistake_in_the_endpoint_file(value: str) -> None:
    for opener in (media_bytes, open_image, open_sound, open_video):
        with pytest.raises(ValueError, match="is this input declared"):
            opener(value)
