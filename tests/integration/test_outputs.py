"""Outputs as files and uploads of the API, on a real Redis, with workers that the tests play."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.services import EXTENSION
from tasks.errors import StoreUnavailable, TooManyUploads
from tasks.jobs import JobState
from tasks.store.texts import PIECE
from tasks.webhooks.message import body
from tests.data.hostile import picture
from tests.integration.conftest import ALICE, BOB, PARTS, PlayedWorker
from tests.services import RedisServer

HEADERS = {"Authorization": f"Bearer {ALICE}"}
OTHER = {"Authorization": f"Bearer {BOB}"}
PNG, JPEG = picture("PNG"), picture("JPEG")
LARGE = PNG + os.urandom(300_001)
MEDIA = f"""
[ENDPOINT]
name = "media"
max_queued_bytes = 1000000
[WORKER]
queue = "media_cpu"
{PARTS.split("[INPUTS]")[0]}
[INPUTS]
text = {{ type = "string" }}
image = {{ type = "image" }}
images = {{ type = "image_list" }}
chat = {{ type = "chat_context", support = ["text", "image"] }}
[OUTPUTS]
text = {{ type = "string" }}
vector = {{ type = "json" }}
image = {{ type = "image" }}
images = {{ type = "image_list" }}
audio = {{ type = "audio" }}
"""


@pytest.fixture
def home(home: Path) -> Path:
    (home / "endpoints" / "media.toml").write_text(MEDIA)
    return home


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def ended(client: FlaskClient, worker: PlayedWorker, app: Flask) -> Callable[..., str]:
    """Let a job end with outputs as a worker stores them; gives its id."""

    def end(state: JobState = JobState.DONE, large: dict[str, str] | None = None, **outputs: Any) -> str:
        body = {"text": "hi", "wait_for_result": False}
        job_id = str(client.post("/media", json=body, headers=HEADERS).json["job_id"])
        job = worker.start("media_cpu")
        blobs: list[Any] = []
        for place, text in (large or {}).items():
            worker.store.put_texts({f"blob-of-{place}": text}, 60)
            name, _, index = place.partition("-")
            blobs.append(([name, int(index)] if index else [name], f"blob-of-{place}"))
        worker.end(job, state=state, outputs=outputs, blobs=blobs)
        return job_id

    return end


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def disposition(answer: Any) -> str:
    return str(answer.headers["Content-Disposition"])


def test_an_output_is_the_bytes_of_its_file(client: FlaskClient, ended: Callable[..., str]) -> None:
    job_id = ended(large={"image": url(LARGE, "text/html")}, image=None, text="hi")
    answer = client.get(f"/jobs/{job_id}/outputs/image", headers=HEADERS)
    assert (answer.status_code, answer.data) == (200, LARGE)
    assert answer.mimetype == "image/png"  # by its bytes, whatever the model calls it
    assert answer.content_length == len(LARGE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert disposition(answer) == f'inline; filename="media-{job_id[:8]}-image.png"'
    head = client.head(f"/jobs/{job_id}/outputs/image", headers=HEADERS)
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(LARGE))
    # The same as in the answer of the job, which streams it.
    told = client.get(f"/jobs/{job_id}", headers=HEADERS).json["job_result"]
    assert (told["image"], told["text"]) == (url(LARGE, "text/html"), "hi")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1-99999", 1, 100_000),
        ("bytes=200000-", 200_000, len(LARGE)),
        ("bytes=-5", -5, len(LARGE)),
        ("bytes=-999999999", 0, len(LARGE)),
        ("bytes=7-999999999", 7, len(LARGE)),
    ],
)
def test_a_range_is_a_part_of_the_file(
    client: FlaskClient, ended: Callable[..., str], asked: str, start: int, stop: int
) -> None:
    job_id = ended(large={"image": url(LARGE)}, image=None)
    answer = client.get(f"/jobs/{job_id}/outputs/image", headers=HEADERS | {"Range": asked})
    first = start % len(LARGE)
    assert (answer.status_code, answer.data) == (206, LARGE[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {first}-{stop - 1}/{len(LARGE)}"
    assert answer.content_length == stop - first


def test_ranges_that_are_not_served(client: FlaskClient, ended: Callable[..., str]) -> None:
    path = f"/jobs/{ended(image=url(PNG))}/outputs/image"
    beyond = client.get(path, headers=HEADERS | {"Range": f"bytes={len(PNG)}-"})
    assert (beyond.status_code, beyond.json["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["Content-Range"] == f"bytes */{len(PNG)}"
    for several in ("bytes=0-1,3-4", "lines=1-2", "bytes=x", "bytes=5-2"):
        assert client.get(path, headers=HEADERS | {"Range": several}).data == PNG
    nothing = client.get(f"/jobs/{ended(text='')}/outputs/text", headers=HEADERS | {"Range": "bytes=0-1023"})
    assert (nothing.status_code, nothing.data) == (200, b"")


def test_what_a_client_has_already_is_not_sent_again(client: FlaskClient, ended: Callable[..., str]) -> None:
    path = f"/jobs/{ended(image=url(PNG))}/outputs/image"
    tag = client.get(path, headers=HEADERS).headers["ETag"]
    same = client.get(path, headers=HEADERS | {"If-None-Match": tag})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    assert client.get(path, headers=HEADERS | {"If-None-Match": '"other"'}).data == PNG
    part = {"Range": "bytes=0-3"}
    assert client.get(path, headers=HEADERS | part | {"If-Range": tag}).data == PNG[:4]
    assert client.get(path, headers=HEADERS | part | {"If-Range": '"other"'}).data == PNG


def test_files_of_a_list_have_numbers(client: FlaskClient, ended: Callable[..., str]) -> None:
    two = ended(large={"images-1": url(LARGE)}, images=[url(JPEG), None])
    assert client.get(f"/jobs/{two}/outputs/images/0", headers=HEADERS).data == JPEG
    second = client.get(f"/jobs/{two}/outputs/images/1", headers=HEADERS)
    assert second.data == LARGE and disposition(second).endswith('-images-1.png"')
    for path in ("images", "images/2", "images/x", "images/-1"):
        answer = client.get(f"/jobs/{two}/outputs/{path}", headers=HEADERS)
        assert (answer.status_code, answer.json["success"]) == (404, False)
    one = ended(images=[url(JPEG)], image=url(PNG))
    assert client.get(f"/jobs/{one}/outputs/images", headers=HEADERS).data == JPEG
    assert client.get(f"/jobs/{one}/outputs/image/0", headers=HEADERS).data == PNG
    assert client.get(f"/jobs/{one}/outputs/image/1", headers=HEADERS).status_code == 404


def test_what_is_no_file_comes_as_text_or_json(client: FlaskClient, ended: Callable[..., str]) -> None:
    long = "Zürich " * 20_000
    job_id = ended(
        large={"text": long}, text=None, vector=[1, {"x": "ü"}], image="https://x/a.png", audio="a"
    )

    def get(name: str) -> tuple[str, str]:
        answer = client.get(f"/jobs/{job_id}/outputs/{name}", headers=HEADERS)
        return answer.content_type, answer.text

    assert get("text") == ("text/plain; charset=utf-8", long)
    assert get("vector") == ("application/json", '[1,{"x":"ü"}]')
    assert get("vector/1") == ("application/json", '{"x":"ü"}')
    assert get("image") == ("text/plain; charset=utf-8", "https://x/a.png")
    broken = ended(image="data:image/png;base64,AA=A", audio=url(b"no sound", "audio/wav"))
    answer = client.get(f"/jobs/{broken}/outputs/image", headers=HEADERS)
    assert (answer.mimetype, answer.text) == ("text/plain", "data:image/png;base64,AA=A")
    unknown = client.get(f"/jobs/{broken}/outputs/audio", headers=HEADERS)
    assert (unknown.mimetype, unknown.data) == ("application/octet-stream", b"no sound")


def test_links_of_webhooks_lead_to_what_they_stand_for(
    client: FlaskClient, ended: Callable[..., str], app: Flask
) -> None:
    long = "long " * 20_000
    job_id = ended(
        large={"image": url(LARGE), "images-1": url(PNG), "vector-0": long, "text": long},
        image=None,
        images=[url(JPEG), None],
        vector=[None, 2],
        text=None,
    )
    result = app.extensions[EXTENSION].store.get(job_id).result
    record = {"state": "done", "endpoint": "media", "event": "completed", "created": "0"}
    told = json.loads(body(job_id, record | {"result": json.dumps(result.to_wire())}))["data"]["outputs"]
    links = [told["image"], *told["images"], told["vector"][0], told["text"]]
    found = [client.get(link["url"], headers=HEADERS).data for link in links]
    assert found == [LARGE, JPEG, PNG, long.encode(), long.encode()]


def test_a_job_without_the_output_says_why(
    client: FlaskClient, ended: Callable[..., str], redis_server: RedisServer
) -> None:
    def refused(job_id: str, path: str = "image", headers: Any = HEADERS) -> tuple[int, str]:
        answer = client.get(f"/jobs/{job_id}/outputs/{path}", headers=headers)
        return answer.status_code, answer.json["code"]

    done = ended(large={"image": url(LARGE)}, image=None, text="hi")
    assert refused(done, headers=OTHER) == (404, "job_not_found")
    assert refused("no-such-job") == (404, "job_not_found")
    assert client.get(f"/jobs/{done}/outputs/image").status_code == 401
    assert {refused(done, path) for path in ("audio", "nothing", "text/0", "text/1", "..")} == {
        (404, "output_not_found")
    }
    redis_server.client().delete("blob:blob-of-image")
    assert refused(done) == (404, "output_not_found")
    assert client.get(f"/jobs/{done}", headers=HEADERS).json["job_result"]["image"] is None
    assert refused(ended(JobState.FAILED)) == (404, "output_not_found")
    waiting = client.post("/media", json={"wait_for_result": False}, headers=HEADERS).json["job_id"]
    assert refused(waiting) == (409, "job_not_done")


# -- uploads


@pytest.fixture
def upload(client: FlaskClient) -> Callable[..., str]:
    def send(data: bytes, headers: Any = HEADERS) -> str:
        answer = client.post("/uploads", data=data, headers=headers)
        assert answer.status_code == 201, answer.text
        return f"upload:{answer.json['id']}"

    return send


@pytest.fixture
def call(client: FlaskClient) -> Callable[..., Any]:
    return lambda headers=HEADERS, **inputs: client.post(
        "/media", json={"wait_for_result": False, **inputs}, headers=headers
    )


def test_an_upload_is_kept_and_described_for_its_key(client: FlaskClient, redis_server: RedisServer) -> None:
    created = client.post("/uploads?key=" + ALICE, data=PNG, content_type="application/x-www-form-urlencoded")
    body = created.json
    assert created.status_code == 201 and created.headers["Location"] == f"/uploads/{body['id']}"
    assert (body["success"], body["bytes"], body["content_type"]) == (True, len(PNG), "image/png")
    assert client.get(f"/uploads/{body['id']}", headers=HEADERS).json == body
    for path, headers in ((f"/uploads/{body['id']}", OTHER), ("/uploads/unknown", HEADERS)):
        for method in (client.get, client.delete):
            answer = method(path, headers=headers)
            assert (answer.status_code, answer.json["code"]) == (404, "upload_not_found")
    assert 3590 < redis_server.client().ttl(f"blob:{body['id']}") <= 3600
    assert client.delete(f"/uploads/{body['id']}", headers=HEADERS).json["success"]
    assert client.get(f"/uploads/{body['id']}", headers=HEADERS).status_code == 404
    assert not redis_server.client().exists(f"blob:{body['id']}")


def test_a_form_may_bring_several_files(client: FlaskClient) -> None:
    files = [(io.BytesIO(PNG), "a"), (io.BytesIO(b"whatever"), "b.exe")]
    body = client.post("/uploads", data={"x": files, "y": (io.BytesIO(JPEG), "c")}, headers=HEADERS).json
    kinds = [(upload["bytes"], upload["content_type"]) for upload in body["uploads"]]
    assert kinds == [(len(PNG), "image/png"), (8, "application/octet-stream"), (len(JPEG), "image/jpeg")]
    one = client.post("/uploads", data={"x": (io.BytesIO(PNG), "a"), "key": ALICE}).json
    assert one["bytes"] == len(PNG)
    for data in ({"x": "text"}, {"x": (io.BytesIO(b""), "a")}, {}, b""):
        kind = "multipart/form-data" if isinstance(data, dict) else "image/png"
        answer = client.post("/uploads", data=data, content_type=kind, headers=HEADERS)
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")


def test_any_place_for_a_file_takes_an_upload_as_often_as_it_likes(
    call: Callable[..., Any], upload: Callable[..., str], worker: PlayedWorker, client: FlaskClient
) -> None:
    png, jpeg = upload(PNG), upload(JPEG)
    chat = [{"role": "user", "content": [{"image": png}]}]
    assert call(image=png, images=[jpeg, png], chat=chat).status_code == 200
    inputs = worker.take("media_cpu").inputs
    assert (inputs["image"], inputs["images"]) == (url(PNG), [url(JPEG, "image/jpeg"), url(PNG)])
    assert inputs["chat"][0]["content"] == [{"image": url(PNG)}]
    query = {"image": png, "wait_for_result": "false"}
    assert client.get("/media", query_string=query, headers=HEADERS).status_code == 200
    form = {"images": jpeg, "image": (io.BytesIO(JPEG), "x"), "wait_for_result": "0"}
    assert client.post("/media", data=form, headers=HEADERS).status_code == 200
    assert worker.take("media_cpu").inputs["image"] == url(PNG)
    assert worker.take("media_cpu").inputs["images"] == [url(JPEG, "image/jpeg")]


def test_an_upload_that_is_not_there_is_refused_by_name(
    call: Callable[..., Any], upload: Callable[..., str], client: FlaskClient
) -> None:
    mine, foreign, gone = upload(PNG), upload(PNG, OTHER), upload(PNG)
    client.delete(f"/uploads/{gone.partition(':')[2]}", headers=HEADERS)
    answer = call(image=foreign, images=[mine, gone, "upload:"], chat=[{"role": "user", "content": "x"}])
    sentence = "names no upload of this API key: it is unknown, expired or deleted!"
    assert (answer.status_code, answer.json["errors"]) == (
        400,
        {
            "image": [f"Parameter image: {sentence}"],
            "images": [f"Parameter images[{place}]: {sentence}" for place in (1, 2)],
        },
    )


def test_files_of_references_may_be_as_large_together_as_a_body(
    make_app: Callable[..., Flask], upload: Callable[..., str]
) -> None:
    one, two = upload(PNG), upload(PNG)
    small = make_app(STOKER_MAX_BODY_SIZE=str(len(PNG) + 100)).test_client()
    body = {"images": [one, one], "wait_for_result": False}
    assert small.post("/media", json=body, headers=HEADERS).status_code == 200
    answer = small.post("/media", json={**body, "image": two}, headers=HEADERS)
    assert answer.status_code == 400 and "all files of a request" in answer.text


def test_uploads_of_a_key_are_limited(make_app: Callable[..., Flask], redis_server: RedisServer) -> None:
    few = make_app(STOKER_UPLOADS_PER_KEY="2", STOKER_UPLOAD_BYTES_PER_KEY="100").test_client()

    def send(size: int, headers: Any = HEADERS) -> Any:
        return few.post("/uploads", data=b"x" * size, headers=headers)

    first = send(60)
    assert first.status_code == 201
    refused = send(41)
    assert (refused.status_code, refused.json["code"], refused.json["limit"]) == (
        429,
        "too_many_uploads",
        "bytes",
    )
    assert 3590 < int(refused.headers["Retry-After"]) <= 3600
    assert send(101, OTHER).status_code == 413
    assert send(40).status_code == 201
    assert send(1).json["limit"] == "files"
    assert send(100, OTHER).status_code == 201  # another key
    assert len(list(redis_server.client().scan_iter("blob:*"))) == 3
    few.delete(f"/uploads/{first.json['id']}", headers=HEADERS)
    assert send(60).status_code == 201


def test_an_upload_counts_once_though_the_answer_of_the_store_was_lost(
    make_app: Callable[..., Flask], answers_are_lost: None
) -> None:
    uploads = make_app(STOKER_UPLOADS_PER_KEY="2").extensions[EXTENSION].uploads
    kept = uploads.add("x", [(b"1", "a/b"), (b"2", "a/b")])
    assert [uploads.content(upload) for upload in kept] == [b"1", b"2"]
    with pytest.raises(TooManyUploads):
        uploads.add("x", [(b"3", "a/b")])


def test_of_uploads_that_come_together_all_are_kept_or_none(
    make_app: Callable[..., Flask], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = make_app(STOKER_UPLOADS_PER_KEY="2").extensions[EXTENSION]
    keep, names = services.store.put_texts, iter(["first"])

    def keep_one(texts: Any, lifetime: float) -> None:
        if next(names, None) is None:
            raise StoreUnavailable("away")
        keep(texts, lifetime)

    with monkeypatch.context() as patch:
        patch.setattr(services.store, "put_texts", keep_one)
        with pytest.raises(StoreUnavailable):
            services.uploads.add("x", [(b"1", "a/b"), (b"2", "a/b")])
    assert list(redis_server.client().scan_iter("blob:*")) == []
    assert len(services.uploads.add("x", [(b"3", "a/b"), (b"4", "a/b")])) == 2


def test_expired_uploads_count_no_more(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = make_app(STOKER_UPLOADS_PER_KEY="1").extensions[EXTENSION].uploads
    (old,) = uploads.add("x", [(b"1", "a/b")])
    monkeypatch.setattr("tasks.uploads.time.time", lambda: old.expires + 1)
    assert uploads.find("x", old.id) is None
    (new,) = uploads.add("x", [(b"22", "a/b")])
    assert uploads.content(new) == b"22" and not uploads.drop("x", old.id)


def test_a_large_text_goes_in_pieces_whatever_its_characters(worker: PlayedWorker) -> None:
    text = "€" + "ab" * PIECE
    worker.store.put_texts({"large": text, "small": "s", "bytes": b"\xff" * (PIECE + 1)}, 60)
    assert worker.store.texts(["large", "small"]) == [text, "s"]
    assert worker.store.text_sizes(["large", "bytes", "none"]) == [len(text.encode()), PIECE + 1, 0]
    assert worker.store.text_part("bytes", PIECE - 1, PIECE + 9) == b"\xff\xff"


# -- bytes of jobs


def test_large_jobs_of_an_endpoint_have_so_many_bytes_at_most(
    call: Callable[..., Any], worker: PlayedWorker, redis_server: RedisServer, client: FlaskClient
) -> None:
    def counted() -> int:
        return int(redis_server.client().hget("bytes:media", "total") or 0)

    text = "x" * 400_000
    first, second = call(text=text), call(text=text)
    assert (first.status_code, second.status_code) == (200, 200)
    assert 800_000 < counted() < 810_000
    refused = call(text=text)
    assert (refused.status_code, refused.json["code"], refused.json["limit"]) == (
        429,
        "queue_full",
        "max_queued_bytes",
    )
    assert int(refused.headers["Retry-After"]) >= 1 and "1000000 bytes" in refused.text
    assert len(list(redis_server.client().scan_iter("blob:*"))) == 2
    assert call(text="small").status_code == 200  # it does not count
    job = worker.start("media_cpu")
    assert call(text=text).status_code == 429  # it still counts while it runs
    worker.end(job)
    assert 400_000 < counted() < 410_000
    client.delete(f"/jobs/{second.json['job_id']}", headers=HEADERS)
    assert counted() == 0 and not redis_server.client().exists("bytes:media")
    assert call(text="x" * 2_000_000).status_code == 200  # the only one, however large
    assert call(text=text).status_code == 429


def test_jobs_that_nobody_knows_any_more_do_not_count(
    call: Callable[..., Any], redis_server: RedisServer
) -> None:
    text = "x" * 600_000
    lost = call(text=text).json["job_id"]
    assert call(text=text).status_code == 429
    redis_server.client().delete(f"job:{lost}")
    assert call(text=text).status_code == 200
    assert redis_server.client().hlen("bytes:media") == 2
