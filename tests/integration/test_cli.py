"""The commands of `stoker` that speak to a running installation."""

from __future__ import annotations

import json
import re
import time

import pytest
from click.testing import CliRunner

from stoker import main
from tasks.jobs import Job
from tasks.store import JobStore
from tasks.webhooks.hook import Webhook
from tasks.webhooks.outbox import Outbox


@pytest.fixture
def stoker(redis_server, stoker_home):
    env = {
        "STOKER_HOME": str(stoker_home),
        "STOKER_BROKER_URL": redis_server.broker_url,
        "STOKER_STORE_URL": redis_server.socket_url,
    }
    return lambda *arguments: CliRunner().invoke(main, arguments, env=env)


def test_check_says_which_models_are_not_here(stoker, tmp_path, monkeypatch):
    (tmp_path / "here.py").touch()
    for module in ("here", "elsewhere"):
        (tmp_path / f"{module}.toml").write_text(
            f'[ENDPOINT]\nname = "{module}"\n[WORKER]\nqueue = "q"\nmodel = "{module}:M"\n'
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOKER_ENDPOINTS", str(tmp_path))
    answer = stoker("check")
    assert answer.exit_code == 0
    assert "  here: queue q, here:M\n" in answer.output
    assert "elsewhere:M (there is no module elsewhere here: a worker needs it" in answer.output
    assert "workers.models.embed:Embed\n" in answer.output


def test_demo_key_is_made_once_and_printed(stoker, stoker_home):
    first = stoker("demo-key")
    assert first.exit_code == 0 and len(first.output.strip()) >= 40
    assert stoker("demo-key").output == first.output
    assert (stoker_home / "demo-key").stat().st_mode & 0o777 == 0o600


def test_waiting_job_is_canceled(stoker, redis_server):
    now = time.time()
    store = JobStore.from_url(redis_server.socket_url)
    store.add(Job("a", "embed", "embed_cpu", {}, "me", now, now + 60, 60), 10)
    assert stoker("cancel", "a").output == "canceled\n"


def test_unknown_job_cannot_be_canceled(stoker):
    answer = stoker("cancel", "nope")
    assert answer.exit_code == 2 and "there is no job nope" in answer.output


def test_store_that_is_away_is_told_in_a_sentence(stoker, redis_server):
    redis_server.kill()
    answer = stoker("cancel", "a")
    assert answer.exit_code == 2 and "does not answer" in answer.output


@pytest.fixture
def told(redis_server):
    """A message about a failed job, given up."""
    now, store = time.time(), JobStore.from_url(redis_server.socket_url)
    hook = Webhook("https://example.com/hook?token=hush").to_text()
    job = Job("a", "embed", "embed_cpu", {}, "me", now, now + 60, 60, webhook=hook)
    store.add(job, 10)
    store.cancel("a")
    outbox = Outbox(store)
    ((name, attempts),) = outbox.take(10)
    outbox.begin(name, attempts)
    outbox.end(name, "failed", status=500, error="its server answers with status 500")
    return name


def test_messages_are_listed_without_secrets_and_sent_again(stoker, told):
    listed = stoker("webhooks", "list").output
    assert told in listed and "failed" in listed and "https://example.com/hook " in listed
    assert "hush" not in listed + stoker("webhooks", "list", "--json").output
    assert json.loads(stoker("webhooks", "list", "--json", "--state", "pending").output) == []
    assert stoker("webhooks", "redeliver", "--failed").output == f"{told} pending\n"
    (message,) = json.loads(stoker("webhooks", "list", "--json").output)
    assert (message["id"], message["state"], message["attempts"]) == (told, "pending", 0)
    unknown = stoker("webhooks", "redeliver", "nope")
    assert unknown.exit_code == 2 and "there is no message nope" in unknown.output


def test_a_key_gets_a_server_and_secrets_by_the_command_line(stoker, stoker_home):
    key = stoker("keys", "add", "app", "--endpoint", "embed").stdout.strip()
    first = stoker("webhooks", "set", key[:14], "https://example.com/hook", "--event", "started")
    assert first.exit_code == 0, first.output
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", first.stdout)
    assert stoker("webhooks", "secret", key[:14]).stdout == first.stdout
    second = stoker("webhooks", "rotate", key[:14], "--overlap", "1d").stdout
    assert second != first.stdout and second == stoker("webhooks", "secret", key[:14]).stdout
    assert stoker("webhooks", "unset", key[:14]).exit_code == 0
    stoker("demo-key")
    demo = stoker("webhooks", "secret", "demo")
    assert demo.stdout.startswith("whsec_") and demo.stdout != second
    for wrong in (
        ("secret", "nope"),
        ("set", key[:14], "http://10.0.0.1/"),
        ("set", "demo", "https://a.example"),
    ):
        answer = stoker("webhooks", *wrong)
        assert answer.exit_code == 2 and len(answer.output.splitlines()) == 1
    assert "stoker keys add" in answer.output


def test_a_list_of_less_than_one_message_is_refused(stoker):
    answer = stoker("webhooks", "list", "--limit", "-1")
    assert answer.exit_code == 2 and "range x>=1" in answer.output
