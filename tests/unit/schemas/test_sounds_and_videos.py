"""Sounds and videos among the inputs of a request and the outputs of a model."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas import Endpoint, EndpointFileError, InputError, MediaLimits, OutputError, load_endpoints
from schemas.media import audio, video
from tests.unit.schemas.media.av_files import (
    frames_of,
    number_of,
    peak,
    picture,
    samples_of,
    sound_file,
    tone,
    video_file,
    wav,
)

Make = Callable[..., Endpoint]
SECOND = tone(1000, 1000)
WAV, MP3 = wav(SECOND), sound_file(SECOND, 44_100, "mp3", "libmp3lame")
FRAMES = [picture(number) for number in range(10)]
MP4 = video_file(FRAMES, sound=tone(500, 500, rate=48_000), movflags="faststart")
SPEECH = """
x = { type = "audio", required = true, format = { supported = ["wav"], default = "wav", auto_convert = true },
      sample_rate = { supported = [16000], default = 16000, auto_convert = true },
      channels = { supported = [1], auto_convert = true },
      sample_bit_depth = { supported = [16], auto_convert = true },
      duration = { maximum = 30, auto_convert = true } }
""".replace("\n      ", " ")
CLIP = """
x = { type = "video", format = { supported = ["webm"], auto_convert = true }, frame_rate = { maximum = 5,
      auto_convert = true }, size = { maximum = [80, 80], keep_aspect_ratio = true, auto_convert = true } }
""".replace("\n      ", " ")


def text(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def opened(url: str) -> tuple[str, bytes]:
    head, _, body = url.partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(body)


@pytest.fixture
def endpoint(tmp_path: Path) -> Make:
    """Gives a function that makes an endpoint of lines of its INPUTS and OUTPUTS tables."""

    def make(inputs: str = "", outputs: str = "", **limits: Any) -> Endpoint:
        head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n'
        (tmp_path / "it.toml").write_text(f"{head}[INPUTS]\n{inputs}\n[OUTPUTS]\n{outputs}\n")
        return load_endpoints([tmp_path], MediaLimits(**limits))["it"]

    return make


def refusal(endpoint: Endpoint, **values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        endpoint.load_inputs(values)
    return caught.value.messages


@pytest.mark.parametrize("value", [text(MP3, "audio/mpeg"), base64.b64encode(MP3).decode(), MP3])
def test_speech_models_get_16_khz_mono_wav(endpoint: Make, value: Any) -> None:
    media_type, data = opened(endpoint(SPEECH).load_inputs({"x": value})["x"])
    info = audio.probe(data)
    assert media_type == "audio/wav"
    assert (info.sound.codec, info.sound.sample_rate, info.sound.channels) == ("pcm_s16le", 16_000, 1)
    samples, rate = samples_of(data)
    assert round(peak(samples[0], rate)) == 1000


def test_a_sound_that_fits_is_not_even_copied(endpoint: Make) -> None:
    url = text(MP3, "audio/mp3")
    assert endpoint('x = { type = "audio" }').load_inputs({"x": url})["x"] is url


def test_videos_are_converted_as_the_file_says(endpoint: Make) -> None:
    media_type, data = opened(endpoint(CLIP).load_inputs({"x": text(MP4, "video/mp4")})["x"])
    assert media_type == "video/webm"
    frames, _ = frames_of(data)
    assert [number_of(frame) for frame in frames] == [0, 2, 4, 6, 8]
    assert frames[0].shape == (60, 80, 3)
    samples, rate = samples_of(data)
    assert round(peak(samples[0], rate), -1) == 500


def test_lists_name_the_file_that_is_wrong(endpoint: Make) -> None:
    it = endpoint(SPEECH.replace('"audio"', '"audio_list", max_items = 2'))
    assert len(it.load_inputs({"x": [MP3, WAV]})["x"]) == 2
    assert refusal(it, x=[MP3, MP3[:3000]]) == [
        "Parameter x[1]: is cut off: of 1.0 s that its header promises 0.2 s are there!"
    ]
    assert "at most 2 allowed" in refusal(it, x=[MP3] * 3)[0]


@pytest.mark.parametrize(
    ("inputs", "value", "message"),
    [
        ('x = { type = "audio" }', MP4, "Parameter x: is a video: only sound is taken!"),
        (
            'x = { type = "audio" }',
            b"hello",
            "of a known format: send wav, mp3, ogg, flac, m4a, webm, mp4, mov",
        ),
        ('x = { type = "video" }', WAV, "Parameter x: is a sound (wav): only videos are taken, as mp4, webm"),
        ('x = { type = "audio" }', "!", "Parameter x: is not valid base64"),
        ('x = { type = "audio", sample_rate = { supported = [16000] } }', WAV, "sample rate of 44100 Hz"),
        ('x = { type = "video", duration = { maximum = 0.5 } }', MP4, "at most 0.5 s allowed"),
        ('x = { type = "video", max_bytes = 1000 }', MP4, "at most 1000 allowed"),
    ],
)
def test_what_is_refused_says_why(endpoint: Make, inputs: str, value: Any, message: str) -> None:
    assert message in refusal(endpoint(inputs), x=value)[0]


def test_chats_hold_sounds_and_videos(endpoint: Make) -> None:
    it = endpoint(
        'x = { type = "chat_context", support = ["text", "audio", "video"], '
        'param = { audio = { format = { supported = ["wav"], auto_convert = true } } } }'
    )
    content = [{"text": "listen"}, {"audio": text(MP3, "audio/mp3")}, {"video": text(MP4, "video/mp4")}]
    (message,) = it.load_inputs({"x": [{"role": "user", "content": content}]})["x"]
    assert [opened(next(iter(item.values())))[0] for item in message["content"][1:]] == [
        "audio/wav",
        "video/mp4",
    ]


def test_samples_are_written_as_declared(endpoint: Make) -> None:
    it = endpoint(outputs='x = { type = "audio", format = "MP3", sample_rate = 16000, channels = 1 }')
    made = it.dump_outputs({"x": tone(1000, rate=16_000)})
    assert json.loads(json.dumps(made)) == made
    media_type, data = opened(made["x"])
    assert media_type == "audio/mp3"
    samples, rate = samples_of(data)
    assert (samples.shape[0], rate, round(peak(samples[0], rate))) == (1, 16_000, 1000)


def test_lists_of_sounds_may_mix_all_that_a_sound_may_be(endpoint: Make) -> None:
    it = endpoint(outputs='x = { type = "audio_list", format = "wav", sample_rate = 16000 }')
    url = text(b"anything", "audio/wav")
    made = it.dump_outputs({"x": [SECOND, (SECOND, 44_100), MP3, io.BytesIO(WAV), url]})["x"]
    assert [audio.probe(opened(item)[1]).sound.sample_rate for item in made[:4]] == [16_000] * 4
    assert made[4] == url


def test_a_sound_of_pydub_is_written(endpoint: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for ffmpeg
        pydub = pytest.importorskip("pydub")
        segment = pydub.AudioSegment.from_file(io.BytesIO(WAV), "wav")[:500] - 6
    it = endpoint(outputs='x = { type = "audio", format = "wav" }')
    samples, rate = samples_of(opened(it.dump_outputs({"x": segment})["x"])[1])
    assert samples.shape == (2, rate // 2)
    assert np.abs(samples).max() == pytest.approx(0.25, abs=0.01)


def test_frames_are_written_as_declared(endpoint: Make) -> None:
    it = endpoint(outputs='x = { type = "video", format = "WEBM", frame_rate = 10, size = [80, 80] }')
    media_type, data = opened(it.dump_outputs({"x": np.stack(FRAMES)})["x"])
    assert media_type == "video/webm"
    info = video.probe(data)
    assert (info.size, float(info.frame_rate), info.frames) == ((80, 60), 10, 10)


def test_lists_of_videos_are_written(endpoint: Make) -> None:
    it = endpoint(outputs='x = { type = "video_list", frame_rate = 10 }')
    for value in ([FRAMES, MP4], np.stack([FRAMES, FRAMES])):
        made = it.dump_outputs({"x": value})["x"]
        assert [video.probe(opened(item)[1]).frames for item in made] == [10, 10]


@pytest.mark.parametrize(
    ("output", "value", "text"),
    [
        ("audio", np.full(100, np.nan), 'Output "x": holds samples of nan'),
        ("audio", np.zeros(0), 'Output "x": holds no samples'),
        ("audio", (SECOND, 0), 'Output "x": has a sample rate of 0 Hz: it must be 1 to 384000 Hz'),
        ("audio_list", [SECOND, np.zeros(0)], r'Output "x\[1\]": holds no samples'),
        ("audio", 7, 'Output "x": must be an array, .* not integer'),
        ("audio_list", SECOND, "must be a list of audios"),
        ("video", [np.zeros((4, 4, 7))], 'Output "x": is an array of shape'),
        ("video", b"x", 'Output "x": is no sound and no video'),
    ],
)
def test_nonsense_of_models_names_the_output(endpoint: Make, output: str, value: Any, text: str) -> None:
    it = endpoint(outputs=f'x = {{ type = "{output}", sample_rate = 8000, frame_rate = 10 }}')
    with pytest.raises(OutputError, match=text):
        it.dump_outputs({"x": value})


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ('x = { type = "audio", format = { supported = ["wave"] } }', "", 'did you mean "wav"'),
        ('x = { type = "video", frame_rate = { maximum = 0 } }', "", "must be greater than 0"),
        ("", 'x = { type = "audio", format = "MP5" }', "'MP5' is unknown"),
        ("", 'x = { type = "video", frame_rate = 0 }', "too low"),
    ],
)
def test_mistakes_in_files_stop_the_start(endpoint: Make, inputs: str, outputs: str, text: str) -> None:
    with pytest.raises(EndpointFileError, match=text):
        endpoint(inputs, outputs)
