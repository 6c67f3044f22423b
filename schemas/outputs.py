"""Output tables -> the marshmallow schema that makes a model's outputs ready for JSON, built once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, fields

from schemas.errors import OutputError
from schemas.inputs import PARAMETER_FORM, PARAMETER_KEYS, PARAMETER_NAME, no_such_type
from schemas.media.errors import MediaError
from schemas.media.forms import FORMS, Form
from schemas.tables import Table
from schemas.types import TYPES
from schemas.values import NotJson, as_json, shown, type_name

RESERVED_OUTPUTS = frozenset({"success", "job_id", "ep_version"})
"""Names with a meaning of their own in an answer."""
JSON_TYPES = {
    **dict.fromkeys(("string", "str", "text_context"), "string"),
    **dict.fromkeys(("integer", "int"), "integer"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    "float": "number",
}
"""Types of outputs in JSON; the others may be anything."""
NO_NAMES: frozenset[str] = frozenset()


class Output(fields.Field[Any]):
    """One output: whatever JSON can carry. The declared type only describes it to clients.

    Its `metadata` is what the endpoint file says of it to people: `type`, `title`, `description`.
    """

    @classmethod
    def read(cls, table: Table) -> dict[str, Any]:
        """Read this type's own keys; gives keyword arguments of the constructor."""
        return {}

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        try:
            return self.encode(value)
        except NotJson as error:
            raise OutputError(str(self.data_key), str(error)) from None
        except MediaError as error:
            raise OutputError(str(self.data_key), str(error)) from error

    def json_schema(self) -> dict[str, Any]:
        """Give what it is as a JSON Schema (2020-12), without its name and description."""
        kind = JSON_TYPES.get(self.metadata["type"])
        return {} if kind is None else {"type": kind}

    def encode(self, value: Any) -> Any:
        """Give a value that is ready for JSON.

        Raises:
            NotJson: it cannot be, or is of another type than declared.
            MediaError: it cannot be written as declared.
        """
        return as_json(value)


class MediaOutput(Output):
    """An image, a sound or a video, as `schemas.media.<kind>out` takes them; a data URL passes as it is."""

    kind: ClassVar[str]

    def __init__(self, form: Form, **common: Any) -> None:
        super().__init__(**common)
        self.form = form

    @classmethod
    def read(cls, table: Table) -> dict[str, Any]:
        """Read the keys of this type."""
        return {"form": FORMS[cls.kind].read(table)}

    def json_schema(self) -> dict[str, Any]:
        """See `Output.json_schema`; null, where the model gives none or the file is forgotten."""
        return {"type": ["string", "null"], "format": self.kind}

    def encode(self, value: Any) -> Any:
        """Write the file; see `Output.encode`."""
        if value is None or isinstance(value, str):
            return as_json(value)
        writer = importlib.import_module(f"schemas.media.{self.kind}out")  # now: Pillow and PyAV take time
        return writer.url(value, self.form)


class MediaListOutput(MediaOutput):
    """A list of such."""

    stacked: ClassVar[int] = -1  # axes of an array that holds all of them

    def json_schema(self) -> dict[str, Any]:
        """See `Output.json_schema`."""
        return {"type": ["array", "null"], "items": super().json_schema()}

    def encode(self, value: Any) -> Any:
        """Write the files; see `Output.encode`."""
        if value is None:
            return None
        if not isinstance(value, list | tuple) and getattr(value, "ndim", None) != self.stacked:
            raise NotJson(f"must be a list of {self.kind}s or of strings (data URLs), not {type_name(value)}")
        return [self._encode_item(number, item) for number, item in enumerate(value)]

    def _encode_item(self, number: int, item: Any) -> Any:
        try:
            return super().encode(item)
        except (MediaError, NotJson) as error:
            raise OutputError(f"{self.data_key}[{number}]", str(error)) from error


class ImageOutput(MediaOutput):
    """An image."""

    kind = "image"


class ImageListOutput(MediaListOutput):
    """Images: a list of them, or one array of all."""

    kind = "image"
    stacked = 4


class AudioOutput(MediaOutput):
    """A sound."""

    kind = "audio"


class AudioListOutput(MediaListOutput):
    """Sounds."""

    kind = "audio"


class VideoOutput(MediaOutput):
    """A video."""

    kind = "video"


class VideoListOutput(MediaListOutput):
    """Videos: a list of them, or one array of the frames of all."""

    kind = "video"
    stacked = 5


OUTPUT_TYPES: Mapping[str, type[Output]] = {
    **dict.fromkeys(TYPES, Output),
    "image": ImageOutput,
    "image_list": ImageListOutput,
    "audio": AudioOutput,
    "audio_list": AudioListOutput,
    "video": VideoOutput,
    "video_list": VideoListOutput,
}
"""The types of outputs, by their names in endpoint files."""


class OutputSchema(Schema):
    """The outputs of one endpoint, or its partial outputs."""

    tables: ClassVar[Mapping[str, Any]] = {}

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Take an output by its name; marshmallow's own way would take the method `dict.items` for one."""
        return obj.get(attr, default)


def read_outputs(tables: Table, reserved: frozenset[str] = NO_NAMES) -> OutputSchema:
    """Read the tables of OUTPUTS or PROGRESS.OUTPUTS; the wrong ones are reported and left out."""
    outputs: dict[str, fields.Field[Any]] = {}
    for name in tables.values:
        table = tables.table(name)
        if not PARAMETER_NAME.fullmatch(name):
            tables.report(name, f"{shown(name)} is not {PARAMETER_FORM}")
        elif name in reserved:
            tables.report(name, "this name is reserved: it has a meaning of its own in an answer")
        else:
            outputs[f"output_{len(outputs)}"] = _read_output(name, table)
    schema: type[OutputSchema] = OutputSchema.from_dict(outputs)  # type: ignore[assignment]
    return schema()


def _read_output(name: str, table: Table) -> Output:
    word = table.text("type") or "string"
    kind = OUTPUT_TYPES.get(word)
    if kind is None:
        table.report("type", no_such_type(word))
        kind = Output
    own = kind.read(table)
    words = {"type": word, "title": table.text("title"), "description": table.text("description")}
    # The other keys describe the output to clients.
    table.ignore(*sorted(PARAMETER_KEYS))
    table.finish()
    for key, value in table.values.items():
        try:
            as_json(value)
        except NotJson as error:
            table.report(key, str(error))
    return kind(data_key=name, attribute=name, metadata=words, **own)
