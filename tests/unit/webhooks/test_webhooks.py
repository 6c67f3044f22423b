"""What a message is signed with, and when it is sent again."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from tasks.errors import WebhookProblems
from tasks.guard.rules import Rules
from tasks.settings import WEBHOOK_DELAYS
from tasks.webhooks.hook import Webhook, read_webhook
from tasks.webhooks.schedule import pause
from tasks.webhooks.signing import Rotation, secret_of, shown, signed
from tasks.webhooks.turns import Turns

DELAYS = tuple(map(int, WEBHOOK_DELAYS.split(":")))


@given(st.text(), st.text(), st.integers(0, 1000), st.dictionaries(st.text(), st.text()))
def test_the_public_library_takes_what_is_signed_and_nothing_else(
    installation: str, client: str, number: int, content: dict[str, str]
) -> None:
    secret = secret_of(installation, client, number)
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    headers = signed("m_1", int(time.time()), body, [b"another" * 4, secret])
    receiver = Receiver(shown(secret))
    assert receiver.verify(body, headers) == content
    earlier = headers | {"webhook-timestamp": str(int(time.time()) - 5)}
    for changed in (headers | {"webhook-id": "m_2"}, earlier):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        receiver.verify(body + b" ", headers)


def test_each_client_installation_and_rotation_has_a_secret_of_its_own() -> None:
    secrets = [secret_of(i, c, n) for i in ("a", "b") for c in ("c", "d") for n in (0, 1)]
    assert len(set(secrets)) == len(secrets)
    assert all(len(secret) == 32 for secret in secrets)
    assert shown(secrets[0]).startswith("whsec_")


def test_the_secret_before_signs_until_its_time_is_over() -> None:
    assert Rotation().numbers(0) == (0,)
    assert Rotation(3, overlap_until=10).numbers(9) == (3, 2)
    assert Rotation(3, overlap_until=10).numbers(10) == (3,)
    assert Rotation(3).numbers(0) == (3,)


@given(st.integers(1, 20), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_pauses_grow_and_end(attempts: int, chance: float, wish: float | None) -> None:
    seconds = pause(attempts, DELAYS, chance, wish)
    if attempts > len(DELAYS):
        assert seconds is None
    else:
        least = DELAYS[attempts - 1]
        assert least <= seconds <= max(1.2 * least, 3600)
        assert wish is None or seconds >= min(wish, 3600)


def test_attempts_go_on_for_more_than_a_day() -> None:
    assert 24 * 3600 < sum(DELAYS) < 36 * 3600
    assert list(DELAYS) == sorted(DELAYS)


def test_a_webhook_keeps_its_text() -> None:
    hook = read_webhook({"url": "https://example.com/?a=b", "events": ["completed", "started"]}, Rules())
    assert hook == Webhook("https://example.com/?a=b", ("started", "completed"))
    assert Webhook.from_text(hook.to_text()) == hook


@pytest.mark.parametrize(
    "text", ['{"url": "https://a.example", "x": [' + "{}," * 10_000 + "{}]}", " " * 50_000]
)
def test_a_text_that_is_too_long_for_a_webhook_is_not_read(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.webhooks.hook.json.loads", lambda _: pytest.fail("it was read"))
    with pytest.raises(WebhookProblems, match="too long: at most 9000 characters"):
        read_webhook(text, Rules())


def test_what_is_no_webhook_is_told_what_it_must_be() -> None:
    with pytest.raises(WebhookProblems, match="must be a URL, or an object"):
        read_webhook('{"url": ', Rules())


def test_a_slow_client_leaves_threads_to_others() -> None:
    turns = Turns()
    assert all(turns.begin("slow", 0.0) for _ in range(16))  # nobody knows it yet
    for _ in range(16):
        turns.end("slow", 0.0, 15.0)
    assert [turns.begin("slow", 16.0) for _ in range(3)] == [True, True, False]
    assert all(turns.begin("quick", 16.0) for _ in range(14))
    turns.end("slow", 16.0, 16.1)
    assert turns.begin("slow", 16.2)
    assert turns.begin("slow", 76.0)  # forgiven
