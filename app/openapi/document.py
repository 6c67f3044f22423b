"""The document as a whole: operations put together, and what all of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.headers import REQUEST_ID
from app.openapi.bodies import parameter, request_body
from app.openapi.endpoints import endpoint_operations, endpoint_schemas
from app.openapi.errors import by_status, error_response, error_schemas
from app.openapi.operation import Answer, Key, Operation
from app.openapi.routes import ENDPOINT_NAME, OPERATIONS, TAGS
from app.openapi.shapes import HEADERS, REQUEST_HEADERS, SCHEMAS, SECURITY
from schemas import Endpoint

OPENAPI = "3.1.0"
_ABOUT = """An AI model inference server. A request to an endpoint is a job: it waits for its model, runs
with others in a batch, and ends in exactly one of the states `done`, `failed`, `canceled` and `lapsed`.

Times are in seconds since 1970, durations in seconds. `null` means the same as leaving a parameter out.
Every error is JSON with `success` false, `error` (a list of sentences) and `code`.
Another method than those named here is answered by 405, `OPTIONS` by 204; wherever GET works, so does HEAD.
"""
_ALWAYS_THERE = {REQUEST_ID, "Allow", "ETag", "WWW-Authenticate"}
_BODY_CODES = (
    "malformed_request",
    "body_too_large",
    "body_too_slow",
    "unsupported_media_type",
    "conversion_busy",
)
_KEY_CODES: Mapping[Key, tuple[str, ...]] = {
    Key.NEEDED: ("key_missing", "key_not_valid", "database_unavailable", "malformed_request"),
    Key.OPTIONAL: ("database_unavailable", "malformed_request"),
    Key.IGNORED: (),
}
_TOO_LONG = "414.url"
_URL_TOO_LONG = {
    "description": "URL and method have more than 8190 bytes: send a POST.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_JOB_ID = {"job_id": "$response.body#/job_id"}
_LINKS = {
    name: {"operationId": name, "parameters": _JOB_ID} for name in ("get_job", "cancel_job", "follow_job")
}


def build(endpoints: Mapping[str, Endpoint], version: str) -> dict[str, Any]:
    """Describe the API.

    Args:
        endpoints: all endpoints by name.
        version: of the server.

    Returns:
        An OpenAPI 3.1 document, ready for JSON.
    """
    draft = _Draft()
    names = {"enum": list(endpoints)} if endpoints else {}
    draft.schemas[ENDPOINT_NAME] = {"type": "string", **names, "description": "Name of an endpoint."}
    for endpoint in endpoints.values():
        draft.schemas |= endpoint_schemas(endpoint)
        for route, operation in endpoint_operations(endpoint).items():
            draft.add(route.replace("<endpoint:endpoint>", endpoint.name), operation)
    for route, operation in OPERATIONS.items():
        draft.add(route, operation)
    return {
        "openapi": OPENAPI,
        "info": {"title": "Stoker", "version": version, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [
            *({"name": e.name, "description": f"{e.title}: {e.description}"} for e in endpoints.values()),
            *({"name": name, "description": text} for name, text in TAGS.items()),
        ],
        "paths": draft.paths,
        "components": {
            "schemas": draft.schemas,
            "responses": {**draft.errors, _TOO_LONG: _URL_TOO_LONG},
            "headers": {name: _header(name) for name in HEADERS},
            "parameters": {name: _request_header(name) for name in REQUEST_HEADERS},
            "securitySchemes": SECURITY,
        },
    }


class _Draft:
    """What grows while operations are added.

    Attributes:
        paths: path -> method -> operation.
        schemas: components: bodies by name.
        errors: components: answers that are errors, by status and codes.
    """

    def __init__(self) -> None:
        self.paths: dict[str, dict[str, Any]] = {}
        self.schemas = SCHEMAS | error_schemas()
        self.errors: dict[str, dict[str, Any]] = {}

    def add(self, route: str, operation: Operation) -> None:
        """Add an operation by its methods and rule: "GET POST /jobs/<job_id>"."""
        methods, _, rule = route.rpartition(" ")
        path = re.sub(r"<(?:[^<>:]+:)?([^<>:]+)>", r"{\1}", rule)
        for index, method in enumerate(methods.split()):
            name = operation.id if index == 0 else f"{operation.id}_by_{method.lower()}"
            self.paths.setdefault(path, {})[method.lower()] = self._described(operation, name, method)

    def _described(self, operation: Operation, name: str, method: str) -> dict[str, Any]:
        has_body = method == "POST" and operation.reads_parameters
        parameters = [parameter(variable, "path") for variable in operation.variables]
        parameters += [] if has_body else [parameter(item, "query") for item in operation.inputs]
        parameters += [{"$ref": f"#/components/parameters/{header}"} for header in operation.headers]
        described: dict[str, Any] = {
            "operationId": name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": operation.description,
            "security": _security(operation, method),
            "parameters": parameters,
            "requestBody": request_body(operation, self.schemas) if has_body else None,
            "responses": self._responses(operation, has_body),
        }
        return {key: value for key, value in described.items() if value or key == "security"}

    def _responses(self, operation: Operation, has_body: bool) -> dict[str, Any]:
        codes = {"internal_error", *operation.codes, *_KEY_CODES[operation.key]}
        codes |= set(_BODY_CODES) if has_body else set()
        codes |= {"malformed_request"} if operation.inputs else set()
        codes |= {"not_found"} if operation.variables else set()
        found = {status: _with_headers(_answer(answer)) for status, answer in operation.answers.items()}
        for status, those in by_status(codes).items():
            name = f"{status}.{'.'.join(those)}"
            self.errors[name] = _with_headers(error_response(status, those))
            found[status] = {"$ref": f"#/components/responses/{name}"}
        if operation.variables or (operation.inputs and not has_body):
            found[414] = {"$ref": f"#/components/responses/{_TOO_LONG}"}
        return {str(status): response for status, response in sorted(found.items())}


def _security(operation: Operation, method: str) -> list[dict[str, list[str]]]:
    if operation.key is Key.IGNORED:
        return []
    in_header_only = method == "POST" and operation.key_in_body
    names = list(SECURITY)[: 1 if in_header_only else None]
    schemes: list[dict[str, list[str]]] = [{name: []} for name in names]
    return [*schemes, {}] if operation.key is Key.OPTIONAL else schemes


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "description": answer.description,
        "headers": answer.headers,
        **({} if answer.schema is None else {"content": {answer.media_type: {"schema": answer.schema}}}),
        **({"links": _LINKS} if answer.follows_job else {}),
    }


def _with_headers(response: dict[str, Any]) -> dict[str, Any]:
    names: Iterable[str] = (*response["headers"], REQUEST_ID)
    return response | {"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names}}


def _header(name: str) -> dict[str, Any]:
    schema, description = HEADERS[name]
    required = {"required": True} if name in _ALWAYS_THERE else {}
    return {"description": description, **required, "schema": schema}


def _request_header(name: str) -> dict[str, Any]:
    schema, description = REQUEST_HEADERS[name]
    return {"name": name, "in": "header", "description": description, "schema": schema}
