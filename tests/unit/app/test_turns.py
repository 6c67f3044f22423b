"""Views that wait, and Flask, which has forgotten their requests meanwhile."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, current_app, g, has_app_context, has_request_context, request, session

from app.turns import Steps, Turns, in_turns


class Hangup(BaseException):
    """Ends a greenlet from outside."""


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "s"
    app.wsgi_app = Turns(app.wsgi_app).__call__  # type: ignore[method-assign]

    @app.before_request
    def name() -> None:
        g.name = request.headers.get("X-Name")

    @app.after_request
    def complete(response: Response) -> Response:
        response.headers["X-Name"] = g.name
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(Exception)
    def tell(error: Exception) -> tuple[str, int]:
        return f"{type(error).__name__} at {request.endpoint} for {g.name}", 418

    return app


@pytest.fixture
def ask(app: Flask) -> Callable[[Callable[[], Steps]], Any]:
    """Send a request to a view that waits."""

    def ask(view: Callable[[], Steps]) -> Any:
        app.add_url_rule("/wait", "wait", in_turns(view))
        return app.test_client().get("/wait", headers={"X-Name": "alice"})

    return ask


def test_a_view_gets_what_it_waits_for(ask: Any) -> None:
    def view() -> Steps:
        first = yield (lambda seconds: seconds + 1), 2
        second = yield (lambda seconds: seconds + 10), first
        return {"found": second, "name": g.name, "app": current_app.name}

    answer = ask(view)
    assert answer.json == {"found": 13, "name": "alice", "app": __name__}
    assert answer.headers["X-Name"] == "alice"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.data))


def test_while_a_request_waits_flask_has_forgotten_it(ask: Any, app: Flask) -> None:
    seen: list[Any] = []
    app.teardown_request(lambda error: seen.append("ended"))

    def view() -> Steps:
        known = weakref.ref(request._get_current_object())  # type: ignore[attr-defined]
        yield lambda seconds: seen.extend([has_app_context(), has_request_context(), known()]), 0
        return {}

    assert ask(view).status_code == 200
    assert seen == ["ended", False, False, None]


def test_a_view_that_does_not_wait_is_as_any_other(ask: Any) -> None:
    def view() -> Steps:
        if request.path == "/elsewhere":
            yield (lambda seconds: None), 0
        return "here", 202

    answer = ask(view)
    assert (answer.status_code, answer.text, answer.headers["X-Name"]) == (202, "here", "alice")


def test_what_an_answer_says_itself_counts(ask: Any) -> None:
    def view() -> Steps:
        session["id"] = "1"
        yield (lambda seconds: None), 0
        return "done", {"Cache-Control": "private"}

    answer = ask(view)
    assert answer.headers.getlist("Cache-Control") == ["private"]
    assert answer.headers["Set-Cookie"].startswith("session=")


@pytest.mark.parametrize("waits", [True, False])
def test_errors_are_answered_before_and_after_a_wait(ask: Any, waits: bool) -> None:
    def view() -> Steps:
        if waits:
            yield (lambda seconds: None), 0
        raise KeyError("x")

    answer = ask(view)
    assert (answer.status_code, answer.text) == (418, "KeyError at wait for alice")
    assert answer.headers["X-Name"] == "alice"


def test_a_body_may_be_sent_in_pieces(ask: Any) -> None:
    closed: list[bool] = []

    def pieces() -> Iterator[str]:
        yield from "abc"

    def view() -> Steps:
        yield (lambda seconds: None), 0
        response = Response(pieces())
        response.call_on_close(lambda: closed.append(True))
        return response

    answer = ask(view)
    assert answer.text == "abc"
    answer.close()
    assert closed == [True]


def test_a_view_is_left_when_its_greenlet_is_ended(ask: Any) -> None:
    left: list[bool] = []

    def wait(seconds: float) -> None:
        raise Hangup

    def view() -> Steps:
        try:
            yield wait, 0
        finally:
            left.append(True)
        return {}

    with pytest.raises(Hangup):
        ask(view)
    assert left == [True]
