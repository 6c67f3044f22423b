"""Requests that wait: each is served in turns, between which it holds little memory.

A view that waits is a generator (`in_turns`) and yields what it waits for. With that the first turn of its
request ends: Flask completes the headers and forgets the request. `Turns`, which stands around Flask, waits,
on the small stack of the connection, and gives the view its next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import wraps
from typing import Any, ParamSpec

from flask import Response
from flask.ctx import AppContext
from flask.globals import app_ctx
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import Headers

from app.stacks import Stacks

Wait = tuple[Callable[[float], Any], float]
"""A function that waits some seconds at most, and the seconds. It knows no contexts, and raises nothing."""

Steps = Generator[Wait, Any, ResponseReturnValue]
"""A view that waits: it gets what the function gave, and gives its answer at last."""

P = ParamSpec("P")


def in_turns(view: Callable[P, Steps]) -> Callable[P, ResponseReturnValue]:
    """Make a view of a generator.

    After a wait it has `g` and the app, but neither `request` nor `session`: it reads what it needs before.
    """

    @wraps(view)
    def first_turn(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        steps = view(*args, **kwargs)
        try:
            return _Unfinished(steps, next(steps))
        except StopIteration as end:
            answer: ResponseReturnValue = end.value
            return answer

    return first_turn


class Turns:
    """WSGI middleware: lets requests take their turns on stacks that they share, and waits between them."""

    def __init__(self, app: Any) -> None:
        """Wrap an app."""
        self._app = app
        self._stacks = Stacks()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        answer = self._stacks.call(self._app, environ, start_response)
        while isinstance(answer, _Held):
            wait, seconds = answer.wait
            answer = self._stacks.call(answer.go_on, wait(seconds), environ, start_response)
        body: Iterable[bytes] = answer
        return body


class _Unfinished(Response):
    """What Flask gets in place of the answer: it gives it the headers that all answers have."""

    def __init__(self, steps: Steps, wait: Wait) -> None:
        super().__init__()
        self.headers.clear()
        self._steps = steps
        self._wait = wait

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Give `Turns` what stays of the request."""
        context = app_ctx._get_current_object()  # type: ignore[attr-defined]
        return _Held(context, self.headers, self._steps, self._wait)


class _Held:
    """A request that waits."""

    # There are as many as clients that wait.
    __slots__ = ("_context", "_headers", "_steps", "wait")

    def __init__(self, context: AppContext, headers: Headers, steps: Steps, wait: Wait) -> None:
        self._context = context
        self._headers = headers
        self._steps = steps
        self.wait = wait

    def go_on(self, outcome: Any, environ: dict[str, Any], start_response: Any) -> _Held | Iterable[bytes]:
        """Let the view go on; gives the body of its answer, or, if it waits again, this."""
        app = self._context.app
        with self._context:
            try:
                self.wait = self._steps.send(outcome)
                return self
            except StopIteration as end:
                response = app.make_response(end.value)
            except Exception as error:
                with app.request_context(environ):  # which the handlers of errors may look at
                    response = app.make_response(app.handle_user_exception(error))
            self._headers.update(response.headers)
            response.headers = self._headers
            return response(environ, start_response)
