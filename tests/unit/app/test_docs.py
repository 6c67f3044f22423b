"""The page of documentation: complete, safe, and its examples work."""

from __future__ import annotations

import html
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from app.guide import example, sheet
from app.openapi.routes import OPERATIONS
from schemas import SHIPPED, Endpoint, load_endpoints
from tests.services import ROOT
from tests.unit.app.fakes import DEMO_KEY

FOLDERS = [SHIPPED, ROOT / "tests" / "data" / "endpoints"]
ODD = """
[ENDPOINT]
name = "odd"
title = "<script>alert(1)</script>"
description = "Don't & \\"quote\\" `this`"
[WORKER]
queue = "q"
[INPUTS]
text = { type = "string", required = true, max_length = 3, description = "<b>bold</b>" }
size = { type = "integer", required = true, minimum = 64, align = 8 }
rate = { type = "float", required = true, maximum = -2.5 }
style = { type = "selection", required = true, supported = ["it's", "plain"] }
flag = { type = "bool", required = true }
data = { type = "json", required = true }
chat = { type = "chat_context", required = true }
"""


class Links(HTMLParser):
    """Collects what a page fetches, runs and points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.targets: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.attributes |= found.keys()
        self.ids += [found["id"]] if "id" in found else []
        if "src" in found or (tag == "link" and "href" in found):
            self.fetched.append(found.get("src") or found["href"])
        if tag == "a":
            self.targets.append(found["href"])


def odd_endpoint(folder: Path, **changes: str) -> Endpoint:
    text = ODD
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "odd.toml").write_text(text)
    return load_endpoints([folder])["odd"]


def test_the_page_shows_every_endpoint_with_its_inputs_and_outputs(client: Any, endpoints: Any) -> None:
    page = client.get("/docs").text
    for endpoint in endpoints.values():
        assert f'id="endpoint-{endpoint.name}"' in page
        for name in (*endpoint.inputs, *endpoint.outputs, *endpoint.progress_outputs):
            assert f'<code class="name">{name}</code>' in page
    assert "1 to 9" in page
    assert "disabled" in page


def test_the_page_names_every_route_without_words_of_the_program(client: Any) -> None:
    page = html.unescape(client.get("/docs").text)
    for route in OPERATIONS:
        path = re.sub(r"<\w+:", "<", route.split()[-1])
        assert f"<code>{path}</code>" in page, route


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing(client: Any) -> None:
    answer = client.get("/docs")
    links = Links(answer.text)
    assert "script" not in links.tags and "style" not in links.tags
    assert not {name for name in links.attributes if name.startswith("on") or name == "style"}
    assert all(url.startswith(("/static/", "data:image/")) for url in links.fetched)
    for url in links.fetched:
        if url.startswith("/"):
            with client.get(url) as fetched:
                assert fetched.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy


def test_links_within_the_page_lead_somewhere(client: Any) -> None:
    links = Links(client.get("/docs").text)
    assert len(links.ids) == len(set(links.ids))
    assert {f"#{name}" for name in links.ids} >= {t for t in links.targets if t.startswith("#")}
    assert all(client.get(t).status_code == 200 for t in links.targets if t.startswith("/"))


def test_what_a_file_says_is_text_and_no_markup(tmp_path: Path, app: Any) -> None:
    endpoint = odd_endpoint(tmp_path)
    with app.test_request_context():
        page = app.jinja_env.get_template("docs.html").render(
            sheets=[sheet(endpoint, "http://x")], groups=[], errors=[], max_wait=1.0, server="http://x"
        )
    assert "<script>alert" not in page and "<b>bold" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_host_that_a_client_makes_up_breaks_out_of_nothing(client: Any) -> None:
    page = client.get("/docs", headers={"Host": 'x"><script>.example'}).text
    assert "<script" not in page


@pytest.mark.parametrize("endpoint", load_endpoints(FOLDERS).values(), ids=lambda endpoint: endpoint.name)
def test_examples_of_endpoints_are_valid_inputs(endpoint: Endpoint) -> None:
    values = {name: value for name, value in example(endpoint).items() if not isinstance(value, bytes)}
    if len(values) == len(example(endpoint)):
        endpoint.load_inputs(values)


def test_an_endpoint_without_an_example_gets_one_that_is_valid(tmp_path: Path) -> None:
    endpoint = odd_endpoint(tmp_path)
    found = endpoint.load_inputs(example(endpoint))
    assert (found["text"], found["size"], found["rate"], found["style"]) == ("Hel", 64, -2.5, "it's")


def test_the_command_line_says_the_example_to_the_shell(tmp_path: Path) -> None:
    endpoint = odd_endpoint(tmp_path)
    words = shlex.split(sheet(endpoint, "http://x:1").curl.replace("\\\n", " "))
    assert words[:2] == ["curl", "http://x:1/odd"]
    assert json.loads(words[words.index("-d") + 1]) == example(endpoint)


def test_a_command_line_with_files_is_a_form(tmp_path: Path) -> None:
    endpoint = odd_endpoint(tmp_path, data='more = { type = "image", required = true }\ndata')
    found = sheet(endpoint, "http://x:1")
    assert found.needs_file
    words = shlex.split(found.curl.replace("\\\n", " "))
    assert "more=@image.png" in words
    assert "style=it's" in words and 'chat=[{"role": "user", "content": "Hello"}]' in words


def test_a_command_line_for_an_endpoint_without_post_is_a_query(tmp_path: Path) -> None:
    endpoint = odd_endpoint(tmp_path, **{'name = "odd"': 'name = "odd"\nmethods = ["GET"]'})
    words = shlex.split(sheet(endpoint, "http://x:1").curl.replace("\\\n", " "))
    assert "-G" in words and "style=it's" in words and "flag=true" in words


def test_a_query_that_needs_a_file_names_an_upload(tmp_path: Path, app: Any) -> None:
    only_get = {
        "[INPUTS]": '[INPUTS]\nmore = { type = "image", required = true }',
        "[WORKER]": 'methods = ["GET"]\n[WORKER]',
    }
    found = sheet(odd_endpoint(tmp_path, **only_get), "http://x:1")
    assert "more=upload:ID" in shlex.split(found.curl.replace("\\\n", " "))
    with app.test_request_context():
        page = app.jinja_env.get_template("docs.html").render(
            sheets=[found], groups=[], errors=[], max_wait=1.0, server="http://x"
        )
    assert "write its id for <code>ID</code>" in page


def test_the_command_line_of_the_page_works(client: Any, workers: Any) -> None:
    page = client.get("/docs").text
    command = re.search(r"<pre><code>(curl [^<]+/echo [^<]+)</code>", page)
    words = shlex.split(html.unescape(command[1]).replace("\\\n", " ").replace("$KEY", DEMO_KEY))
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    answer = client.post(
        words[1].removeprefix("http://localhost"), headers=headers, data=words[words.index("-d") + 1]
    )
    assert answer.status_code == 200
    assert answer.json["success"] is True
