"""Images, sounds and videos that are given as URLs."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from app.fetching import AT_ONCE, SHARE, Fetcher
from app.services import EXTENSION
from tests.conftest import StartApi
from tests.data.hostile import picture
from tests.integration.conftest import ALICE, PARTS, PlayedWorker
from tests.services import Site, answer

MEDIA = """
image = { type = "image" }
more = { type = "image_list", max_items = 3, max_bytes = 2000 }
chat = { type = "chat_context", support = ["text", "image"], max_items = 2 }
number = { type = "integer", maximum = 5 }
"""
JPEG = picture("JPEG", (60, 40))
HEAD = "data:image/jpeg;base64,"


def data_url(data: bytes) -> str:
    return HEAD + base64.b64encode(data).decode()


@pytest.fixture
def app(home: Path, make_app: Callable[..., Flask], site: Site) -> Flask:
    for name, allowed in {"open": "true", "shut": "false"}.items():
        text = f'[ENDPOINT]\nname = "{name}"\nallow_urls = {allowed}\n[WORKER]\nqueue = "{name}_cpu"\n{PARTS}'
        (home / "endpoints" / f"{name}.toml").write_text(text.replace("[INPUTS]", f"[INPUTS]{MEDIA}"))
    site.pages |= {"/a.jpg": answer(200, JPEG), "/text": answer(200, b"no image"), "/gone": answer(404)}
    return make_app(STOKER_OUTGOING_PRIVATE="127.0.0.1", STOKER_OUTGOING_PORTS=f"443:80:{site.port}")


@pytest.fixture
def send(post: Callable[..., Any]) -> Callable[..., Any]:
    return lambda name="open", **inputs: post(f"/{name}", wait_for_result=False, **inputs)


@pytest.mark.parametrize("as_text", [False, True])
def test_a_url_stands_for_its_file_everywhere(
    send: Callable[..., Any], site: Site, worker: PlayedWorker, as_text: bool
) -> None:
    url = site.url("/a.jpg?token=secret")
    chat: Any = [{"role": "user", "content": [{"text": "https://not.fetched/"}, {"image": url}]}]
    answered = send(
        image=url, more=[url, data_url(JPEG)], chat=json.dumps(chat) if as_text else chat, text=url, number=3
    )
    assert answered.status_code == 200, answered.json
    inputs = worker.take("open_cpu").inputs
    assert inputs["image"] == data_url(JPEG)
    assert inputs["more"] == [data_url(JPEG)] * 2
    assert inputs["chat"][0]["content"] == [{"text": "https://not.fetched/"}, {"image": data_url(JPEG)}]
    assert inputs["text"] == url  # no file is meant here
    assert [request.path for request in site.requests] == ["/a.jpg?token=secret"]  # once


def test_a_url_may_stand_in_a_query_and_a_form(app: Flask, site: Site, worker: PlayedWorker) -> None:
    fields = {"image": site.url("/a.jpg"), "wait_for_result": "false", "key": ALICE}
    assert app.test_client().get("/open", query_string=fields).status_code == 200
    assert app.test_client().post("/open", data=fields).status_code == 200
    assert [worker.take("open_cpu").inputs["image"] for _ in range(2)] == [data_url(JPEG)] * 2


def test_all_that_is_wrong_is_told_at_once_by_name(send: Callable[..., Any], site: Site) -> None:
    site.pages["/large"] = answer(200, bytes(3000))
    chat = [{"role": "user", "content": [{"image": site.url("/text")}]}]
    answered = send(
        image=site.url("/gone?token=secret"),
        more=["http://10.0.0.1/", site.url("/large"), "http://127.0.0.1:1/"],
        chat=chat,
        number=6,
    )
    assert answered.status_code == 400
    errors = answered.json["errors"]
    assert errors["image"] == ["Parameter image: its server answers with status 404!"]
    assert errors["more"][:2] == [
        "Parameter more[0]: is not at a public address!",
        "Parameter more[1]: holds more than 2000 bytes!",
    ]
    assert errors["more"][2].startswith("Parameter more[2]: names port 1: only ")
    assert errors["chat"][0].startswith("Parameter chat[0].content[0].image: ")
    assert "too high" in errors["number"][0]
    assert "secret" not in answered.text


def test_where_urls_are_not_taken_the_answer_says_what_to_send(send: Callable[..., Any], site: Site) -> None:
    answered = send("shut", image=site.url("/a.jpg"), more=[site.url("/a.jpg")])
    assert answered.status_code == 400
    what = "is a URL, and this endpoint takes none: send the file itself, as data URL, base64 or in a form!"
    assert answered.json["errors"] == {
        "image": [f"Parameter image: {what}"],
        "more": [f"Parameter more[0]: {what}"],
    }
    assert not site.requests


def test_files_over_the_number_are_not_fetched(send: Callable[..., Any], site: Site) -> None:
    urls = [site.url(f"/a.jpg?{n}") for n in range(4)]
    chat = [{"role": "user", "content": [{"image": url} for url in urls]}]
    answered = send(more=urls, chat=chat)
    assert "at most 3 allowed" in answered.json["errors"]["more"][0]
    assert "at most 2 allowed" in answered.json["errors"]["chat"][0]
    assert not site.requests


def test_all_files_of_a_request_are_no_larger_than_a_body_may_be(
    app: Flask, make_app: Callable[..., Flask], site: Site
) -> None:
    site.pages["/other.jpg"] = answer(200, JPEG)
    small = make_app(
        STOKER_OUTGOING_PRIVATE="127.0.0.1",
        STOKER_OUTGOING_PORTS=str(site.port),
        STOKER_MAX_BODY_SIZE=str(len(JPEG) + 200),
    )
    found = small.extensions[EXTENSION].fetcher.fetch(
        "alice", {site.url("/a.jpg"): 9999, site.url("/other.jpg"): 9999}
    )
    assert found[site.url("/a.jpg")] == JPEG
    assert str(found[site.url("/other.jpg")]) == "holds more than 200 bytes"
    client, headers = small.test_client(), {"Authorization": f"Bearer {ALICE}"}
    upload = f"upload:{client.post('/uploads', data=JPEG, headers=headers).json['id']}"
    both = {"image": upload, "more": site.url("/a.jpg"), "wait_for_result": "false"}
    answered = client.get("/open", query_string=both, headers=headers)
    assert answered.json["errors"] == {"more": ["Parameter more[0]: holds more than 200 bytes!"]}


def test_uploads_are_taken_beside_urls_and_where_these_are_not(
    app: Flask, send: Callable[..., Any], site: Site, worker: PlayedWorker
) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}
    upload = f"upload:{app.test_client().post('/uploads', data=JPEG, headers=headers).json['id']}"
    assert send(image=upload, more=[site.url("/a.jpg"), upload]).status_code == 200
    inputs = worker.take("open_cpu").inputs
    assert (inputs["image"], inputs["more"]) == (data_url(JPEG), [data_url(JPEG)] * 2)
    assert list(send("shut", image=upload, more=site.url("/a.jpg")).json["errors"]) == ["more"]
    assert send("shut", image=upload).status_code == 200


def test_a_client_whose_servers_are_slow_leaves_others_their_turn(app: Flask, site: Site) -> None:
    came, done = threading.Semaphore(0), threading.Event()

    def slow(handler: Any) -> None:
        came.release()
        done.wait(20)
        answer(404)(handler)

    site.pages["/slow"] = slow
    fetcher: Fetcher = app.extensions[EXTENSION].fetcher
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            pool.submit(fetcher.fetch, "mallory", {site.url("/slow"): 9999})
        assert all(came.acquire(timeout=20) for _ in range(SHARE))
        try:
            assert fetcher.fetch("alice", {site.url("/a.jpg"): 9999}) == {site.url("/a.jpg"): JPEG}
            assert [request.path for request in site.requests].count("/slow") == SHARE
        finally:
            done.set()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_slow_servers_hold_up_nobody_else(
    stoker_env: dict[str, str], tmp_path: Path, stoker_home: Path, site: Site, start_api: StartApi
) -> None:
    (stoker_home / "demo-key").write_text("a-key-for-the-tests")
    folder = tmp_path / "urls"
    folder.mkdir()
    text = f'[ENDPOINT]\nname = "open"\nallow_urls = true\n[WORKER]\nqueue = "open_cpu"\n{PARTS}'
    (folder / "open.toml").write_text(text.replace("[INPUTS]", f"[INPUTS]{MEDIA}"))

    def slow(handler: Any) -> None:
        time.sleep(1.0)
        answer(404)(handler)

    site.pages["/slow"] = slow
    allowed = {"STOKER_OUTGOING_PRIVATE": "localhost", "STOKER_OUTGOING_PORTS": str(site.port)}
    api = start_api({"STOKER_ENDPOINTS": str(folder), **allowed})
    key = {"Authorization": "Bearer a-key-for-the-tests"}
    with ThreadPoolExecutor(12) as pool, httpx.Client(base_url=api.url, headers=key, timeout=60) as client:
        began = time.monotonic()
        json = {"image": site.url("/slow", "localhost")}
        held = [pool.submit(client.post, "/open", json=json) for _ in range(12)]
        rounds = 0
        while not all(future.done() for future in held):
            assert client.get("/healthz").status_code == 200
            rounds += 1
        assert time.monotonic() - began < 8  # side by side: one after the other it would be 12 s
        assert rounds > 20
    assert {future.result().status_code for future in held} == {400}
    assert "status 404" in held[0].result().text
