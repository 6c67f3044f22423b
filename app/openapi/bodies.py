"""How parameters travel: in the path and the query, as JSON, as forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.accept import JSON
from app.bodies import MULTIPART
from app.openapi.operation import Input, Key, Operation, Schema, said
from app.openapi.shapes import KEY_INPUTS
from app.params import FORM

_FILES = {"image": "image/*", "audio": "audio/*", "video": "video/*"}
_SIMPLE = ("string", "number", "integer", "boolean")


def parameter(item: Input, place: str) -> dict[str, Any]:
    """Describe a parameter in the query or in the path."""
    schema = item.as_text
    value = {"schema": schema} if _is_simple(schema) else {"content": {JSON: {"schema": schema}}}
    words = {"description": item.description} if item.description else {}
    required = {"required": True} if item.required else {}
    return {"name": item.name, "in": place, **words, **required, **value}


def request_body(operation: Operation, schemas: dict[str, Schema]) -> dict[str, Any]:
    """Describe the body of a request.

    Args:
        operation: whose body it is.
        schemas: the components, where the schema of its inputs goes if it has a name.
    """
    if operation.body is not None:
        return {"required": True, "content": {kind: {"schema": s} for kind, s in operation.body.items()}}
    whole = _object(operation, {item.name: item.schema for item in operation.inputs})
    if operation.inputs_name is not None:
        schemas[operation.inputs_name] = whole
        whole = {"$ref": f"#/components/schemas/{operation.inputs_name}"}
    example = {} if operation.example is None else {"example": dict(operation.example)}
    return {
        "required": any(item.required for item in operation.inputs),
        "content": {
            JSON: {"schema": whole, **example},
            MULTIPART: _form(operation, {item.name: item.as_part for item in operation.inputs}),
            FORM: _form(operation, {item.name: _as_field(item) for item in operation.inputs}),
        },
    }


def _form(operation: Operation, values: Mapping[str, Schema]) -> dict[str, Any]:
    kinds = {item.name: _content_type(item, values[item.name]) for item in operation.inputs}
    encoding = {name: {"contentType": kind} for name, kind in kinds.items() if kind}
    schema = {"additionalProperties": {"type": "string"}} | _object(operation, values)
    return {"schema": schema, **({"encoding": encoding} if encoding else {})}


def _as_field(item: Input) -> Schema:
    return item.as_text if _is_simple(item.as_text) else item.as_part


def _content_type(item: Input, schema: Schema) -> str | None:
    if schema.get("items", schema).get("format") == "binary":
        return _FILES[item.schema.get("items", item.schema)["format"]]
    return schema.get("contentMediaType")


def _is_simple(schema: Schema) -> bool:
    """Tell whether a value is written into a query as it is, and not as JSON."""
    return schema.get("type") in _SIMPLE or "enum" in schema or "$ref" in schema


def _object(operation: Operation, values: Mapping[str, Schema]) -> Schema:
    properties = {item.name: said(values[item.name], item.description) for item in operation.inputs}
    required = [item.name for item in operation.inputs if item.required]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {**properties, **({} if operation.key is Key.IGNORED else KEY_INPUTS)},
        **({"additionalProperties": False} if operation.closed else {}),
    }
