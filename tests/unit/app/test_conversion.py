"""Conversions beside the greenlets."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from app.conversion import Converter
from tests.services import ROOT

GREEN = """
from gevent import monkey; monkey.patch_all()
import gevent, threading, time
from app.conversion import Converter, ConversionBusy
really_sleep = monkey.get_original("time", "sleep")
thread_id = monkey.get_original("_thread", "get_ident")
converter = Converter(threads=2, waiting=1)
"""


def green(code: str) -> str:
    """Run code where everything is green; gives what it prints. What it logs of errors is an error."""
    done = subprocess.run(
        [sys.executable, "-c", GREEN + code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout


def test_in_plain_threads_the_caller_works_itself() -> None:
    assert Converter().run("", threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        Converter().run("", lambda: 1 / 0)


def test_greenlets_go_on_while_threads_work() -> None:
    assert (
        green("""
main, turns = thread_id(), 0
def work(number, factor):
    really_sleep(0.3)
    return thread_id() != main, number * factor
def turn():
    global turns
    while True:
        gevent.sleep(0.01)
        turns += 1
gevent.spawn(turn)
began = time.time()
jobs = [gevent.spawn(converter.run, "", work, number, factor=10) for number in range(2)]
print([job.get() for job in jobs], turns > 10, time.time() - began < 0.55)
""")
        == "[(True, 0), (True, 10)] True True\n"
    )


def test_errors_come_back_and_nobody_prints_them() -> None:
    assert (
        green("""
try:
    converter.run("", lambda: 1 / 0)
except ZeroDivisionError as error:
    print(error)
""")
        == "division by zero\n"
    )


def test_an_error_does_not_keep_what_was_to_be_converted() -> None:
    assert (
        green("""
import gc, weakref
gc.disable()
class Body: pass
def refuse(body):
    raise ValueError
def call():
    body = Body()
    try:
        converter.run("", refuse, body)
    except ValueError:
        return weakref.ref(body)
watched = call()
converter.run("", int)  # gevent's thread lets go of its last task
print(watched())
""")
        == "None\n"
    )


def test_no_more_wait_than_may() -> None:
    assert (
        green("""
def work():
    really_sleep(0.3)
    return 1
def call(client):
    try:
        return converter.run(client, work)
    except ConversionBusy:
        return "busy"
jobs = [gevent.spawn(call, client) for client in "aaabb"]
print([job.get() for job in jobs], call("a"))
""")
        == "[1, 1, 'busy', 1, 'busy'] 1\n"
    )


def test_a_client_with_many_conversions_lets_others_go_first() -> None:
    assert (
        green("""
converter, began = Converter(threads=1, waiting=20), []
def work(client):
    began.append(client)
    really_sleep(0.01)
jobs = [gevent.spawn(converter.run, client, work, client) for client in "aaaaaabbc"]
gevent.joinall(jobs)
print("".join(sorted(began[:3])), len(began), len(converter._calls))
""")
        == "abc 9 0\n"
    )
