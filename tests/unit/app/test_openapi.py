"""The description of the API says what the app does, and nothing that is secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
from flask import Flask

from app.auth import PUBLIC
from app.errors import STATUS
from app.openapi import build
from app.openapi.endpoints import endpoint_operations
from app.openapi.errors import MEANINGS
from app.openapi.operation import Key
from app.openapi.routes import OPERATIONS, UNDESCRIBED
from schemas import SHIPPED, load_endpoints
from tests.services import ROOT
from tests.unit.app.fakes import BOTH_KEY, ECHO_KEY

UNSEEN = {"client_gone"}  # the client has hung up
FOLDERS = [SHIPPED, ROOT / "tests" / "data" / "endpoints"]


@pytest.fixture(scope="module")
def document() -> Any:
    return build(load_endpoints(FOLDERS), "1.2.3")


def operations(document: Any) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": found
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    }


def test_the_document_is_openapi(document: Any) -> None:
    openapi_spec_validator.validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"


def test_an_installation_without_endpoints_has_a_document() -> None:
    openapi_spec_validator.validate(build({}, "0"))


def test_every_rule_of_the_app_has_an_operation_and_every_operation_a_rule(app: Flask) -> None:
    endpoint = next(iter(load_endpoints([SHIPPED]).values()))
    rules = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in UNDESCRIBED
    }
    routes = [*OPERATIONS, *endpoint_operations(endpoint)]
    described = [f"{m} {route.split()[-1]}" for route in routes for m in route.split()[:-1]]
    assert len(described) == len(set(described))
    assert set(described) == rules, "describe new routes in app/openapi/routes.py"


def test_the_document_wants_a_key_where_the_guard_does(app: Flask) -> None:
    endpoint = next(iter(load_endpoints([SHIPPED]).values()))
    wanted = {r.split()[-1]: o.key for r, o in {**OPERATIONS, **endpoint_operations(endpoint)}.items()}
    for rule in app.url_map.iter_rules():
        if rule.rule in wanted and rule.endpoint not in PUBLIC:
            assert wanted[rule.rule] is Key.NEEDED, rule.rule


def test_every_code_that_a_client_can_get_is_explained() -> None:
    assert set(MEANINGS) == set(STATUS) - UNSEEN


def test_operations_name_known_codes_only() -> None:
    endpoint = next(iter(load_endpoints([SHIPPED]).values()))
    for route, operation in {**OPERATIONS, **endpoint_operations(endpoint)}.items():
        assert set(operation.codes) <= set(MEANINGS), route


def test_operations_have_names_of_their_own(document: Any) -> None:
    names = [found["operationId"] for found in operations(document).values()]
    assert len(names) == len(set(names))


def test_inputs_stand_as_the_file_declares_them(document: Any) -> None:
    inputs = document["components"]["schemas"]["example_api.inputs"]
    assert inputs["required"] == ["prompt"]
    assert inputs["additionalProperties"] is False
    assert inputs["properties"]["prompt"] == {"type": "string", "maxLength": 2000}
    assert inputs["properties"]["sleep_duration"] == {
        "type": "number",
        "minimum": 0.0,
        "maximum": 60.0,
        "default": 0.1,
        "description": "seconds to wait",
    }
    assert inputs["properties"]["wait_for_result"]["default"] is True
    assert operations(document)["POST /example_api"]["requestBody"]["content"]["application/json"][
        "example"
    ] == {"prompt": "Hello", "sleep_duration": 0.0}


def test_a_file_is_a_data_url_in_json_and_binary_in_a_form(document: Any) -> None:
    content = operations(document)["POST /pictures"]["requestBody"]["content"]
    inputs = document["components"]["schemas"]["pictures.inputs"]["properties"]
    assert inputs["image"] | {"description": ""} == {"type": "string", "format": "image", "description": ""}
    assert "png, jpeg" in inputs["image"]["description"]
    form = content["multipart/form-data"]
    parts = form["schema"]["properties"]
    assert parts["image"]["format"] == "binary"
    assert (parts["more"]["items"]["format"], parts["more"]["maxItems"]) == ("binary", 3)
    assert form["encoding"]["image"] == form["encoding"]["more"] == {"contentType": "image/*"}
    assert form["encoding"]["chat"] == {"contentType": "application/json"}
    assert parts["chat"]["type"] == "string"  # a list would be several parts
    assert parts["chat"]["contentSchema"].items() <= inputs["chat"].items()
    query = {p["name"]: p for p in operations(document)["GET /pictures"]["parameters"] if "name" in p}
    assert query["chat"]["content"].keys() == {"application/json"}
    assert query["more"]["schema"]["type"] == "string"  # a name may stand only once in a query


def test_outputs_and_partial_outputs_are_described(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["text.result"]["properties"]["num_tokens"] == {"type": "integer"}
    partial = schemas["text.progress"]["properties"]["progress"]["properties"]["progress_data"]
    assert partial["properties"].keys() == {"text", "num_tokens"}


def test_a_disabled_endpoint_says_so(endpoints: Any) -> None:
    found = operations(build(endpoints, "0"))
    assert "disabled" in found["POST /closed"]["description"]
    assert "disabled" not in found["POST /counter"]["description"]
    assert "GET /counter" not in found  # its file names POST alone


def test_names_of_python_and_openapi_are_fine_as_names_of_parameters(tmp_path: Path) -> None:
    names = ("required", "self", "properties", "type", "class")
    tables = "\n".join(f'{name} = {{ type = "string" }}' for name in names)
    head = '[ENDPOINT]\nname = "odd-Name_1"\n[WORKER]\nqueue = "q"\n'
    (tmp_path / "odd.toml").write_text(
        f"{head}[INPUTS]\n{tables}\n[OUTPUTS]\n{tables}\n[PROGRESS.OUTPUTS]\n{tables}"
    )
    document = build(load_endpoints([tmp_path]), "0")
    openapi_spec_validator.validate(document)
    assert set(names) < document["components"]["schemas"]["odd-Name_1.result"]["properties"].keys()


def test_nothing_secret_gets_out(client: Any, endpoints: Any) -> None:
    for path in ("/openapi.json", "/docs"):
        text = client.get(path).text
        for secret in (
            ECHO_KEY,
            BOTH_KEY,
            "alice",
            "workers.models",
            "echo_cpu",
            "endpoints/echo.toml",
            "s" * 32,
        ):
            assert secret not in text, (path, secret)


def test_the_document_is_kept_by_clients_until_it_changes(client: Any) -> None:
    first = client.get("/openapi.json")
    assert first.status_code == 200
    assert first.mimetype == "application/json"
    assert "public" in first.headers["Cache-Control"]
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert json.loads(first.data) == client.get("/openapi.json", headers={"If-None-Match": '"old"'}).json


def test_references_lead_somewhere(document: Any) -> None:
    for pointer in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        place = document
        for step in pointer.split("/"):
            place = place[step]
