"""Parameter: the marshmallow field that all types of inputs are made of.

A new type is a subclass and an entry in `schemas.types.TYPES`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from marshmallow import ValidationError, fields, missing

from schemas.media.limits import MediaLimits
from schemas.media.source import Reader
from schemas.tables import Table
from schemas.values import shown, type_name


class Parameter(fields.Field[Any]):
    """One input of an endpoint: takes a value of the client, gives what the model gets.

    Null never comes here: it means that the parameter is absent.
    """

    wanted: ClassVar[str]
    reads_media: bool = False
    """Whether its values may hold files, which take their time to convert."""

    def __init__(
        self,
        name: str,
        *,
        required: bool = False,
        default: Any = missing,
        auto_convert: bool = False,
        from_query: bool = False,
        words: Mapping[str, str | None] | None = None,
    ) -> None:
        """Make the field.

        Args:
            name: name of the parameter.
            required: whether a request without it is refused.
            default: what an absent parameter becomes; `missing`: it stays absent.
            auto_convert: whether values that break the rules are bent to fit, where that is sane.
            from_query: whether values are text (from a URL's query) to be read by type.
            words: what the endpoint file says of it to people: `title`, `description`.
        """
        plain = default is missing or not isinstance(default, (list, dict))
        super().__init__(
            required=required,
            load_default=missing if required else default if plain else lambda: copy.deepcopy(default),
            data_key=name,
            attribute=name,
            error_messages={"required": f"Missing required argument: {name}"},
            metadata=words,
        )
        self.title = name
        self.default = default
        self.auto_convert = auto_convert
        self.from_query = from_query

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read this type's own keys; gives keyword arguments of the constructor."""
        return {}

    def json_schema(self) -> dict[str, Any]:
        """Give what it takes as a JSON Schema (2020-12), without its name, default and description.

        What the schema allows, `convert` takes. With `auto_convert` it takes more.
        """
        raise NotImplementedError

    def part_schema(self) -> dict[str, Any]:
        """Give the same for a part of a `multipart/form-data`."""
        return self.json_schema()

    def limits(self) -> list[str]:
        """Give the rules that a JSON Schema cannot say, in words."""
        return []

    def convert(self, value: Any) -> Any:
        """Check one value and give what the model gets.

        Raises:
            marshmallow.ValidationError: with every rule that it breaks.
        """
        raise NotImplementedError

    def with_files(self, value: Any, read: Reader) -> Any:
        """Give a value of the client with whatever `read` gives in place of each text that stands for a file.

        More files than it may hold are not read: `convert` refuses them by their number.
        """
        return value

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return self.convert(value)

    def refuse_type(self, value: object) -> NoReturn:
        """Refuse a value because of its type."""
        raise ValidationError(
            f"Invalid argument type {self.title}={shown(value)}. "
            f"Expected: {self.wanted} but got {type_name(value)}!"
        )
