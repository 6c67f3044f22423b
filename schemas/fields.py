"""Fields of text, choices and JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from marshmallow import ValidationError, missing

from schemas.jsontext import BadJson, read_json
from schemas.media.limits import MediaLimits
from schemas.parameter import Parameter
from schemas.tables import Table
from schemas.values import DEEPEST, NotJson, as_json, is_text, shown, type_name

SUPPORTED_SHOWN = 500
"""Characters of a list of supported values in an error text."""
WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
"""How true and false are written in a query, and in a body where `auto_convert` is set."""
JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


class Text(Parameter):
    """A string of at most `max_length` characters."""

    wanted = "string"

    def __init__(self, name: str, *, max_length: int | None = None, **common: Any) -> None:
        super().__init__(name, **common)
        self.max_length = max_length

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        return {"max_length": table.integer("max_length", at_least=0)}

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        limit = {} if self.max_length is None else {"maxLength": self.max_length}
        return {"type": "string", **limit}

    def convert(self, value: Any) -> str:
        """Check one value; see `Parameter.convert`."""
        if not isinstance(value, str):
            value = self._from_other(value)
        if not is_text(value):
            raise ValidationError(f"Argument {self.title} is not valid Unicode text!")
        if self.max_length is not None and len(value) > self.max_length:
            if not self.auto_convert:
                raise ValidationError(
                    f"Length {len(value)} of argument {self.title}={shown(value)} "
                    f"exceeds the maximum length ({self.max_length})!"
                )
            value = value[: self.max_length]
        return value

    def _from_other(self, value: Any) -> str:
        number = isinstance(value, (int, float)) and -1e300 < value < 1e300
        if self.auto_convert and number:
            return json.dumps(value)
        self.refuse_type(value)


class Boolean(Parameter):
    """True or false; words and 0 or 1 only from a query or with `auto_convert`."""

    wanted = "bool"

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        return {"type": "boolean"}

    def convert(self, value: Any) -> bool:
        """Check one value; see `Parameter.convert`."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and (self.from_query or self.auto_convert):
            word = value.strip().lower()
            if word in WORDS:
                return WORDS[word]
        elif self.auto_convert and isinstance(value, (int, float)) and value in (0, 1):
            return bool(value)
        self.refuse_type(value)


class Selection(Parameter):
    """One of the values listed in `supported`; `auto_convert` replaces any other."""

    wanted = "selection"

    def __init__(self, name: str, *, supported: list[Any], **common: Any) -> None:
        super().__init__(name, **common)
        self.supported = supported
        self.fallback = supported[0] if self.default is missing else self.default
        # In Python True == 1; here they are two values.
        self._values = {(isinstance(value, bool), value): value for value in supported}
        if self.from_query:
            self._values |= {(False, json.dumps(v)): v for v in supported if not isinstance(v, str)}

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        supported = table.take("supported")
        if supported is None:
            table.report("supported", "is missing: list the values that may be chosen")
        elif not isinstance(supported, list):
            table.report("supported", f"must be a list, not {type_name(supported)}")
        elif not supported:
            table.report("supported", "is empty: list the values that may be chosen")
        elif not all(
            isinstance(v, str) or (isinstance(v, (int, float)) and math.isfinite(v)) for v in supported
        ):
            table.report("supported", "may hold only strings, numbers and bools")
        return {"supported": supported}

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        kinds = {JSON_TYPES[type(value)] for value in self.supported}
        return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": list(self.supported)}

    def convert(self, value: Any) -> Any:
        """Check one value; see `Parameter.convert`."""
        if isinstance(value, (str, int, float)):
            found = self._values.get((isinstance(value, bool), value), missing)
            if found is not missing:
                return found
        if self.auto_convert:
            return self.fallback
        values = ", ".join(map(repr, self.supported))
        if len(values) > SUPPORTED_SHOWN:
            values = values[:SUPPORTED_SHOWN] + "..."
        raise ValidationError(
            f"Parameter {self.title} = {shown(value)} is not in supported values [{values}]!"
        )


class Json(Parameter):
    """Any JSON value, as it is or as a string that holds JSON; an empty string is null."""

    wanted = "json"
    text_format = "json"
    """What JSON Schema calls the `format` of its text."""

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        return {"type": ["object", "array", "number", "boolean"], "items": {}}

    def part_schema(self) -> dict[str, Any]:
        """See `Parameter.part_schema`; a list would stand for several parts."""
        text = {"type": "string", "format": self.text_format}
        return {**text, "contentMediaType": "application/json", "contentSchema": self.json_schema()}

    def limits(self) -> list[str]:
        """See `Parameter.limits`."""
        return ["also as a string that holds it as JSON"]

    def convert(self, value: Any) -> Any:
        """Check one value; see `Parameter.convert`."""
        if isinstance(value, str):
            value = self._read(value)
        try:
            return as_json(value)
        except NotJson as error:
            raise ValidationError(f"Invalid argument {self.title}={shown(value)}: it {error}!") from None

    def _read(self, text: str) -> Any:
        if not text.strip():
            return None
        try:
            return read_json(text.encode(), DEEPEST)
        except UnicodeEncodeError:
            reason = "holds half of a surrogate pair"
        except BadJson as error:
            reason = str(error)
        raise ValidationError(
            f"Invalid argument {self.title}={shown(text)}. Expected: JSON, but it {reason}!"
        )
