"""What a person asks for when a key is made."""

import pytest

from tasks.accounts import Limits
from tasks.accounts.grants import read_duration, read_grant
from tasks.errors import KeyProblems
from tasks.jobs import Priority

KNOWN = ("embed", "text")


def problems(*args, **kwargs):
    with pytest.raises(KeyProblems) as caught:
        read_grant(*args, **kwargs)
    return caught.value.problems


def test_a_key_opens_what_is_named_and_has_no_limits_of_its_own():
    grant = read_grant(" Mobile app ", ["embed"], KNOWN)
    assert (grant.name, grant.endpoints, grant.lifetime) == ("Mobile app", {"embed"}, None)
    assert (grant.priority, grant.limits) == (Priority.NORMAL, Limits(None, None))


def test_a_key_opens_everything_only_if_that_is_said():
    assert read_grant("x", [], KNOWN, all_endpoints=True).endpoints is None
    (found,) = problems("x", [], KNOWN)
    assert "--endpoint NAME" in found and "--all-endpoints" in found
    assert "keep one" in problems("x", ["text"], KNOWN, all_endpoints=True)[0]


def test_all_that_is_wrong_is_told_at_once():
    found = problems(
        "\n",
        ["embed", "nope"],
        KNOWN,
        priority="urgent",
        requests_per_minute="many",
        jobs_at_once="-1",
        bytes_per_day="1GB",
        seconds_per_day="2147483648",
        expires="soon",
    )
    assert [sentence.split()[0] for sentence in found] == [
        "The",
        "There",
        "--priority",
        "--requests-per-minute",
        "--jobs-at-once",
        "--bytes-per-day",
        "--seconds-per-day",
        "--expires",
    ]
    assert "'nope'" in found[1] and "embed, text" in found[1]


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "two\nlines", "\x1b[31mred", "\u202e"])
def test_a_name_is_printable_and_short(name):
    assert "printable" in problems(name, ["text"], KNOWN)[0]


@pytest.mark.parametrize(("text", "limit"), [(None, None), ("0", 0), ("60", 60)])
def test_a_limit_may_be_left_to_the_settings_be_none_or_a_number(text, limit):
    assert read_grant("x", ["text"], KNOWN, requests_per_minute=text).limits.requests_per_minute == limit


def test_bytes_may_be_many():
    assert read_grant("x", ["text"], KNOWN, bytes_per_day="5000000000000").limits.bytes_per_day == 5 * 10**12


@pytest.mark.parametrize("text", ["", "1.5", "1e3", "٣", "2147483648", "99999999999999"])
def test_a_limit_is_a_whole_number_that_the_database_can_hold(text):
    assert problems("x", ["text"], KNOWN, jobs_at_once=text)


@pytest.mark.parametrize(("text", "seconds"), [("90d", 7776000), ("12H", 43200), ("30m", 1800), ("45s", 45)])
def test_durations(text, seconds):
    assert read_duration("--expires", text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "d", "1w", "1.5h", "36501d", "9999999999d"])
def test_what_is_no_duration(text):
    with pytest.raises(KeyProblems, match="--overlap"):
        read_duration("--overlap", text)
