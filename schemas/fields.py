"""One parameter table of an endpoint file -> one marshmallow field.

A new type is a subclass of `Parameter` and an entry in `TYPES`.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

from marshmallow import ValidationError, fields, missing

from schemas.tables import Table
from schemas.values import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    NotJson,
    as_json,
    is_text,
    number_from_text,
    shown,
    type_name,
)

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


class Parameter(fields.Field[Any]):
    """One input of an endpoint: takes a value of the client, gives what the model gets.

    Null never comes here: it means that the parameter is absent.
    """

    wanted: ClassVar[str]

    def __init__(
        self,
        name: str,
        *,
        required: bool = False,
        default: Any = missing,
        auto_convert: bool = False,
        from_query: bool = False,
    ) -> None:
        """Make the field.

        Args:
            name: name of the parameter.
            required: whether a request without it is refused.
            default: what an absent parameter becomes; `missing`: it stays absent.
            auto_convert: whether values that break the rules are bent to fit, where that is sane.
            from_query: whether values are text (from a URL's query) to be read by type.
        """
        plain = default is missing or not isinstance(default, (list, dict))
        super().__init__(
            required=required,
            load_default=missing if required else default if plain else lambda: copy.deepcopy(default),
            data_key=name,
            attribute=name,
            error_messages={"required": f"Missing required argument: {name}"},
        )
        self.title = name
        self.default = default
        self.auto_convert = auto_convert
        self.from_query = from_query

    @classmethod
    def rules(cls, table: Table) -> dict[str, Any]:
        """Read this type's own keys; gives keyword arguments of the constructor."""
        return {}

    def convert(self, value: Any) -> Any:
        """Check one value and give what the model gets.

        Raises:
            marshmallow.ValidationError: with every rule that it breaks.
        """
        raise NotImplementedError

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        return self.convert(value)

    def refuse_type(self, value: object) -> NoReturn:
        """Refuse a value because of its type."""
        raise ValidationError(
            f"Invalid argument type {self.title}={shown(value)}. "
            f"Expected: {self.wanted} but got {type_name(value)}!"
        )


class Text(Parameter):
    """A string of at most `max_length` characters."""

    wanted = "string"

    def __init__(self, name: str, *, max_length: int | None = None, **common: Any) -> None:
        super().__init__(name, **common)
        self.max_length = max_length

    @classmethod
    def rules(cls, table: Table) -> dict[str, Any]:
        return {"max_length": table.integer("max_length", at_least=0)}

    def convert(self, value: Any) -> str:
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


class Number(Parameter):
    """A number between `minimum` and `maximum` that is a multiple of `align`."""

    smallest: ClassVar[float]
    largest: ClassVar[float]

    def __init__(
        self,
        name: str,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        align: float | None = None,
        **common: Any,
    ) -> None:
        super().__init__(name, **common)
        self.minimum = self.smallest if minimum is None else minimum
        self.maximum = self.largest if maximum is None else maximum
        self.align = align

    @classmethod
    def rules(cls, table: Table) -> dict[str, Any]:
        read = cls._read_limit
        rules = {
            "minimum": read(table, "minimum", "min"),
            "maximum": read(table, "maximum", "max"),
            "align": read(table, "align"),
        }
        if not table.failed:
            cls._check_limits(table, **rules)
        return rules

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        raise NotImplementedError

    @classmethod
    def _check_limits(
        cls,
        table: Table,
        minimum: float | None,
        maximum: float | None,
        align: float | None,
    ) -> None:
        for key, limit in (("minimum", minimum), ("maximum", maximum)):
            if limit is not None and not cls.smallest <= limit <= cls.largest:
                table.report(key, f"must lie between {cls.smallest} and {cls.largest}")
                return
        low = cls.smallest if minimum is None else minimum
        high = cls.largest if maximum is None else maximum
        if low > high:
            table.report("minimum", f"{low} is greater than maximum {high}")
        elif align is not None and align <= 0:
            table.report("align", f"{align} is not a step: it must be greater than 0")
        elif align is not None and _aligned_up(low, align) > _exact(high):
            table.report("align", f"no multiple of {align} lies between {low} and {high}")

    def convert(self, value: Any) -> float:
        number = self.parse(value)
        if self.auto_convert:
            return self.fit(number)
        broken = self._broken(number)
        if broken:
            raise ValidationError(broken)
        return number

    def parse(self, value: Any) -> float:
        """Give the value as a number of this type, limits aside."""
        raise NotImplementedError

    def fit(self, number: float) -> float:
        """Give the nearest allowed number: clamped, then aligned down, or up where down is too low."""
        if number < self.minimum:
            number = self.minimum
        elif number > self.maximum:
            number = self.maximum
        if self.align is not None:
            number = self._aligned(number)
        return number

    def _aligned(self, number: float) -> float:
        assert self.align is not None
        down = _exact(number) // _exact(self.align) * _exact(self.align)
        return self.plain(down if down >= _exact(self.minimum) else _aligned_up(self.minimum, self.align))

    @staticmethod
    def plain(number: Fraction) -> float:
        """Give an exact number in this field's type."""
        raise NotImplementedError

    def _broken(self, number: float) -> list[str]:
        name = self.title
        broken = []
        if number > self.maximum:
            broken.append(
                f"Parameter {name} = {shown(number)} is too high. "
                f"Max supported value for {name} on this endpoint is {self.maximum}!"
            )
        elif number < self.minimum:
            broken.append(
                f"Parameter {name} = {shown(number)} is too low. "
                f"Min supported value for {name} on this endpoint is {self.minimum}!"
            )
        if self.align is not None and _exact(number) % _exact(self.align):
            broken.append(
                f"Parameter {name} = {shown(number)} is not aligning with {self.align}: "
                f"it must be a multiple of {self.align}!"
            )
        return broken

    def _read_text(self, value: Any) -> Any:
        """Read a number from text where that is allowed; any other value comes back as it is."""
        if not isinstance(value, str) or not (self.from_query or self.auto_convert):
            return value
        number = number_from_text(value)
        return value if number is None else number

    def _refuse_infinite(self, value: object) -> NoReturn:
        raise ValidationError(f"Invalid argument {self.title}={shown(value)}. Expected: a finite number!")


class Integer(Number):
    """A whole number; 3.0 is one, 2.9 is none unless `auto_convert` rounds it."""

    wanted = "integer"
    smallest = SMALLEST_INTEGER
    largest = LARGEST_INTEGER

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        return table.integer(key, *aliases)

    def parse(self, value: Any) -> float:
        value = self._read_text(value)
        if type(value) is int:
            return value
        if not isinstance(value, float):
            self.refuse_type(value)
        if not math.isfinite(value):
            self._refuse_infinite(value)
        if not (value.is_integer() or self.auto_convert):
            self.refuse_type(value)
        return round(value)

    @staticmethod
    def plain(number: Fraction) -> float:
        return int(number)


class Float(Number):
    """A finite floating-point number; integers are taken, too."""

    wanted = "float"
    smallest = -sys.float_info.max
    largest = sys.float_info.max

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        return table.number(key, *aliases)

    def parse(self, value: Any) -> float:
        value = self._read_text(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse_type(value)
        try:
            number = float(value)
        except OverflowError:
            self._refuse_infinite(value)
        if not math.isfinite(number):
            self._refuse_infinite(value)
        return number

    def fit(self, number: float) -> float:
        return float(super().fit(number))

    @staticmethod
    def plain(number: Fraction) -> float:
        return float(number)


class Boolean(Parameter):
    """True or false; words and 0 or 1 only from a query or with `auto_convert`."""

    wanted = "bool"

    def convert(self, value: Any) -> bool:
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
    def rules(cls, table: Table) -> dict[str, Any]:
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

    def convert(self, value: Any) -> Any:
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

    def convert(self, value: Any) -> Any:
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
            return json.loads(text, parse_constant=_refuse_constant)
        except RecursionError:
            reason = "it is nested too deeply"
        except ValueError as error:
            reason = str(error)
        raise ValidationError(
            f"Invalid argument {self.title}={shown(text)}. Expected: JSON, but it cannot be read: {reason}!"
        )


TYPES: Mapping[str, type[Parameter]] = {
    "string": Text,
    "str": Text,
    "integer": Integer,
    "int": Integer,
    "float": Float,
    "bool": Boolean,
    "boolean": Boolean,
    "selection": Selection,
    "json": Json,
}
"""The types of inputs and session variables, by their names in endpoint files."""


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _exact(number: float) -> Fraction:
    """Give a number as it is written: 0.3 is a multiple of 0.1, which in binary it is not."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _aligned_up(number: float, align: float) -> Fraction:
    return -(-_exact(number) // _exact(align)) * _exact(align)
