"""Sounds and videos the whole way: as a client sends them, through a real worker and its model, and back."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.unit.schemas.media.av_files import (
    frames_of,
    number_of,
    peak,
    picture,
    samples_of,
    sound_file,
    tone,
    video_file,
)

KEY = "a-key-for-the-tests"


@pytest.fixture
def http(stoker_home, start_api):
    (stoker_home / "demo-key").write_text(KEY)
    with httpx.Client(
        base_url=start_api().url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    ) as client:
        yield client


def opened(url, head):
    assert url.startswith(f"data:{head};base64,")
    return base64.b64decode(url.partition(",")[2])


def test_a_sound_and_a_video_go_in_and_out(http, start_worker):
    start_worker("sounds_cpu")
    speech = sound_file(tone(1000, 1000, rate=48_000, seconds=2), 48_000, "ogg", "libopus")
    clip = video_file([picture(number) for number in range(20)], sound=tone(500, 500, rate=48_000))
    answer = http.post("/sounds", files={"speech": speech, "clip": clip}).json()
    assert answer["success"], answer
    assert answer["seen"] == ["data:audio/wav", 1, 32_000, 16_000, 10, 48, 64, 3, 5.0]
    samples, rate = samples_of(opened(answer["speech"], "audio/mp3"))
    assert (samples.shape[0], rate, round(peak(samples[0], rate), -1)) == (1, 16_000, 1000)
    frames, _ = frames_of(opened(answer["clip"], "video/webm"))
    assert [number_of(frame) for frame in frames] == [18, 16, 14, 12, 10, 8, 6, 4, 2, 0]


def test_damaged_and_wrong_files_are_all_told_at_once(http):
    speech = sound_file(tone(1000, seconds=3), 44_100, "mp3", "libmp3lame")
    answer = http.post("/sounds", files={"speech": speech[: len(speech) // 3], "clip": speech})
    assert answer.status_code == 400
    errors = answer.json()["errors"]
    assert "is cut off" in errors["speech"][0]
    assert "is a sound (mp3): only videos are taken" in errors["clip"][0]
