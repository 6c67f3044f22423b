"""What a client asks for: where its server is, and which events it is told. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tasks.errors import OutgoingRefused, WebhookProblems
from tasks.guard.rules import LONGEST_URL, Rules, read_url
from tasks.records import dumps

STARTED, COMPLETED = "started", "completed"
EVENTS = (STARTED, COMPLETED)
LONGEST = LONGEST_URL + 1000  # characters of an object as JSON: more would take time and memory to read
UNKNOWN_LISTED = 5
_FORM = 'a URL, or an object as {"url": "https://...", "events": ["completed"]}'


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to, and what about.

    Attributes:
        url: of the client's server. Its query may be secret.
        events: of `EVENTS`.
    """

    url: str
    events: tuple[str, ...] = (COMPLETED,)

    def to_text(self) -> str:
        """Give the form in which the job's record and the database keep it."""
        return dumps({"url": self.url, "events": self.events})

    @classmethod
    def from_text(cls, text: str) -> Webhook:
        """Read `to_text()`."""
        values = json.loads(text)
        return cls(values["url"], tuple(values["events"]))


def read_webhook(value: Any, rules: Rules) -> Webhook:
    """Read what a client sent: a URL, an object with `url` and `events`, or that as JSON in a string.

    Raises:
        WebhookProblems: with all that is wrong.
    """
    if isinstance(value, str) and len(value) > LONGEST:
        raise WebhookProblems([f"is too long: at most {LONGEST} characters allowed"])
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise WebhookProblems([f"must be {_FORM}"]) from None
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise WebhookProblems([f"must be {_FORM}"])
    unknown = sorted(value.keys() - {"url", "events"})[:UNKNOWN_LISTED]
    problems = [f"has an unknown key {str(key)[:60]!r}" for key in unknown]
    events = value.get("events")
    events = [COMPLETED] if events is None else events
    if not isinstance(events, list) or not events or not all(event in EVENTS for event in events):
        problems.append(f"events must be a list of some of {', '.join(EVENTS)}")
        events = [COMPLETED]
    try:
        read_url(value["url"], rules)
    except OutgoingRefused as error:
        problems.append(f"its url {error}")
    if problems:
        raise WebhookProblems(problems)
    return Webhook(value["url"], tuple(event for event in EVENTS if event in events))
