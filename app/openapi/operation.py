"""What is said of one operation: a route and a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Schema = dict[str, Any]
"""A JSON Schema (2020-12)."""


class Key(Enum):
    """Whether an operation wants a credential."""

    NEEDED = "needed"
    OPTIONAL = "optional"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A parameter, in the query of a GET or in the body of a POST, or a variable of the path.

    Attributes:
        name: its name.
        schema: what it may be.
        description: what it means.
        required: whether it must be given.
        text: the schema where every value is text: in a query or form; None: the same.
        part: the schema in a `multipart/form-data`; None: as `text`.
    """

    name: str
    schema: Schema
    description: str = ""
    required: bool = False
    text: Schema | None = None
    part: Schema | None = None

    @property
    def as_text(self) -> Schema:
        """The schema in a query or form."""
        return self.schema if self.text is None else self.text

    @property
    def as_part(self) -> Schema:
        """The schema in a `multipart/form-data`."""
        return self.as_text if self.part is None else self.part


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is no error.

    Attributes:
        description: when it comes.
        schema: of the body; None: there is none.
        media_type: of the body.
        headers: those that it may have, keys of `app.openapi.shapes.HEADERS`.
        follows_job: whether `job_id` of its body leads to the routes of jobs.
    """

    description: str
    schema: Schema | None = None
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()
    follows_job: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation, or the same by several methods.

    Attributes:
        id: unique name; where there are several methods, those after the first have their own at its end.
        tag: the group that it belongs to.
        summary: what it does, in a few words.
        description: more about it; CommonMark.
        key: whether it wants a credential.
        variables: of the path.
        inputs: parameters.
        closed: whether other parameters are refused.
        inputs_name: name of the schema of the inputs among the components; None: it stands in its place.
        example: inputs that work.
        key_in_body: whether a POST takes its key as parameter from the body only, not from the query.
        body: content of a request that takes no parameters but something else: media type -> schema.
        headers: of the request, keys of `app.openapi.shapes.REQUEST_HEADERS`.
        answers: status -> answer, of all that are no errors.
        codes: errors that it may end with, keys of `app.errors.STATUS`; what its key, its path or its body
            may cause is added by `app.openapi.document`.
    """

    id: str
    tag: str
    summary: str
    description: str = ""
    key: Key = Key.NEEDED
    variables: tuple[Input, ...] = ()
    inputs: tuple[Input, ...] = ()
    closed: bool = False
    inputs_name: str | None = None
    example: Mapping[str, Any] | None = None
    key_in_body: bool = False
    body: Mapping[str, Schema] | None = None
    headers: tuple[str, ...] = ()
    answers: Mapping[int, Answer] = field(default_factory=dict)
    codes: tuple[str, ...] = ()

    @property
    def reads_parameters(self) -> bool:
        """Whether a request may have any, its key included."""
        return bool(self.inputs or self.body) or self.key is not Key.IGNORED


def ref(name: str) -> Schema:
    """Give the schema that stands for a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Sequence[str] = (), /, **properties: Schema) -> Schema:
    """Give the schema of an object.

    Args:
        required: names that are always there; "*": all of them.
        properties: schema of each name.
    """
    names = list(properties) if required == "*" else list(required)
    return {"type": "object", **({"required": names} if names else {}), "properties": properties}


def said(schema: Schema, description: str) -> Schema:
    """Give a schema with a description, if there is one."""
    return {**schema, "description": description} if description else schema
