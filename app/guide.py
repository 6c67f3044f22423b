"""The API for people: what the page of documentation says of each endpoint, made from its file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import missing

from app.openapi.endpoints import endpoint_operations
from app.openapi.errors import MEANINGS, by_status
from schemas import Endpoint
from schemas.chat import ChatContext
from schemas.mediafields import Media
from schemas.numbers import Number
from schemas.outputs import OutputSchema
from schemas.parameter import Parameter

Error = tuple[int, str, str]
"""Status, code, meaning."""
_FILES = {"image": "image.png", "audio": "sound.wav", "video": "video.mp4"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table of inputs or outputs.

    Attributes:
        name: of the parameter.
        type: by its word in endpoint files.
        description: what the file says of it.
        required: whether it must be given.
        default: what it is if it is not given, as JSON; None: nothing.
        limits: its rules in words.
    """

    name: str
    type: str
    description: str
    required: bool = False
    default: str | None = None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is said of one endpoint.

    Attributes:
        endpoint: the endpoint.
        inputs: its inputs.
        outputs: its outputs.
        progress: its partial outputs.
        curl: a command line that calls it; it needs the variable KEY.
        needs_file: whether that takes a file of the reader's.
        errors: those of a request for a job.
    """

    endpoint: Endpoint
    inputs: tuple[Row, ...]
    outputs: tuple[Row, ...]
    progress: tuple[Row, ...]
    curl: str
    needs_file: bool
    errors: tuple[Error, ...]


def sheet(endpoint: Endpoint, server: str) -> Sheet:
    """Give what is said of an endpoint.

    Args:
        endpoint: the endpoint.
        server: URL of the server, without a slash at its end.
    """
    fields = {name: pair.body for name, pair in endpoint.input_schema.pairs.items()}
    values = example(endpoint)
    codes = [code for o in endpoint_operations(endpoint).values() for code in o.codes]
    return Sheet(
        endpoint=endpoint,
        inputs=tuple(_input(field, endpoint.inputs[name]) for name, field in fields.items()),
        outputs=tuple(_outputs(endpoint.output_schema)),
        progress=tuple(_outputs(endpoint.progress_schema)),
        curl=_curl(endpoint, f"{server}/{endpoint.name}", values),
        needs_file=any(isinstance(value, bytes) for value in values.values()),
        errors=errors(codes),
    )


def errors(codes: Iterable[str] = MEANINGS) -> tuple[Error, ...]:
    """Give these errors, sorted by status; default: all of them."""
    return tuple(
        (status, code, MEANINGS[code]) for status, found in by_status(set(codes)).items() for code in found
    )


def example(endpoint: Endpoint) -> Mapping[str, Any]:
    """Give inputs that are valid: the file's example, else something for each that is required.

    A file is given as bytes, the name of one that the reader has to have.
    """
    if endpoint.example is not None:
        return endpoint.example
    fields = {name: pair.body for name, pair in endpoint.input_schema.pairs.items()}
    return {name: _sample(field) for name, field in fields.items() if field.required}


def _sample(field: Parameter) -> Any:
    if field.default is not missing:
        return field.default
    if isinstance(field, Media):
        return _FILES[field.kind].encode()
    if isinstance(field, ChatContext):
        return [{"role": "user", "content": "Hello"}]
    schema = field.json_schema()
    if isinstance(field, Number):
        return field.fit(1)
    if "enum" in schema:
        return schema["enum"][0]
    return {"string": "Hello"[: schema.get("maxLength")], "boolean": True}.get(str(schema["type"]), {})


def _curl(endpoint: Endpoint, url: str, values: Mapping[str, Any]) -> str:
    head = [f"curl {shlex.quote(url)}", '-H "Authorization: Bearer $KEY"']
    if "POST" not in endpoint.methods:
        pairs = [f"{name}={_text(value)}" for name, value in values.items()]
        return _lines([*head, "-G", *(f"--data-urlencode {shlex.quote(pair)}" for pair in pairs)])
    if any(isinstance(value, bytes) for value in values.values()):
        return _lines([*head, *(_part(name, value) for name, value in values.items())])
    body = shlex.quote(json.dumps(dict(values), ensure_ascii=False))
    return _lines([*head, "-H 'Content-Type: application/json'", f"-d {body}"])


def _part(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return f"-F {name}=@{value.decode()}"
    return f"--form-string {shlex.quote(f'{name}={_text(value)}')}"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return "upload:ID"  # a query holds no file
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(words: Iterable[str]) -> str:
    return " \\\n     ".join(words)


def _input(field: Parameter, table: Mapping[str, Any]) -> Row:
    bends = ("anything else is bent to fit",) if field.auto_convert and not isinstance(field, Media) else ()
    return Row(
        name=field.title,
        type=table.get("type", "string"),
        description=_words(field.metadata),
        required=field.required,
        default=None if field.default is missing or field.required else _short(field.default),
        limits=(*_limits(field), *field.limits(), *bends),
    )


def _limits(field: Parameter) -> Iterable[str]:
    """Put the rules of a field's JSON Schema into words."""
    schema = field.json_schema()
    if "enum" in schema:
        yield f"one of {', '.join(map(_short, schema['enum']))}"
    if isinstance(field, Number):
        low, high = (
            None if value == edge else _number(value)
            for value, edge in ((field.minimum, field.smallest), (field.maximum, field.largest))
        )
        if low and high:
            yield f"{low} to {high}"
        elif low or high:
            yield f"at least {low}" if low else f"at most {high}"
    if "multipleOf" in schema:
        yield f"multiples of {_number(schema['multipleOf'])}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']:,} characters"
    if "maxItems" in schema:
        yield f"at most {schema['maxItems']} files"


def _outputs(schema: OutputSchema) -> Iterable[Row]:
    for field in schema.fields.values():
        yield Row(str(field.data_key), field.metadata["type"], _words(field.metadata))


def _words(metadata: Mapping[str, Any]) -> str:
    return ": ".join(text for text in (metadata["title"], metadata["description"]) if text)


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < 1e15 else str(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
