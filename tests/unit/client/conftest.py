"""A client of each kind, bound to a server in memory."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx
import pytest

from client import ModelAPI
from client.flow import Pause
from tests.unit.client.fake_stoker import KEY, FakeStoker


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are sent again at once."""
    monkeypatch.setattr("client.flow.BREATH", 0.0)
    monkeypatch.setattr("client.flow.Pause", lambda seconds: Pause(0))


@pytest.fixture
def server() -> FakeStoker:
    return FakeStoker()


@pytest.fixture
def api(server: FakeStoker) -> ModelAPI:
    session = httpx.Client(transport=httpx.MockTransport(server))
    return ModelAPI("http://stoker.test", "bench", KEY, session, retries=2)


@pytest.fixture
def async_api(server: FakeStoker) -> ModelAPI:
    session = httpx.AsyncClient(transport=httpx.MockTransport(server))
    return ModelAPI("http://stoker.test", "bench", KEY, session, retries=2)


Request = Callable[..., dict[str, Any]]


@pytest.fixture(params=["plain", "async"])
def do_request(request: pytest.FixtureRequest, api: ModelAPI, async_api: ModelAPI) -> Request:
    """do_api_request of both kinds, without time between two polls."""

    def plain(params: Mapping[str, Any], **callbacks: Any) -> dict[str, Any]:
        return api.do_api_request(params, progress_interval=0, **callbacks)

    def asynchronous(params: Mapping[str, Any], **callbacks: Any) -> dict[str, Any]:
        call: Coroutine[Any, Any, dict[str, Any]]
        call = async_api.do_api_request_async(params, progress_interval=0, **callbacks)
        return asyncio.run(call)

    return plain if request.param == "plain" else asynchronous
