"""Output tables -> the marshmallow schema that makes a model's outputs ready for JSON, built once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, fields

from schemas.errors import OutputError
from schemas.fields import TYPES
from schemas.inputs import PARAMETER_FORM, PARAMETER_KEYS, PARAMETER_NAME
from schemas.tables import Table
from schemas.values import NotJson, as_json, shown, type_name

RESERVED_OUTPUTS = frozenset({"success", "job_id", "ep_version"})
"""Names with a meaning of their own in an answer."""
NO_NAMES: frozenset[str] = frozenset()


class Output(fields.Field[Any]):
    """One output: whatever JSON can carry. The declared type only describes it to clients."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        try:
            return self.encode(as_json(value))
        except NotJson as error:
            raise OutputError(str(self.data_key), str(error)) from None

    def encode(self, value: Any) -> Any:
        """Check a JSON value against the declared type.

        Raises:
            NotJson: it is of another type.
        """
        return value


class MediaOutput(Output):
    """An image, a sound or a video: text, i.e. a data URL."""

    def encode(self, value: Any) -> Any:
        """Check the type; see `Output.encode`."""
        if value is not None and not isinstance(value, str):
            raise NotJson(f"must be a string (a data URL), not {type_name(value)}")
        return value


class MediaListOutput(Output):
    """A list of data URLs."""

    def encode(self, value: Any) -> Any:
        """Check the type; see `Output.encode`."""
        if value is not None and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise NotJson("must be a list of strings (data URLs)")
        return value


OUTPUT_TYPES: Mapping[str, type[Output]] = {
    **dict.fromkeys(TYPES, Output),
    **dict.fromkeys(("image", "audio", "video"), MediaOutput),
    **dict.fromkeys(("image_list", "audio_list", "video_list"), MediaListOutput),
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
            kind = _read_type(table)
            outputs[f"output_{len(outputs)}"] = kind(data_key=name, attribute=name)
    schema: type[OutputSchema] = OutputSchema.from_dict(outputs)  # type: ignore[assignment]
    return schema()


def _read_type(table: Table) -> type[Output]:
    word = table.text("type") or "string"
    if word not in OUTPUT_TYPES:
        near = difflib.get_close_matches(word.lower(), OUTPUT_TYPES, n=1)
        table.report(
            "type",
            f'unknown type "{word}": '
            + (f'did you mean "{near[0]}"?' if near else f"known types are {', '.join(OUTPUT_TYPES)}"),
        )
    # The other keys describe the output to clients and to the code that encodes media.
    table.ignore(*sorted(PARAMETER_KEYS))
    table.finish()
    for key, value in table.values.items():
        try:
            as_json(value)
        except NotJson as error:
            table.report(key, str(error))
    return OUTPUT_TYPES.get(word, Output)
