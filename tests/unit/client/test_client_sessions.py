"""Login, the descriptions of endpoints, and the life of the connections."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import client
from client import ModelAPI
from tests.unit.client.fake_stoker import KEY, FakeStoker, result

TOKEN = "07f920d8-cbb3-41b4-9aa5-31057e09580c"
LOGIN = (200, {"success": True, "ep_version": 3, "client_session_auth_key": TOKEN})


@pytest.fixture
def patched_httpx(server: FakeStoker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients that ModelAPI makes for itself reach the server in memory."""
    transport = httpx.MockTransport(server)
    plain, asynchronous = httpx.Client, httpx.AsyncClient

    class Plain(plain):  # type: ignore[misc, valid-type]
        def __init__(self, **options: object) -> None:
            super().__init__(transport=transport, **options)

    class Async(asynchronous):  # type: ignore[misc, valid-type]
        def __init__(self, **options: object) -> None:
            super().__init__(transport=transport, **options)

    monkeypatch.setattr(httpx, "Client", Plain)
    monkeypatch.setattr(httpx, "AsyncClient", Async)


def test_login_keeps_the_session_token(server: FakeStoker, api: ModelAPI) -> None:
    server.replies["/bench/login"] = [LOGIN]
    api.do_api_login()
    assert api.client_session_auth_key == TOKEN
    assert TOKEN not in repr(api)
    request = server.requests[0]
    assert (str(request.url), request.headers["Authorization"]) == (
        "http://stoker.test/bench/login",
        f"Bearer {KEY}",
    )


def test_login_works_on_an_event_loop(server: FakeStoker, async_api: ModelAPI) -> None:
    server.replies["/bench/login"] = [LOGIN]
    asyncio.run(async_api.do_api_login_async())
    assert async_api.client_session_auth_key == TOKEN


@pytest.mark.parametrize("status", [200, 401])
def test_a_refused_key_fails_the_login(server: FakeStoker, api: ModelAPI, status: int) -> None:
    server.replies["/bench/login"] = [(status, {"success": False, "error": "Key not valid"})]
    with pytest.raises(client.LoginFailed, match="Key not valid"):
        api.do_api_login()


def test_a_login_without_a_token_fails(server: FakeStoker, api: ModelAPI) -> None:
    server.replies["/bench/login"] = [(200, {"success": True})]
    with pytest.raises(client.LoginFailed):
        api.do_api_login()


def test_the_endpoints_are_listed(server: FakeStoker, api: ModelAPI, async_api: ModelAPI) -> None:
    server.replies["/api/endpoints"] = [(200, {"endpoints": ["bench", "sd"]})]
    assert api.get_endpoint_list() == ["bench", "sd"]
    assert asyncio.run(async_api.get_endpoint_list_async()) == ["bench", "sd"]


def test_an_endpoint_is_described(server: FakeStoker, api: ModelAPI, async_api: ModelAPI) -> None:
    server.replies["/api/endpoints/bench"] = [(200, {"name": "bench", "title": "Bench"})]
    server.replies["/api/endpoints/sd"] = [(200, {"name": "sd", "title": "Images"})]
    assert api.get_endpoint_details()["title"] == "Bench"
    assert api.get_endpoint_details("sd")["title"] == "Images"
    assert asyncio.run(async_api.get_endpoint_details_async())["title"] == "Bench"
    with pytest.raises(client.EndpointNotFound):
        api.get_endpoint_details("nope")


def test_without_a_key_no_authorization_is_sent(server: FakeStoker) -> None:
    server.replies["/api/endpoints"] = [(200, {"endpoints": []})]
    session = httpx.Client(transport=httpx.MockTransport(server))
    ModelAPI("http://stoker.test", "bench", session=session).get_endpoint_list()
    assert "Authorization" not in server.requests[0].headers


def test_white_space_around_a_key_is_dropped(server: FakeStoker) -> None:
    server.replies["/api/endpoints"] = [(200, {"endpoints": []})]
    session = httpx.Client(transport=httpx.MockTransport(server))
    ModelAPI("http://stoker.test", "bench", f"{KEY}\n", session).get_endpoint_list()
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_lent_session_stays_open(server: FakeStoker) -> None:
    server.replies["/bench"] = [(200, result())]
    session = httpx.Client(transport=httpx.MockTransport(server))
    with ModelAPI("http://stoker.test", "bench", KEY, session) as api:
        api.do_api_request({})
    assert not session.is_closed


@pytest.mark.usefixtures("patched_httpx")
def test_cookies_of_the_server_are_kept_from_job_to_job(server: FakeStoker) -> None:
    server.replies["/bench"] = [(200, result(), {"Set-Cookie": "session=abc; Path=/"})]
    with ModelAPI("http://stoker.test", "bench", KEY) as api:
        api.do_api_request({})
        api.do_api_request({})
    assert server.requests[1].headers["Cookie"] == "session=abc"


@pytest.mark.usefixtures("patched_httpx")
def test_one_object_serves_one_event_loop_after_another(server: FakeStoker) -> None:
    server.replies["/bench"] = [(200, result(text="x"))]
    api = ModelAPI("http://stoker.test", "bench", KEY)

    async def once() -> str:
        async with api:
            return str((await api.do_api_request_async({}))["text"])

    assert [asyncio.run(once()), asyncio.run(once())] == ["x", "x"]


@pytest.mark.usefixtures("patched_httpx")
def test_close_session_may_be_awaited_or_not(server: FakeStoker) -> None:
    server.replies["/bench"] = [(200, result())]
    api = ModelAPI("http://stoker.test", "bench", KEY)
    api.do_api_request({})
    api.close_session()
    api.do_api_request({})

    async def close() -> None:
        await api.do_api_request_async({})
        await api.close_session()
        await api.close_session()

    asyncio.run(close())


@pytest.mark.usefixtures("patched_httpx")
def test_the_module_function_runs_one_job(server: FakeStoker) -> None:
    server.replies["/bench"] = [(200, result(text="x"))]
    assert client.do_api_request("http://stoker.test", "bench", {"text": "hi"}, KEY)["text"] == "x"
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_the_package_exports_its_public_names_and_no_others() -> None:
    errors = """
        BadRequest ConnectionFailed EndpointNotFound Forbidden JobCanceled JobError JobFailed JobLapsed
        JobNotFound LoginFailed QueueFull RateLimited ServerBusy ServerError StokerClientError Timeout
        Unauthorized Unavailable
    """
    expected = {*errors.split(), "JobEvents", "JobProgress", "JobResult", "Media", "ModelAPI", "ProgressInfo"}
    expected |= {"do_api_request", "do_api_request_async"}
    assert set(client.__all__) == expected
    assert client.__all__ == sorted(client.__all__)
    assert all(hasattr(client, name) for name in expected)


def test_the_package_imports_nothing_else_of_the_repository() -> None:
    root = Path(client.__file__).parents[1]
    others = {"app", "tasks", "workers", "schemas", "flask", "celery"}
    code = f"import sys, client; print(sorted({others} & set(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
