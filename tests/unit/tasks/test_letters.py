"""What dead messages say of their job and their death."""

from __future__ import annotations

import json
import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.jobs import Job
from tasks.letters import Letter, job_in, job_of, read_letter, refused

JOB = Job("4a", "embed", "embed_cpu", {"text": "hello"}, "me", 1.0, 2.0, 3.0)
BODY = json.dumps([[JOB.to_wire()], {}, {}])
DEATH = {"reason": "delivery_limit", "queue": "embed_cpu", "count": 2, "time": datetime(2026, 1, 2, 3, 4, 5)}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_letter_says_what_rabbitmq_says():
    letter = read_letter(BODY, {"x-death": [DEATH, {"reason": "rejected"}]}, now=9.0)
    assert letter == Letter("4a", "embed", "embed_cpu", "delivery_limit", 2, 1767323045.0, True)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("delivery_limit", "21 times"),
        ("rejected", "does not know endpoint embed: give it the endpoint files"),
        ("expired", "waited longer than the broker's policy for queue embed_cpu"),
        ("maxlen", "queue embed_cpu was longer than its policy"),
        ("something new", "something new"),
    ],
)
def test_every_death_has_words(reason, words):
    letter = read_letter(BODY, {"x-death": [DEATH | {"reason": reason}]}, now=9.0)
    assert words in letter.explain()


def test_refused_message_tells_the_same_on_both_brokers():
    letter = read_letter(BODY, refused({"id": "4a"}, "embed_cpu"), now=9.0)
    assert letter == Letter("4a", "embed", "embed_cpu", "rejected", 1, 9.0, True)


def test_message_without_a_job_keeps_the_id_of_its_task():
    letter = read_letter("no JSON", {"id": "7", "x-death": [DEATH]}, now=9.0)
    assert (letter.id, letter.endpoint, letter.holds_job) == ("7", None, False)
    assert "holds no job" in letter.explain()


@pytest.mark.parametrize("headers", [{}, {"id": None}, {"id": "\x1b[31m"}, {"id": "x" * 101}])
def test_message_without_an_id_gets_one_of_its_body(headers):
    first, again, other = (read_letter(body, headers, now=9.0).id for body in ("a", "a", "b"))
    assert first == again != other and first.startswith("message-")


def test_letter_survives_its_wire_form():
    letter = read_letter(BODY, {"x-death": [DEATH]}, now=9.0)
    assert Letter.from_wire(json.loads(json.dumps(letter.to_wire()))) == letter


def test_job_is_found():
    assert job_of(BODY) == job_in([[JOB.to_wire()], {}, {}]) == JOB


@pytest.mark.parametrize(
    "strange",
    [
        {"blobs": 5},
        {"blobs": [1]},
        {"blobs": [["image", "a"]]},
        {"key": [1]},
        {"size": "x"},
        {"reply_to": 5},
        {"session": {}},
        {"result_lifetime": math.inf},
        {"accepted": math.nan},
        {"deadline": 10**400},
    ],
)
def test_job_that_would_end_its_worker_is_none(strange):
    assert job_in([[JOB.to_wire() | strange], {}, {}]) is None


@pytest.mark.parametrize("name", ["id", "endpoint", "queue", "inputs", "owner", "accepted", "deadline"])
def test_job_with_a_field_of_another_type_is_none(name):
    assert job_in([[JOB.to_wire() | {name: None}], {}, {}]) is None


@given(JSON)
def test_no_payload_is_too_strange(payload):
    assert job_in(payload) is None
    assert job_in([[payload], {}, {}]) is None


@given(st.text(max_size=50), st.dictionaries(st.sampled_from(["id", "x-death", "task"]), JSON))
def test_no_message_is_too_strange_for_a_letter(body, headers):
    letter = read_letter(body, headers, now=9.0)
    assert letter.id and letter.explain() and not letter.holds_job
    assert json.dumps(letter.to_wire())


@given(JSON)
def test_no_account_of_a_death_is_too_strange(death):
    assert read_letter(BODY, {"x-death": [death]}, now=9.0).id == "4a"
