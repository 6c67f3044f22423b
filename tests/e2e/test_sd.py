"""The endpoint `sd` the whole way: HTTP, RabbitMQ, a real worker, a tiny pipeline from a folder."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy
import pytest
from PIL import Image

from tests.services import wait_until

KEY = "a-key-for-the-tests"
SIZE = {"width": 512, "height": 512}
NEARLY = 4  # of 255: JPEGs of pixels that differ by one
DESCRIPTION = 0x010E  # EXIF


@pytest.fixture
def env(tiny_pipelines):
    return {"STOKER_SD_MODEL": str(tiny_pipelines["sdxl"]), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def http(stoker_home, start_api, env):
    (stoker_home / "demo-key").write_text(KEY)
    api = start_api(env)
    with httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        yield client


def opened(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def difference(url, other):
    images = (numpy.asarray(opened(url), "int16"), numpy.asarray(opened(other), "int16"))
    return numpy.abs(images[0] - images[1]).mean()


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_jobs_are_painted_together_and_one_that_is_canceled_leaves(http, start_worker, env):
    worker = start_worker("sd_gpu", env)

    def paint(**inputs):
        answer = http.post("/sd", json={"prompt": "a cat", "steps": 4} | inputs)
        assert answer.status_code == 200, answer.text
        return answer.json()

    alone = paint(seed=5, num_samples=2)
    assert [opened(url).size for url in alone["images"]] == [(64, 64)] * 2  # what the model was trained with
    told = [json.loads(opened(url).getexif()[DESCRIPTION]) for url in alone["images"]]
    assert [(said["prompt"], said["seed"]) for said in told] == [("a cat", 5), ("a cat", 6)]
    from_image = paint(image=paint(seed=8, **SIZE)["images"][0], strength=0.5)
    assert opened(from_image["images"][0]).size == (512, 512)

    long = http.post(
        "/sd",
        json={"prompt": "a dog", "steps": 100, "progress_images_every": 1, "wait_for_result": False} | SIZE,
    ).json()["job_id"]

    def previews():
        return http.get(f"/jobs/{long}").json()["progress"].get("progress_data", {}).get("progress_images")

    shown = wait_until(previews, 30, "a preview")
    assert opened(shown[0]).size == (64, 64)
    before = paint(seed=5, **SIZE)
    with ThreadPoolExecutor() as threads:
        joined = [threads.submit(paint, seed=5, **SIZE), threads.submit(paint, seed=6, **SIZE)]
        http.delete(f"/jobs/{long}")
        same, other = (answer.result() for answer in joined)
    assert wait_until(lambda: http.get(f"/jobs/{long}").json()["job_state"] == "canceled", 15, "the cancel")
    after = paint(seed=5, **SIZE)
    for answer in same, after:
        assert difference(answer["images"][0], before["images"][0]) < NEARLY
    assert difference(other["images"][0], before["images"][0]) > 10
    assert "died" not in worker.log() and "Traceback" not in worker.log()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_it_is_offered_only_where_weights_are_named(http, start_api):
    def names(client):
        return set(client.get("/api/endpoints").json()["endpoints"])

    with httpx.Client(base_url=start_api().url, headers=http.headers, timeout=60) as plain:
        assert names(http) - names(plain) == {"sd"}
        assert plain.post("/sd", json={"prompt": "a cat"}).status_code == 404
